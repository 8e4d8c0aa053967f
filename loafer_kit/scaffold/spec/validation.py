"""Makes a spec of a draft: reads each key by its row and collects all problems."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.spec import artefacts, filter_policies, function_limits, names, payloads
from loafer_kit.scaffold.spec.fields import (
    AMQP,
    AMQP_OPTIONS,
    ATTRIBUTES,
    ENVELOPES,
    EVERY,
    FIFO,
    OPTIONS,
    PARAMETER,
    QUEUE,
    SERVICE,
    SUBSCRIPTION,
    TOPIC,
    TYPE,
    Field,
    Kind,
    Value,
)
from loafer_kit.scaffold.spec.problems import Path, Problem, SpecError
from loafer_kit.scaffold.spec.specs import Draft, Parameter, QueueSpec, ServiceSpec, TypeSpec

DEFAULT_MAX_RECEIVE_COUNT = 5
DEFAULT_HANDLER_TIMEOUT = 60
# SQS's, in seconds.
DEFAULT_VISIBILITY_TIMEOUT = 30

# A message lists the known keys up to this number.
_MOST_LISTED = 10

# The keys of a service that have no row.
_TABLES = ("queues", "parameters", "payloads", "with")

# The keys of a queue whose names may contain parameters.
_PARAMETERISED = ("name", "topic", "dead_letter_queue")

# Where a queue's values say whether its topic is created: the `create` of the topic's table.
_CREATES_TOPIC = "topic.create"

Values = dict[str, Value]

_KINDS: Mapping[Kind, str] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a table, or JSON of one",
}


def service(draft: Draft) -> ServiceSpec:
    """The service that a draft describes; SpecError with all problems if there are any."""
    found = _read(draft)
    if found.problems:
        raise SpecError(found.problems, draft.origin)
    name = str(found.values["name"])
    spec = ServiceSpec(
        name=name,
        package=str(found.values.get("package", names.package_for(name))),
        queues=tuple(map(_queue, found.queues)),
        payloads=found.models,
        ships=artefacts.in_order(draft.values.get("with", [])),
        parameters=found.parameters,
    )
    if problems := list(_too_short_for_lambda(spec)):
        located = [Problem(item.path, item.message, draft.line(item.path)) for item in problems]
        raise SpecError(located, draft.origin)
    return spec


def _too_short_for_lambda(spec: ServiceSpec) -> Iterator[Problem]:
    """Visibility timeouts for which messages come back while the function may still handle them."""
    limit = spec.function_seconds
    least = function_limits.visibility_timeout(limit)
    for index, queue in enumerate(spec.queues):
        timeout = queue.options.get("visibility_timeout", least)
        if "lambda" in spec.ships and float(timeout) < least:
            message = (
                f"{timeout} is less than {least}, six times the {limit} s that the Lambda function "
                "may take: leave it out, or lower handler_timeout or batch_size"
            )
            yield Problem(("queues", index, "visibility_timeout"), message)


def problems_of(draft: Draft) -> Sequence[Problem]:
    """All problems of a draft of a service, by their lines."""
    return _read(draft).problems


@dataclass(frozen=True, slots=True)
class _Reading:
    """The valid values of a draft, and its problems."""

    values: Values
    queues: Sequence[Values]
    parameters: tuple[Parameter, ...]
    models: payloads.Payloads
    problems: Sequence[Problem]


def _read(draft: Draft) -> _Reading:
    problems: list[Problem] = []
    values = read(draft.values, SERVICE, (), problems, besides=_TABLES)
    problems.extend(_package_problems(values, draft))
    problems.extend(artefacts.problems_of(draft.values.get("with", [])))
    queues: list[Values] = []
    for index, raw in enumerate(_raw_queues(draft, problems)):
        table, creates_topic = _with_plain_topic(raw, ("queues", index, "topic"), problems)
        queue = read(table, EVERY, ("queues", index), problems)
        if creates_topic is not None:
            queue[_CREATES_TOPIC] = creates_topic
        problems.extend(_contradictions(queue, ("queues", index)))
        if "types" in queue or not (isinstance(table, Mapping) and "types" in table):
            problems.extend(_type_problems(queue, ("queues", index)))
        queues.append(queue)
    parameters = _parameters(draft, problems)
    problems.extend(_parameter_problems(queues, parameters))
    problems.extend(_collisions(queues))
    problems.extend(dead_letter_cycles(queues))
    problems.extend(_kinds_of_topics(queues))
    problems.extend(_brokers(queues, draft.values.get("with", [])))
    models = _models(draft, queues, problems)
    located = [Problem(item.path, item.message, draft.line(item.path)) for item in problems]
    ordered = sorted([*draft.problems, *located], key=lambda item: item.line or 0)
    return _Reading(values, queues, parameters, models, ordered)


def _with_plain_topic(
    raw: object, path: Path, problems: list[Problem]
) -> tuple[object, Value | None]:
    """A queue's table with its topic as a text, and whether the topic's own table creates it."""
    if not (isinstance(raw, Mapping) and isinstance(raw.get("topic"), Mapping)):
        return raw, None
    topic = read(raw["topic"], TOPIC, path, problems)
    name, create = topic.get("name"), topic.get("create")
    if create and str(name).startswith("arn:"):
        problems.append(Problem((*path, "create"), "a topic that has an ARN exists already"))
    rest = {key: value for key, value in raw.items() if key != "topic"}
    return rest if name is None else {**rest, "topic": name}, create


def _raw_queues(draft: Draft, problems: list[Problem]) -> Sequence[object]:
    found = draft.values.get("queues")
    if isinstance(found, Sequence) and not isinstance(found, str) and found:
        return found
    if not draft.problems:  # which tell already why there are no queues
        remedy = "" if draft.origin else ": name one with --queue"
        problems.append(
            Problem(("queues",), f"a service needs a list of one queue or more{remedy}")
        )
    return []


def _parameters(draft: Draft, problems: list[Problem]) -> tuple[Parameter, ...]:
    raw = draft.values.get("parameters", [])
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        problems.append(Problem(("parameters",), "must be a list of tables with name and default"))
        return ()
    found: dict[str, Parameter] = {}
    for index, table in enumerate(raw):
        path = ("parameters", index)
        values = read(table, PARAMETER, path, problems)
        if "name" not in values:
            continue
        name = str(values["name"])
        key = name.replace("_", "")  # CloudFormation's parameters have no underscores
        if key in found:
            message = f"{quoted(name)} cannot be told from {quoted(found[key].name)}"
            problems.append(Problem((*path, "name"), message))
        found.setdefault(key, Parameter(name, _text(values.get("default"))))
    return tuple(found.values())


def _parameter_problems(
    queues: Sequence[Values], parameters: Sequence[Parameter]
) -> Iterator[Problem]:
    """Parameters that a name takes and nobody declares, and names that are invalid with them."""
    stand_ins = {parameter.name: parameter.stand_in for parameter in parameters}
    rows = {field.name: field for field in QUEUE}
    for index, queue in enumerate(queues):
        for key in _PARAMETERISED:
            name, path = str(queue.get(key, "")), ("queues", index, key)
            used = names.parameters_in(name)
            unknown = [parameter for parameter in used if parameter not in stand_ins]
            for parameter in dict.fromkeys(unknown):
                hint = names.did_you_mean(parameter, stand_ins) or ": declare it in `parameters`"
                yield Problem(path, f"{quoted(parameter)} is not a parameter{hint}")
            rule = rows[key].rule
            if used and not unknown and rule:
                why = rule(names.REFERENCE.sub(lambda found: stand_ins[found[1]], name))
                if why:
                    yield Problem(path, why)


def read(
    raw: object,
    fields: Sequence[Field],
    path: Path,
    problems: list[Problem],
    besides: Sequence[str] = (),
) -> Values:
    """The valid values of a table; everything else is added to `problems`."""
    if not isinstance(raw, Mapping):
        problems.append(Problem(path, "must be a table of keys and values"))
        return {}
    rows = {field.name: field for field in fields}
    values: Values = {}
    for key, value in raw.items():
        if key in rows:
            known = filter_policies.text(value) if rows[key].kind == "object" else value
            why = _why_not(rows[key], known)
            if why is None:
                values[key] = cast("Value", known)
            else:
                problems.append(Problem((*path, key), why))
        elif key not in besides:
            problems.append(_unknown(key, [*rows, *besides], path))
    problems.extend(
        Problem((*path, field.name), "is missing")
        for field in fields
        if field.required and field.name not in raw
    )
    return values


def _why_not(field: Field, value: object) -> str | None:
    if field.kind == "object" and isinstance(value, Mapping):
        return "holds a value that JSON does not have"
    if not field.accepts(value):
        return f"must be {_KINDS[field.kind]}, not {_described(value)}"
    if field.choices and value not in field.choices:
        near = names.did_you_mean(str(value), field.choices)
        return f"{quoted(str(value))} is not one of {', '.join(field.choices)}{near}"
    if field.kind in ("integer", "number"):
        return _out_of_bounds(field, cast("float", value))
    return field.rule(str(value)) if field.rule else None


def _out_of_bounds(field: Field, value: float) -> str | None:
    shown = _described(value)
    if not abs(value) <= sys.float_info.max:  # true of NaN and of integers beyond every float
        return f"{shown} is not a finite number"
    if field.minimum is not None and value < field.minimum:
        return f"{shown} is less than {field.minimum}"
    if field.more_than is not None and value <= field.more_than:
        return f"must be more than {field.more_than}"
    if field.maximum is not None and value > field.maximum:
        return f"{shown} is more than {field.maximum}"
    return None


def _described(value: object) -> str:
    """A value of a wrong type, in a few words."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (bool, int, float)):
        return quoted(str(value)).strip("'").lower()
    if isinstance(value, Mapping):
        return "a table"
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"


