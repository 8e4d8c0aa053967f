"""A service in two states: the draft that a source reads, with its problems, and the spec."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.scaffold.escaping import escape_line, quoted
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import (
    AMQP,
    DEFAULT_BATCH_SIZE,
    DEFAULT_CONCURRENCY,
    ENVELOPES,
    Field,
    Value,
)
from loafer_kit.scaffold.spec.payload_types import Type

Path = tuple[str | int, ...]

_WORD = re.compile(r"[A-Za-z0-9_-]{1,60}")

# The longest time limit of a Lambda function, in seconds.
_LONGEST_LIMIT = 900
# Seconds of it for the start of the service and for the settling of its messages.
_BESIDES = 10
# AWS advises a visibility timeout of so many times the time limit.
_TIMES_THE_LIMIT = 6


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem to correct. `line` is known if the spec is from a file."""

    path: Path
    message: str
    line: int | None = None

    @property
    def place(self) -> str:
        """The path as text: `queues[1].name`."""
        text = ""
        for step in self.path:
            if isinstance(step, int):
                text += f"[{step}]"
            else:
                text += f".{_written(step)}" if text else _written(step)
        return text

    def __str__(self) -> str:
        where = f"{self.place}: " if self.path else ""
        line = f" (line {self.line})" if self.line else ""
        return escape_line(f"{where}{self.message}{line}")


def _written(key: str) -> str:
    """A key, quoted in ASCII unless it is a plain word: documents may come from anybody."""
    return key if _WORD.fullmatch(key) else quoted(key)


class SpecError(LoaferKitError):
    """A spec has problems; `problems` holds all of them."""

    def __init__(self, problems: Sequence[Problem], origin: str | None = None) -> None:
        self.problems = tuple(problems)
        self.origin = origin
        super().__init__(self._text())

    def _text(self) -> str:
        source = f"{self.origin}: " if self.origin else ""
        if len(self.problems) == 1:
            return f"{source}{self.problems[0]}"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        return f"{source}{len(self.problems)} problems{lines}"


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
class Parameter:
    """An environment variable that names of queues and topics contain as `${NAME}`."""

    name: str
    default: str | None = None

    @property
    def stand_in(self) -> str:
        """The value where there is no environment, as in tests: the default, or the name itself."""
        return self.default or self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class TypeSpec:
    """One type of the messages of a queue, and the function that handles it."""

    name: str
    handler: str
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class PayloadSpec:
    """A model of messages: the keys of a JSON object and their types; or a union of models."""

    name: str
    fields: Mapping[str, Type]
    union: Type | None = None

    @property
    def types(self) -> Collection[Type]:
        """The types that it is made of."""
        return [self.union] if self.union else self.fields.values()


