"""Contradictions: values that are valid by themselves and not beside each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.spec import names, payloads
from loafer_kit.scaffold.spec.fields import (
    AMQP,
    AMQP_OPTIONS,
    ARTEFACT_NAMES,
    ARTEFACTS_FOR_RABBITMQ,
    ATTRIBUTES,
    ENVELOPES,
    EVERY,
    EVERY_OF_AMQP,
    FIFO,
    OPTIONS,
    SUBSCRIPTION,
    Value,
)
from loafer_kit.scaffold.spec.specs import (
    Parameter,
    Path,
    Payloads,
    Problem,
    QueueSpec,
    ServiceSpec,
)

Values = Mapping[str, Value]

# A key, whether its value is wrong, and why.
_Row = tuple[str, object, str]

# The names that may contain parameters.
_PARAMETERISED = ("name", "topic", "dead_letter_queue")
# The keys of a queue of SQS that one of RabbitMQ does not have.
_OF_SQS = {row.name for row in (*ATTRIBUTES, *OPTIONS)} - AMQP_OPTIONS | {"fifo", "topic"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A queue of a draft: its place, those of its values that are valid, and what they make."""

    path: Path
    values: Values
    spec: QueueSpec

    @property
    def place(self) -> str:
        """Its place as text."""
        return Problem(self.path, "").place

    def problem(self, message: str, *place: str) -> Problem:
        """A problem at a place in the queue's table."""
        return Problem((*self.path, *place), message)

    def named(self, key: Literal["handler", "payload"]) -> Iterator[tuple[tuple[str, ...], str]]:
        """The handlers or the models of its messages, each with its place."""
        for type_ in self.spec.types:
            if name := getattr(type_, key):
                yield ("types", type_.name, key), name
        if name := getattr(self.spec, key):
            yield (key,), name


def find(
    spec: ServiceSpec, queues: Sequence[Entry], wanted: object, *, models_are_valid: bool
) -> Iterator[Problem]:
    """The contradictions within queues and between them; `wanted` are the artefacts as given.

    Whether the models have examples is asked only if `models_are_valid` by themselves.
    """
    for queue in queues:
        for key, is_wrong, why in (*_kind(queue), *_aws(queue), *_dead_letters(queue)):
            if is_wrong and key in queue.values:
                yield queue.problem(why, key)
        if "types" in queue.values and "by" not in queue.values:
            yield queue.problem("is missing: say where a message says its type", "by")
    yield from _parameters(queues, spec.parameters)
    yield from _collisions(queues)
    yield from dead_letter_cycles([queue.spec for queue in queues])
    yield from _topics(queues)
    yield from _brokers(queues, wanted)
    yield from _models(queues, spec.payloads, are_valid=models_are_valid)


def with_lambda(spec: ServiceSpec) -> Iterator[Problem]:
    """Visibility timeouts for which messages come back while the function may still handle them."""
    least = spec.least_visibility_timeout if "lambda" in spec.ships else 0
    slowest = max(spec.queues, key=lambda queue: queue.batch_seconds)
    for index, queue in enumerate(spec.queues):
        timeout = queue.options.get("visibility_timeout", least)
        if float(timeout) < least:
            message = (
                f"{timeout} is less than {least}, six times the {spec.function_seconds} s that the "
                f"Lambda function may take for a batch of {quoted(slowest.queue_name)}: leave it "
                "out, or lower handler_timeout or batch_size there"
            )
            yield Problem(("queues", index, "visibility_timeout"), message)


def _kind(queue: Entry) -> Iterator[_Row]:
    """Keys that a queue of this kind does not have, or not beside others."""
    told, kind = queue.values, queue.spec.kind
    yield "topic", told.get("kind") == "sqs", "a queue of kind 'sqs' has no topic"
    for key in ("exchange", "routing_key"):
        yield key, kind != AMQP, "only a queue of kind 'amqp' has one"
    for key in sorted(_OF_SQS):
        yield key, kind == AMQP, "a queue of kind 'amqp' has none: it is for SQS"
    if kind == AMQP:
        yield "routing_key", "exchange" not in told, "needs an exchange"
    why = f"a queue of kind {quoted(kind)} has no translator of its own"
    yield "translator", kind in ENVELOPES, why
    why = "a queue of kind 's3' has no payload: its handler gets S3's own records"
    yield "payload", kind == "s3", why
    yield "types", kind == "s3", "a notification of S3 has no type"
    yield "payload", "types" in told, "belongs to each type of `types`"
    yield "translator", "types" in told, "is not for a queue with `types`"