def _unknown(key: object, known: Sequence[str], path: Path) -> Problem:
    name = str(key)
    listed = f": the keys are {', '.join(sorted(known))}"
    if len(known) > _MOST_LISTED:
        listed = "; `loafer-kit schema` lists the keys"
    hint = names.did_you_mean(name.replace("-", "_"), known) or listed
    return Problem((*path, name), f"is not a known key{hint}")


def _package_problems(values: Values, draft: Draft) -> Iterator[Problem]:
    """A name that gives no valid package; only a file can set another package."""
    if "name" in values and "package" not in draft.values:
        why = names.package(names.package_for(str(values["name"])))
        if why:
            remedy = ", or set `package`" if draft.origin else ""
            yield Problem(("name",), f"{why}: choose another name{remedy}")


def _contradictions(queue: Values, path: Path) -> Iterator[Problem]:
    """Keys of a queue that exclude each other."""
    fifo = str(queue.get("name", "")).endswith(".fifo")
    name = names.queue_name(str(queue.get("name", "")))
    if queue.get("fifo") and name and not fifo:
        named = quoted(f"{name}.fifo")
        yield Problem((*path, "fifo"), f"the name of a FIFO queue ends in '.fifo': name it {named}")
    if queue.get("fifo") is False and fifo:
        yield Problem((*path, "fifo"), f"{quoted(name)} is the name of a FIFO queue")
    if "topic" in queue and queue.get("kind") == "sqs":
        yield Problem((*path, "topic"), "a queue of kind 'sqs' has no topic")
    yield from _contradictions_of_kind(queue, path)
    if "translator" in queue and queue.get("kind") in ENVELOPES:
        message = f"a queue of kind {quoted(str(queue['kind']))} has no translator of its own"
        yield Problem((*path, "translator"), message)
    if "payload" in queue and queue.get("kind") == "s3":
        message = "a queue of kind 's3' has no payload: its handler gets S3's own records"
        yield Problem((*path, "payload"), message)
    if fifo and not str(queue.get("topic", ".fifo")).endswith(".fifo"):
        yield Problem((*path, "topic"), "only a FIFO topic (.fifo) delivers to a FIFO queue")
    yield from _attribute_contradictions(queue, path, fifo=fifo)
    yield from _dead_letter_contradictions(queue, path)