Payloads = Mapping[str, PayloadSpec]


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """One queue of a service and the code that handles its messages.

    `name` is a name or a URL, as given. With `types`, `by` names where a message says its type, and
    `handler` gets the messages of other types, None if they are rejected. `options` holds those of
    `fields.OPTIONS` that are set, `attributes` those of `fields.ATTRIBUTES` that differ from AWS's
    defaults. A topic given by ARN exists, whatever `creates_topic` says.
    """

    name: str
    kind: str
    handler: str | None
    by: str | None = None
    types: tuple[TypeSpec, ...] = ()
    topic: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    creates_topic: bool = True
    error_handler: str | None = None
    translator: str | None = None
    payload: str | None = None
    dead_letter_queue: str | None = None
    max_receive_count: int | None = None
    options: Mapping[str, Value] = field(default_factory=dict)
    attributes: Mapping[str, Value] = field(default_factory=dict)

    @property
    def enveloped(self) -> bool:
        """Whether its messages arrive in SNS's envelope."""
        return self.topic is not None and not self.attributes.get("raw_message_delivery", False)

    @property
    def envelopes(self) -> tuple[str, ...]:
        """The names of its messages' envelopes in `ext.aws.envelopes`, the outermost first."""
        return (("sns",) if self.enveloped else ()) + self.inner_envelopes

    @property
    def inner_envelopes(self) -> tuple[str, ...]:
        """The same without SNS's envelope."""
        return (self.kind,) if self.kind in ENVELOPES else ()

    @property
    def handlers(self) -> tuple[str, ...]:
        """Every function that handles its messages."""
        return (*(type_.handler for type_ in self.types), *filter(None, [self.handler]))

    @property
    def payloads(self) -> tuple[str, ...]:
        """The models of its messages' contents."""
        return tuple(filter(None, [*(type_.payload for type_ in self.types), self.payload]))

    def attribute_texts(self, rows: Sequence[Field]) -> dict[str, str]:
        """Those of its attributes that some rows describe, as requests to AWS carry them."""
        return {
            str(row.attribute): str(value).lower() if isinstance(value, bool) else str(value)
            for row in rows
            if (value := self.attributes.get(row.name)) is not None
        }

    @property
    def amqp_options(self) -> dict[str, Any]:
        """Where a queue of RabbitMQ is bound and where its dead letters go, as its route says it."""
        found = {
            "exchange": self.exchange,
            "routing_key": self.routing_key,
            "dead_letter_queue": self.dead_letter_queue,
            "max_deliveries": self.max_receive_count,
        }
        return {option: value for option, value in found.items() if value is not None}

    @property
    def queue_name(self) -> str:
        """The name alone, also of a URL."""
        return names.queue_name(self.name)

    @property
    def route_name(self) -> str:
        """The name of its route: the same in every stage of the service."""
        return names.fixed_part(self.queue_name)

    @property
    def batch_size(self) -> int:
        """How many messages one receive, or one invocation of a function, brings."""
        return int(self.options.get("batch_size", DEFAULT_BATCH_SIZE))

    @property
    def batch_seconds(self) -> int:
        """How long a function may need for a batch: each handler takes its whole time.

        The messages of a FIFO queue may all be of one group, and then come one after the other.
        """
        concurrency = int(self.options.get("concurrency", DEFAULT_CONCURRENCY))
        at_once = 1 if self.fifo else min(self.batch_size, concurrency)
        needed = math.ceil(self.batch_size / at_once) * float(self.options["handler_timeout"])
        if "rate_limit" in self.options:
            needed += self.batch_size / float(self.options["rate_limit"])
        return math.ceil(min(needed, _LONGEST_LIMIT**2)) + _BESIDES

    def filled(self, values: Mapping[str, str]) -> Self:
        """The queue with its parameters replaced by their values."""
        return replace(
            self,
            name=names.fill(self.name, values),
            topic=self.topic and names.fill(self.topic, values),
            dead_letter_queue=self.dead_letter_queue and names.fill(self.dead_letter_queue, values),
        )

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
    parameters: tuple[Parameter, ...] = ()

    @property
    def function_seconds(self) -> int:
        """The time limit of the Lambda function that handles all queues."""
        return min(max(queue.batch_seconds for queue in self.queues), _LONGEST_LIMIT)

    @property
    def least_visibility_timeout(self) -> int:
        """The visibility timeout that the Lambda function needs of each queue."""
        return _TIMES_THE_LIMIT * self.function_seconds

    def filled(self, values: Mapping[str, str]) -> Self:
        """The service with the parameters of its queues replaced by their values."""
        queues = tuple(queue.filled(values) for queue in self.queues)
        return replace(self, queues=queues, parameters=())

    @property
    def on_rabbitmq(self) -> bool:
        """Whether it reads queues of RabbitMQ; a service reads those of one broker."""
        return self.queues[0].kind == AMQP

    @property
    def stand_ins(self) -> Mapping[str, str]:
        """The value of each parameter where there is no environment."""
        return {parameter.name: parameter.stand_in for parameter in self.parameters}

    def resolved(self, environment: Mapping[str, str]) -> Self:
        """The service as it runs in an environment, as `config.parameter` reads it.

        ConfigurationError if a parameter has neither a value there nor a default.
        """
        return self.filled(self._values(environment))

    def fill(self, name: str, environment: Mapping[str, str]) -> str:
        """A name with the values of its parameters in an environment; ConfigurationError."""
        values = self._values(environment)
        for parameter in names.parameters_in(name):
            if parameter not in values:
                hint = names.did_you_mean(parameter, values)
                raise ConfigurationError(f"{self.name} has no parameter {parameter}{hint}")
        return names.fill(name, values)

    def _values(self, environment: Mapping[str, str]) -> Mapping[str, str]:
        values = {
            parameter.name: environment.get(parameter.name) or parameter.default
            for parameter in self.parameters
        }
        missing = [name for name, value in values.items() if value is None]
        if missing:
            raise ConfigurationError(
                f"Set {' and '.join(missing)} in the environment: {self.name} has no default"
            )
        return {name: value for name, value in values.items() if value is not None}