def _aws(queue: Entry) -> Iterator[_Row]:
    """What AWS refuses: settings of a topic or of a FIFO queue without one, and their values."""
    told, fifo, name = queue.values, queue.spec.fifo, queue.spec.queue_name
    why = f"the name of a FIFO queue ends in '.fifo': name it {quoted(f'{name}.fifo')}"
    yield "fifo", told.get("fifo") and name and not fifo, why
    yield "fifo", told.get("fifo") is False and fifo, f"{quoted(name)} is the name of a FIFO queue"
    is_fifo_topic = str(told.get("topic")).endswith(".fifo")
    why = "only a FIFO topic (.fifo) delivers to a FIFO queue"
    yield "topic", fifo and not is_fifo_topic, why
    for row in SUBSCRIPTION:
        yield row.name, queue.spec.topic is None, "needs a topic"
    for row in FIFO:
        yield row.name, name and not fifo, "needs a FIFO queue, whose name ends in '.fifo'"
    if "filter_policy" in told:
        refused = names.filter_policy_in(told.get("filter_policy_scope"), told["filter_policy"])
        yield "filter_policy", refused, str(refused)
    is_high = told.get("fifo_throughput_limit") == "perMessageGroupId"
    why = "perMessageGroupId needs deduplication_scope = 'messageGroup'"
    is_of_queue = told.get("deduplication_scope") != "messageGroup"
    yield "fifo_throughput_limit", is_high and is_of_queue, why


def _dead_letters(queue: Entry) -> Iterator[_Row]:
    name, target = queue.spec.queue_name, queue.spec.dead_letter_queue
    if queue.spec.kind != AMQP:  # there, each queue has one
        yield "max_receive_count", target is None, "needs a dead_letter_queue"
    if target is not None and target == name:
        yield "dead_letter_queue", True, "a queue cannot be its own dead-letter queue"
    elif target is not None and name:
        kind = "a FIFO queue (.fifo)" if queue.spec.fifo else "a standard queue"
        why = f"must be {kind}, as {quoted(name)} is"
        yield "dead_letter_queue", target.endswith(".fifo") != queue.spec.fifo, why


def _parameters(queues: Sequence[Entry], parameters: Sequence[Parameter]) -> Iterator[Problem]:
    """Parameters that a name takes and nobody declares, and names that are invalid with them."""
    stand_ins = {parameter.name: parameter.stand_in for parameter in parameters}
    for queue in queues:
        rows = EVERY_OF_AMQP if queue.spec.kind == AMQP else EVERY
        for row in (row for row in rows if row.name in _PARAMETERISED):
            key, name = row.name, str(queue.values.get(row.name, ""))
            used = names.parameters_in(name)
            unknown = [parameter for parameter in used if parameter not in stand_ins]
            for parameter in dict.fromkeys(unknown):
                hint = names.did_you_mean(parameter, stand_ins) or ": declare it in `parameters`"
                yield queue.problem(f"{quoted(parameter)} is not a parameter{hint}", key)
            if used and not unknown and (why := row.why_not(names.fill(name, stand_ins))):
                yield queue.problem(why, key)


def _collisions(queues: Sequence[Entry]) -> Iterator[Problem]:
    """Names that two queues or two functions share."""
    places: dict[str, Entry] = {}
    handlers: dict[str, Entry] = {}
    for queue in queues:
        if not queue.spec.name:
            continue
        name = queue.spec.route_name
        if name in places:
            yield queue.problem(
                f"{quoted(name)} is already the name of {places[name].place}", "name"
            )
            continue
        places[name] = queue
        for place, handler in queue.named("handler"):
            if handler in handlers:
                message = (
                    f"{handler} is already the handler of {handlers[handler].place}; "
                    f"give this one another name, like {_free(handler, queues)}"
                )
                yield queue.problem(message, *place)
            handlers.setdefault(handler, queue)
    for queue in queues:
        if queue.spec.error_handler in handlers:
            message = f"{queue.spec.error_handler} is already the name of a handler"
            yield queue.problem(message, "error_handler")


