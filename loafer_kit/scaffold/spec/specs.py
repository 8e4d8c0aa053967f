"""A service as it was asked for: complete, consistent and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import Value
from loafer_kit.scaffold.spec.payloads import Payloads


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """One queue of a service and the code that handles its messages.

    `name` is as it was given, perhaps a URL. `options` holds what was set of `fields.OPTIONS`.
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
        """The name alone, also when the queue was given as a URL."""
        return names.queue_name(self.name)

    @property
    def fifo(self) -> bool:
        """Whether the queue keeps order: SQS says so by the name's end."""
        return self.name.endswith(".fifo")


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service: its names, its queues, what they carry, and what ships it."""

    name: str
    package: str
    queues: tuple[QueueSpec, ...]
    payloads: Payloads = field(default_factory=dict)
    ships: tuple[str, ...] = ()
