"""A service in two states: the draft that a source reads, and the spec that validation makes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import Value
from loafer_kit.scaffold.spec.payloads import Payloads
from loafer_kit.scaffold.spec.problems import Path, Problem


@dataclass(frozen=True, slots=True)
class Draft:
    """The values of a source before validation, and the line of each in its file.

    `origin` names the source; it is None for what was only typed.
    `problems` are what the source could not read, `notes` what it read and a spec cannot say.
    """

    values: Mapping[str, object]
    origin: str | None = None
    line: Callable[[Path], int | None] = lambda _path: None
    problems: Sequence[Problem] = ()
    notes: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """One queue of a service and the code that handles its messages.

    `name` is a name or a URL, as given. `options` holds those of `fields.OPTIONS` that are set.
    """

    name: str
    kind: Literal["sqs", "sns"]
    handler: str
    topic: str | None = None
    error_handler: str | None = None
    translator: str | None = None
    payload: str | None = None
    dead_letter_queue: str | None = None
    max_receive_count: int | None = None
    options: Mapping[str, Value] = field(default_factory=dict)

    @property
    def queue_name(self) -> str:
        """The name alone, also of a URL."""
        return names.queue_name(self.name)

    @property
    def fifo(self) -> bool:
        """Whether the queue keeps order: SQS requires the suffix `.fifo`."""
        return self.name.endswith(".fifo")


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service: its names, its queues, what they carry, and what ships it."""

    name: str
    package: str
    queues: tuple[QueueSpec, ...]
    payloads: Payloads = field(default_factory=dict)
    ships: tuple[str, ...] = ()