def _free(handler: str, queues: Sequence[Entry]) -> str:
    used = {name for queue in queues for name in (*queue.spec.handlers, queue.spec.error_handler)}
    return next(name for n in range(2, len(used) + 3) if (name := f"{handler}_{n}") not in used)


def dead_letter_cycles(queues: Sequence[QueueSpec]) -> Iterator[Problem]:
    """Finds cycles among dead-letter queues: a problem at the queue that closes each."""
    target: dict[str, str] = {}
    for index, queue in enumerate(queues):
        name, dead = queue.queue_name, queue.dead_letter_queue
        if dead is None or name == dead:
            continue
        if name in _followed(dead, target):
            message = f"dead letters of {quoted(name)} would come back to it"
            yield Problem(("queues", index, "dead_letter_queue"), message)
        else:
            target[name] = dead


def _followed(name: str, target: Mapping[str, str]) -> Iterator[str]:
    """The queues that dead letters of a queue may reach; `target` has no cycle."""
    while name in target:
        name = target[name]
        yield name


def _topics(queues: Sequence[Entry]) -> Iterator[Problem]:
    """Queues of one topic that expect other messages than its first queue."""
    firsts: dict[tuple[str, str], str] = {}
    for queue in queues:
        topic, told = queue.spec.topic, queue.values
        for aspect, expected, key in (
            ("kind", queue.spec.kind, "kind" if "kind" in told else "topic"),
            ("content", _expected(queue.spec), "types" if "types" in told else "payload"),
        ):
            if topic and expected:
                first = firsts.setdefault((topic, aspect), expected)
                if first != expected:
                    message = f"every queue of the topic {topic} gets the same messages: {first}"
                    yield queue.problem(message, key)


def _expected(queue: QueueSpec) -> str | None:
    """The contents of messages that a queue expects, in a few words; None for any."""
    if queue.types:
        return f"{queue.by} is {', '.join(sorted(type_.name for type_ in queue.types))}"
    return queue.payload


def _brokers(queues: Sequence[Entry], wanted: object) -> Iterator[Problem]:
    """Queues of another broker than the first one's, and artefacts that do not know it."""
    is_first_amqp = bool(queues) and queues[0].spec.kind == AMQP
    for queue in queues:
        if (queue.spec.kind == AMQP) != is_first_amqp:
            message = "a service reads the queues of one broker: make another service for this one"
            yield queue.problem(message, "kind" if "kind" in queue.values else "name")
    for index, name in enumerate(wanted if is_first_amqp and isinstance(wanted, list) else ()):
        if name in ARTEFACT_NAMES and name not in ARTEFACTS_FOR_RABBITMQ:
            known = ", ".join(ARTEFACTS_FOR_RABBITMQ)
            message = f"{quoted(name)} is for SQS; a service of RabbitMQ has {known}"
            yield Problem(("with", index), message)


def _models(queues: Sequence[Entry], models: Payloads, *, are_valid: bool) -> Iterator[Problem]:
    """Payloads that are not models, have no example, or exclude a type or a translator."""
    for queue in queues:
        for place, name in queue.named("payload"):
            if name not in models:
                near = names.did_you_mean(name, models)
                yield queue.problem(f"{quoted(name)} is not a model of payloads{near}", *place)
            elif are_valid and (why := payloads.why_no_example(name, models)):
                yield queue.problem(f"{quoted(name)} {why}", *place)
        for type_ in queue.spec.types:
            model = models.get(type_.payload or "")
            field = model.fields.get(str(queue.spec.by)) if model else None
            if model and field and field.values and type_.name not in field.values:
                message = f"{quoted(model.name)} allows {field} as {queue.spec.by}"
                yield queue.problem(message, "types", type_.name)
        if "payload" in queue.values and "translator" in queue.values:
            message = "is decoded from JSON: a queue with a payload has no translator of its own"
            yield queue.problem(message, "payload")