def _type_problems(queue: Values, path: Path) -> Sequence[Problem]:
    """What is wrong with the types of a queue's messages."""
    found: list[Problem] = []
    if "types" not in queue:
        if "by" in queue:
            found.append(Problem((*path, "by"), "needs `types`"))
        return found
    for name, table in filter_policies.table(str(queue["types"])).items():
        if why := payloads.key(name):
            found.append(Problem((*path, "types", name), why))
        read(table, TYPE, (*path, "types", name), found)
    if "by" not in queue:
        found.append(Problem((*path, "by"), "is missing: say where a message says its type"))
    for key, why in {
        "payload": "belongs to each type of `types`",
        "translator": "is not for a queue with `types`",
    }.items():
        if key in queue:
            found.append(Problem((*path, key), why))
    if queue.get("kind") == "s3":
        found.append(Problem((*path, "types"), "a notification of S3 has no type"))
    return found


def _types(queue: Values) -> Mapping[str, Mapping[str, object]]:
    """The types of a queue's messages that are tables."""
    found = filter_policies.table(str(queue.get("types", "{}")))
    return {name: table for name, table in found.items() if isinstance(table, Mapping)}


def _contradictions_of_kind(queue: Values, path: Path) -> Iterator[Problem]:
    """Keys of SQS at a queue of RabbitMQ, and the other way round."""
    if queue.get("kind") != AMQP:
        for key in ("exchange", "routing_key"):
            if key in queue:
                yield Problem((*path, key), "only a queue of kind 'amqp' has one")
        return
    others = {row.name for row in (*ATTRIBUTES, *OPTIONS)} - AMQP_OPTIONS | {"fifo", "topic"}
    for key in others & queue.keys():
        yield Problem((*path, key), "a queue of kind 'amqp' has none: it is for SQS")
    if "routing_key" in queue and "exchange" not in queue:
        yield Problem((*path, "routing_key"), "needs an exchange")
    name = str(queue.get("name", ""))
    if "/" in name or name.endswith(".fifo"):
        yield Problem((*path, "name"), "a queue of kind 'amqp' has a plain name")


