"""What the rows of keys make: a spec of a draft, with all its problems, and the JSON Schema of specs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.spec import contradictions, names, payload_types, payloads
from loafer_kit.scaffold.spec.contradictions import Entry, Values
from loafer_kit.scaffold.spec.fields import (
    AMQP,
    ARTEFACT_NAMES,
    ATTRIBUTES,
    DEFAULT_HANDLER_TIMEOUT,
    DEFAULT_MAX_RECEIVE_COUNT,
    DEFAULT_VISIBILITY_TIMEOUT,
    EVERY,
    EVERY_OF_AMQP,
    OPTIONS,
    PARAMETER,
    SERVICE,
    TOPIC,
    TYPE,
    Field,
    Value,
)
from loafer_kit.scaffold.spec.payloads import Schema
from loafer_kit.scaffold.spec.specs import (
    Draft,
    Parameter,
    Path,
    Problem,
    QueueSpec,
    ServiceSpec,
    SpecError,
    TypeSpec,
)

# A message lists the known keys up to this number.
_MOST_LISTED = 10

# The keys of a service that have no row.
_TABLES = ("queues", "parameters", "payloads", "with")


def service(draft: Draft) -> ServiceSpec:
    """The service that a draft describes; SpecError with all problems if there are any."""
    spec, problems = _read(draft)
    if problems:
        raise SpecError(problems, draft.origin)
    return spec


def problems_of(draft: Draft) -> Sequence[Problem]:
    """All problems of a draft of a service, by their lines."""
    return _read(draft)[1]


def _read(draft: Draft) -> tuple[ServiceSpec, Sequence[Problem]]:
    """What the valid values of a draft make, and the problems: it is a spec if there are none."""
    problems: list[Problem] = []
    values = _table(draft.values, SERVICE, (), problems, besides=_TABLES)
    name = str(values.get("name", ""))
    problems.extend(_package_problems(values, draft))
    ships = _artefacts(draft.values.get("with", []), problems)
    queues = [
        _queue(raw, ("queues", index), problems)
        for index, raw in enumerate(_raw_queues(draft, problems))
    ]
    before = len(problems)
    models = payloads.read(draft.values.get("payloads", {}), problems)
    are_valid = len(problems) == before
    parameters = _parameters(draft.values.get("parameters", []), problems)
    spec = ServiceSpec(
        name=name,
        package=str(values.get("package", names.package_for(name))),
        queues=tuple(queue.spec for queue in queues),
        ships=ships,
        parameters=parameters,
        payloads=models,
    )
    problems.extend(
        contradictions.find(spec, queues, draft.values.get("with"), models_are_valid=are_valid)
    )
    if not (problems or draft.problems):
        problems.extend(contradictions.with_lambda(spec))
    located = [Problem(item.path, item.message, draft.line(item.path)) for item in problems]
    return spec, sorted([*draft.problems, *located], key=lambda item: item.line or 0)


def _package_problems(values: Values, draft: Draft) -> Iterator[Problem]:
    """A name that gives no valid package; only a file can set another package."""
    if "name" in values and "package" not in draft.values:
        why = names.package(names.package_for(str(values["name"])))
        if why:
            remedy = ", or set `package`" if draft.origin else ""
            yield Problem(("name",), f"{why}: choose another name{remedy}")


def _artefacts(wanted: object, problems: list[Problem]) -> tuple[str, ...]:
    """The artefacts of `with`, each once, in the order of their rows."""
    listed = ", ".join(ARTEFACT_NAMES)
    if not isinstance(wanted, list):
        problems.append(Problem(("with",), f"must be a list of {listed}"))
        return ()
    for index, name in enumerate(wanted):
        if name not in ARTEFACT_NAMES:
            hint = names.did_you_mean(str(name), ARTEFACT_NAMES)
            message = f"{quoted(str(name))} is not one of {listed}{hint}"
            problems.append(Problem(("with", index), message))
    return tuple(name for name in ARTEFACT_NAMES if name in wanted)


def _raw_queues(draft: Draft, problems: list[Problem]) -> Sequence[object]:
    found = draft.values.get("queues")
    if isinstance(found, Sequence) and not isinstance(found, str) and found:
        return found
    if not draft.problems:  # which tell already why there are no queues
        remedy = "" if draft.origin else ": name one with --queue"
        message = f"a service needs a list of one queue or more{remedy}"
        problems.append(Problem(("queues",), message))
    return []


def _parameters(raw: object, problems: list[Problem]) -> tuple[Parameter, ...]:
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        problems.append(Problem(("parameters",), "must be a list of tables with name and default"))
        return ()
    found: dict[str, Parameter] = {}
    for index, table in enumerate(raw):
        path = ("parameters", index)
        values = _table(table, PARAMETER, path, problems)
        if "name" not in values:
            continue
        name = str(values["name"])
        key = name.replace("_", "")  # CloudFormation's parameters have no underscores
        if key in found:
            message = f"{quoted(name)} cannot be told from {quoted(found[key].name)}"
            problems.append(Problem((*path, "name"), message))
        found.setdefault(key, Parameter(name, _text(values, "default")))
    return tuple(found.values())


def _queue(raw: object, path: Path, problems: list[Problem]) -> Entry:
    """A queue, as far as its table is valid."""
    table: object = raw
    creates_topic: Value = True
    if isinstance(raw, Mapping) and isinstance(raw.get("topic"), Mapping):
        topic = _topic_table(raw["topic"], (*path, "topic"), problems)
        creates_topic = topic.get("create", True)
        table = {**raw, "topic": topic.get("name")}
        if "name" not in topic:
            del table["topic"]
    is_amqp = isinstance(table, Mapping) and table.get("kind") == AMQP
    values = _table(table, EVERY_OF_AMQP if is_amqp else EVERY, path, problems)
    types = _types(values, path, problems)
    if "by" in values and not (isinstance(raw, Mapping) and "types" in raw):
        problems.append(Problem((*path, "by"), "needs `types`"))
    name, target = str(values.get("name", "")), _text(values, "dead_letter_queue")
    kind = str(values.get("kind", "sqs"))
    options = {"handler_timeout": _handler_timeout(values), **values}
    count = int(values.get("max_receive_count", DEFAULT_MAX_RECEIVE_COUNT))
    spec = QueueSpec(
        name=name,
        kind="sns" if kind == "sqs" and "topic" in values else kind,
        topic=_text(values, "topic", names.queue_name(name) if kind == "sns" else None),
        exchange=_text(values, "exchange"),
        routing_key=_text(values, "routing_key"),
        creates_topic=creates_topic is True,
        handler=_text(values, "handler", None if types else names.handler_for(name)),
        by=_text(values, "by"),
        types=types,
        error_handler=_text(values, "error_handler"),
        translator=_text(values, "translator"),
        payload=_text(values, "payload"),
        dead_letter_queue=target,
        max_receive_count=count if target or "max_receive_count" in values else None,
        options={row.name: options[row.name] for row in OPTIONS if row.name in options},
        attributes={
            row.name: values[row.name]
            for row in ATTRIBUTES
            if values.get(row.name, row.default) != row.default
        },
    )
    return Entry(path, values, spec)


def _topic_table(raw: object, path: Path, problems: list[Problem]) -> Values:
    """A topic that is given as a table."""
    topic = _table(raw, TOPIC, path, problems)
    if topic.get("create") and str(topic.get("name")).startswith("arn:"):
        problems.append(Problem((*path, "create"), "a topic that has an ARN exists already"))
    return topic


def _types(queue: Values, path: Path, problems: list[Problem]) -> tuple[TypeSpec, ...]:
    """The types of a queue's messages, as far as their tables are valid."""
    found = []
    for name, table in json.loads(str(queue.get("types", "{}"))).items():
        place = (*path, "types", name)
        if why := names.key(name):
            problems.append(Problem(place, why))
        values = _table(table, TYPE, place, problems)
        handler = str(values.get("handler") or names.handler_for(name))
        found.append(TypeSpec(name, handler, _text(values, "payload")))
    return tuple(found)