def _attribute_contradictions(queue: Values, path: Path, *, fifo: bool) -> Iterator[Problem]:
    """Settings of a subscription without a topic, and of a FIFO queue that is none."""
    for row in SUBSCRIPTION:
        if row.name in queue and _topic(queue) is None:
            yield Problem((*path, row.name), "needs a topic")
    for row in FIFO:
        if row.name in queue and "name" in queue and not fifo:
            yield Problem((*path, row.name), "needs a FIFO queue, whose name ends in '.fifo'")
    policy, scope = queue.get("filter_policy"), queue.get("filter_policy_scope")
    if policy is not None and (why := filter_policies.why_refused(policy, scope)):
        yield Problem((*path, "filter_policy"), why)
    high = queue.get("fifo_throughput_limit") == "perMessageGroupId"
    if high and queue.get("deduplication_scope") != "messageGroup":
        message = "perMessageGroupId needs deduplication_scope = 'messageGroup'"
        yield Problem((*path, "fifo_throughput_limit"), message)


def _dead_letter_contradictions(queue: Values, path: Path) -> Iterator[Problem]:
    name = names.queue_name(str(queue.get("name", "")))
    target = queue.get("dead_letter_queue")
    if target is None:
        if "max_receive_count" in queue:
            yield Problem((*path, "max_receive_count"), "needs a dead_letter_queue")
        return
    target, at = str(target), (*path, "dead_letter_queue")
    if target == name:
        yield Problem(at, "a queue cannot be its own dead-letter queue")
    elif name and target.endswith(".fifo") != name.endswith(".fifo"):
        kind = "a FIFO queue (.fifo)" if name.endswith(".fifo") else "a standard queue"
        yield Problem(at, f"must be {kind}, as {quoted(name)} is")


def dead_letter_cycles(queues: Sequence[Values]) -> Iterator[Problem]:
    """Finds cycles among dead-letter queues: a problem at the queue that closes each."""
    target: dict[str, str] = {}
    for index, queue in enumerate(queues):
        name = names.queue_name(str(queue.get("name", "")))
        dead = str(queue.get("dead_letter_queue", name))
        if name == dead:
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