def _handler_timeout(queue: Values) -> Value:
    """The default of a queue's handler timeout: its message must stay hidden for that long."""
    bounds = [DEFAULT_HANDLER_TIMEOUT, queue.get("max_processing_time")]
    if queue.get("heartbeat") is False:
        bounds.append(queue.get("visibility_timeout", DEFAULT_VISIBILITY_TIMEOUT))
    return min(cast("float", bound) for bound in bounds if bound is not None)


def _text(values: Values, key: str, default: str | None = None) -> str | None:
    return str(values[key]) if key in values else default


def _table(
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
    values: dict[str, Value] = {}
    for key, value in raw.items():
        if key in rows:
            known = names.as_json(value) if rows[key].kind == "object" else value
            why = rows[key].why_not(known)
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


def _unknown(key: object, known: Sequence[str], path: Path) -> Problem:
    name = str(key)
    listed = f": the keys are {', '.join(sorted(known))}"
    if len(known) > _MOST_LISTED:
        listed = "; `loafer-kit schema` lists the keys"
    hint = names.did_you_mean(name.replace("-", "_"), known) or listed
    return Problem((*path, name), f"is not a known key{hint}")


# JSON Schema.


def schema() -> Schema:
    """The schema of `loafer.toml` and other spec files of a service."""
    schema = _schema_of_table(SERVICE, "A service that loafer-kit writes.")
    schema["properties"]["queues"] = {
        "type": "array",
        "description": "The queues whose messages the service handles.",
        "minItems": 1,
        "items": _schema_of_table(EVERY, "A queue and the code that handles its messages."),
    }
    queue = schema["properties"]["queues"]["items"]["properties"]
    queue["topic"] = {
        "description": queue["topic"].pop("description"),
        "anyOf": [queue["topic"], _schema_of_table(TOPIC, "A topic, and who creates it.")],
    }
    queue["types"] |= {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^(?:{names.KEY.pattern})$"},
        "additionalProperties": _schema_of_table(
            TYPE, "A type of messages, and the code that handles it."
        ),
    }
    schema["properties"]["parameters"] = {
        "type": "array",
        "description": "What differs between the stages of the service.",
        "items": _schema_of_table(
            PARAMETER, "An environment variable that names of queues contain."
        ),
    }
    schema["properties"]["payloads"] = _schema_of_payloads()
    schema["required"].append("queues")
    schema["properties"]["with"] = {
        "type": "array",
        "description": "The artefacts that ship the service, as with `--with`.",
        "items": {"enum": list(ARTEFACT_NAMES)},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "loafer"} | schema


def _schema_of_payloads() -> Schema:
    scalars = ", ".join(payload_types.SCALARS)
    fields = {
        "type": "object",
        "propertyNames": {"pattern": f"^(?:{names.KEY.pattern})$"},
        "maxProperties": payloads.MOST,
        "additionalProperties": {
            "type": "string",
            "description": (
                f"A Python annotation: {scalars}; a model; list[...]; dict[str, ...]; "
                "Literal['a', 'b']; T | U. A field whose type ends in `| None` may be absent or "
                "null, unless it is `Required[T | None]`; `T = 'open'` has a default."
            ),
        },
    }
    union = {"type": "string", "description": "A union of models: 'Placed | Paid'."}
    return {
        "type": "object",
        "description": "The models of messages, each a table of a JSON object's keys and types.",
        "propertyNames": {"pattern": f"^(?:{names.IDENTIFIER.pattern})$"},
        "maxProperties": payloads.MOST,
        "additionalProperties": {"anyOf": [fields, union]},
    }


def _schema_of_table(fields: Sequence[Field], description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {field.name: _schema_of_value(field) for field in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }


def _schema_of_value(field: Field) -> Schema:
    schema: Schema = {
        "type": ["object", "string"] if field.kind == "object" else field.kind,
        "description": field.doc,
        "enum": list(field.choices) or None,
        "pattern": f"^(?:{field.pattern.pattern})$" if field.pattern else None,
        "minimum": field.minimum,
        "exclusiveMinimum": field.more_than,
        "maximum": field.maximum,
    }
    return {key: value for key, value in schema.items() if value is not None}