def _models(draft: Draft, queues: Sequence[Values], problems: list[Problem]) -> payloads.Payloads:
    """The models; each queue's payload must be one, and must have an example."""
    before = len(problems)
    models = payloads.read(draft.values.get("payloads", {}), problems)
    sound = len(problems) == before
    topics: dict[str, str] = {}
    for index, queue in enumerate(queues):
        path: Path = ("queues", index)
        for key, name in _payloads(queue).items():
            if name not in models:
                near = names.did_you_mean(name, models)
                message = f"{quoted(name)} is not a model of payloads{near}"
                problems.append(Problem((*path, *key), message))
            elif sound and (why := payloads.why_no_example(name, models)):
                problems.append(Problem((*path, *key), f"{quoted(name)} {why}"))
        problems.extend(_impossible_types(queue, path, models))
        topic, expected = _topic(queue), _expected(queue)
        path = (*path, "types" if "types" in queue else "payload")
        if topic and expected and topics.setdefault(topic, expected) != expected:
            message = f"every queue of the topic {topic} gets the same messages: {topics[topic]}"
            problems.append(Problem(path, message))
        if "payload" in queue and "translator" in queue:
            message = "is decoded from JSON: a queue with a payload has no translator of its own"
            problems.append(Problem(path, message))
    return models


def _payloads(queue: Values) -> Mapping[Path, str]:
    """The models of a queue's messages, by their places in its table."""
    found: dict[Path, str] = {
        ("types", name, "payload"): str(table["payload"])
        for name, table in _types(queue).items()
        if "payload" in table
    }
    return found | ({("payload",): str(queue["payload"])} if "payload" in queue else {})


def _impossible_types(queue: Values, path: Path, models: payloads.Payloads) -> Iterator[Problem]:
    """Types whose payload allows other values only where a message says its type."""
    for type_ in _type_specs(queue):
        model = models.get(type_.payload or "")
        field = model.fields.get(str(queue.get("by"))) if model else None
        if field and field.values and type_.name not in field.values:
            message = f"{quoted(model.name if model else '')} allows {field} as {queue['by']}"
            yield Problem((*path, "types", type_.name), message)


def _expected(queue: Values) -> str | None:
    """The messages that a queue expects, in a few words; None for any."""
    if "types" in queue:
        return f"{queue.get('by')} is {', '.join(sorted(_types(queue)))}"
    return _text(queue.get("payload"))


def _kinds_of_topics(queues: Sequence[Values]) -> Iterator[Problem]:
    """Queues of one topic that expect other messages than its first queue."""
    kinds: dict[str, str] = {}
    for index, queue in enumerate(queues):
        topic, kind = _topic(queue), _kind(queue)
        if topic is not None and kinds.setdefault(topic, kind) != kind:
            path = ("queues", index, "kind" if "kind" in queue else "topic")
            message = f"every queue of the topic {topic} gets the same messages: {kinds[topic]}"
            yield Problem(path, message)


def _brokers(queues: Sequence[Values], wanted: object) -> Iterator[Problem]:
    """Queues of another broker than the first one's, and artefacts that do not know it."""
    if not queues:
        return
    first = queues[0].get("kind") == AMQP
    for index, queue in enumerate(queues):
        if (queue.get("kind") == AMQP) != first:
            message = "a service reads the queues of one broker: make another service for this one"
            yield Problem(("queues", index, "kind" if "kind" in queue else "name"), message)
    for index, name in enumerate(wanted if first and isinstance(wanted, list) else ()):
        if name in artefacts.NAMES and name not in artefacts.FOR_RABBITMQ:
            known = ", ".join(artefacts.FOR_RABBITMQ)
            message = f"{quoted(name)} is for SQS; a service of RabbitMQ has {known}"
            yield Problem(("with", index), message)


def _collisions(queues: Sequence[Values]) -> Iterator[Problem]:
    """Names that two queues or two functions share."""
    places: dict[str, int] = {}
    handlers: dict[str, int] = {}
    for index, queue in enumerate(queues):
        if "name" not in queue:
            continue
        name = names.fixed_part(names.queue_name(str(queue["name"])))
        if name in places:
            message = f"{quoted(name)} is already the name of queues[{places[name]}]"
            yield Problem(("queues", index, "name"), message)
            continue
        places[name] = index
        for key, handler in _handlers(queue).items():
            if handler in handlers:
                message = (
                    f"{handler} is already the handler of queues[{handlers[handler]}]; "
                    f"give this one another name, like {_free(handler, queues)}"
                )
                yield Problem(("queues", index, *key), message)
            handlers.setdefault(handler, index)
    for index, queue in enumerate(queues):
        if queue.get("error_handler") in handlers:
            message = f"{queue['error_handler']} is already the name of a handler"
            yield Problem(("queues", index, "error_handler"), message)


def _free(handler: str, queues: Sequence[Values]) -> str:
    named = [queue for queue in queues if "name" in queue or "handler" in queue]
    used = {name for queue in named for name in _handlers(queue).values()}
    used |= {str(queue.get("error_handler")) for queue in queues}
    return next(name for n in range(2, len(used) + 3) if (name := f"{handler}_{n}") not in used)


def _handlers(queue: Values) -> Mapping[Path, str]:
    """The handlers of a queue, by their places in its table."""
    found: dict[Path, str] = {
        ("types", type_.name, "handler"): type_.handler for type_ in _type_specs(queue)
    }
    return found if found and "handler" not in queue else {**found, ("handler",): _handler(queue)}


def _type_specs(queue: Values) -> Iterator[TypeSpec]:
    for name, table in _types(queue).items():
        payload = table.get("payload")
        handler = str(table.get("handler") or names.handler_for(name))
        yield TypeSpec(name, handler, None if payload is None else str(payload))


def _handler(queue: Values) -> str:
    return str(queue.get("handler") or names.handler_for(str(queue.get("name", ""))))


def _kind(values: Values) -> str:
    kind = str(values.get("kind", "sqs"))
    return "sns" if kind == "sqs" and "topic" in values else kind


def _topic(values: Values) -> str | None:
    """The topic of a queue of kind `sns`, by default named like the queue."""
    if values.get("kind") == "sns" or "topic" in values:
        return str(values.get("topic", names.queue_name(str(values.get("name", "")))))
    return None


def _queue(values: Values) -> QueueSpec:
    name = str(values["name"])
    topic = _topic(values)
    target = values.get("dead_letter_queue")
    count = values.get("max_receive_count", DEFAULT_MAX_RECEIVE_COUNT)
    options = {"handler_timeout": _handler_timeout(values), **values}
    return QueueSpec(
        name=name,
        kind=_kind(values),
        topic=topic,
        exchange=_text(values.get("exchange")),
        routing_key=_text(values.get("routing_key")),
        creates_topic=values.get(_CREATES_TOPIC, True) is True,
        handler=_handlers(values).get(("handler",)),
        by=_text(values.get("by")),
        types=tuple(_type_specs(values)),
        error_handler=_text(values.get("error_handler")),
        translator=_text(values.get("translator")),
        payload=_text(values.get("payload")),
        dead_letter_queue=_text(target),
        max_receive_count=int(count) if target is not None else None,
        options={field.name: options[field.name] for field in OPTIONS if field.name in options},
        attributes={
            field.name: values[field.name]
            for field in ATTRIBUTES
            if values.get(field.name, field.default) != field.default
        },
    )


def _handler_timeout(queue: Values) -> Value:
    """The default of a queue's handler timeout: its message must stay hidden for that long."""
    bounds = [DEFAULT_HANDLER_TIMEOUT, queue.get("max_processing_time")]
    if queue.get("heartbeat") is False:
        bounds.append(queue.get("visibility_timeout", DEFAULT_VISIBILITY_TIMEOUT))
    return min(cast("float", bound) for bound in bounds if bound is not None)


def _text(value: Value | None) -> str | None:
    return None if value is None else str(value)
