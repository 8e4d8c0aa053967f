"""From a draft to a spec: reads keys by their rows and collects every problem."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import cast

from loafer_kit.scaffold.spec import artefacts, circles, names, payloads
from loafer_kit.scaffold.spec.drafts import Draft
from loafer_kit.scaffold.spec.fields import OPTIONS, QUEUE, SERVICE, Field, Kind, Value
from loafer_kit.scaffold.spec.problems import Path, Problem, SpecError
from loafer_kit.scaffold.spec.specs import QueueSpec, ServiceSpec

DEFAULT_MAX_RECEIVE_COUNT = 5

# More keys than that are no answer to anybody.
_MOST_LISTED = 10

# A service's keys that hold tables.
_TABLES = ("queues", "payloads", "with")

Values = dict[str, Value]

_KINDS: Mapping[Kind, str] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def service(draft: Draft) -> ServiceSpec:
    """The service that a draft describes; SpecError with all its problems when it has any."""
    problems = list(problems_of(draft))
    if problems:
        raise SpecError(problems, draft.origin)
    ignored: list[Problem] = []
    values = read(draft.values, SERVICE, (), ignored, besides=_TABLES)
    name = str(values["name"])
    queues = [read(raw, QUEUE + OPTIONS, (), ignored) for raw in _queues(draft.values)]
    return ServiceSpec(
        name=name,
        package=str(values.get("package", names.package_for(name))),
        queues=tuple(_queue(queue) for queue in queues),
        payloads=payloads.read(draft.values.get("payloads", {}), ignored),
        ships=artefacts.in_order(draft.values.get("with", [])),
    )


def problems_of(draft: Draft) -> Iterator[Problem]:
    """Everything that is wrong with a draft of a service."""
    problems: list[Problem] = []
    values = read(draft.values, SERVICE, (), problems, besides=_TABLES)
    problems.extend(_package_problems(values, draft))
    problems.extend(artefacts.problems_of(draft.values.get("with", [])))
    raw_queues = draft.values.get("queues")
    if not isinstance(raw_queues, Sequence) or isinstance(raw_queues, str) or not raw_queues:
        if not draft.problems:  # which say already why there is none
            remedy = "" if draft.origin else ": name one with --queue"
            message = f"a service needs a list of one queue or more{remedy}"
            problems.append(Problem(("queues",), message))
        raw_queues = []
    queues: list[Values] = []
    for index, raw in enumerate(raw_queues):
        values = read(raw, QUEUE + OPTIONS, ("queues", index), problems)
        problems.extend(_contradictions(values, ("queues", index)))
        queues.append(values)
    problems.extend(_collisions(queues))
    problems.extend(circles.problems_of(queues))
    _check_payloads(draft, queues, problems)
    located = [Problem(item.path, item.message, draft.line(item.path)) for item in problems]
    yield from sorted([*draft.problems, *located], key=lambda item: item.line or 0)


def read(
    raw: object,
    fields: Sequence[Field],
    path: Path,
    problems: list[Problem],
    besides: Sequence[str] = (),
) -> Values:
    """The values of a table that fit their rows; what does not fit is added to `problems`."""
    if not isinstance(raw, Mapping):
        problems.append(Problem(path, "must be a table of keys and values"))
        return {}
    rows = {field.name: field for field in fields}
    values: Values = {}
    for key, value in raw.items():
        if key in rows:
            why = _why_not(rows[key], value)
            if why is None:
                values[key] = cast("Value", value)
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
    if not field.accepts(value):
        return f"must be {_KINDS[field.kind]}, not {_described(value)}"
    if field.choices and value not in field.choices:
        near = _did_you_mean(str(value), field.choices)
        return f"{names.shown(str(value))} is none of {', '.join(field.choices)}{near}"
    if field.kind in ("integer", "number"):
        return _out_of_bounds(field, cast("float", value))
    return field.rule(str(value)) if field.rule else None


def _out_of_bounds(field: Field, value: float) -> str | None:
    said = _described(value)
    if not abs(value) <= sys.float_info.max:  # also of a whole number that no float can hold
        return f"{said} is no finite number"
    if field.minimum is not None and value < field.minimum:
        return f"{said} is less than {field.minimum}"
    if field.more_than is not None and value <= field.more_than:
        return f"must be more than {field.more_than}"
    if field.maximum is not None and value > field.maximum:
        return f"{said} is more than {field.maximum}"
    return None


def _described(value: object) -> str:
    """A value that has the wrong type: short, whatever it is."""
    if isinstance(value, str):
        return names.shown(value)
    if isinstance(value, (bool, int, float)):
        return names.shown(str(value)).strip("'").lower()
    if isinstance(value, Mapping):
        return "a table"
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"


def _unknown(key: object, known: Sequence[str], path: Path) -> Problem:
    name = str(key)
    listed = f": the keys are {', '.join(sorted(known))}"
    if len(known) > _MOST_LISTED:
        listed = "; `loafer-kit schema` lists those that are"
    hint = _did_you_mean(name, known) or listed
    return Problem((*path, name), f"is no known key{hint}")


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word.replace("-", "_"), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _package_problems(values: Values, draft: Draft) -> Iterator[Problem]:
    """A name whose package cannot be, where no other package is given: only a file can give one."""
    if "name" in values and "package" not in draft.values:
        why = names.package(names.package_for(str(values["name"])))
        if why:
            remedy = ", or set `package`" if draft.origin else ""
            yield Problem(("name",), f"{why}: choose another name{remedy}")


def _contradictions(queue: Values, path: Path) -> Iterator[Problem]:
    """What no single key shows."""
    name = str(queue.get("name", ""))
    fifo = name.endswith(".fifo")
    if queue.get("fifo") is True and name and not fifo:
        message = f"the name of a FIFO queue ends in '.fifo': name it {names.shown(name + '.fifo')}"
        yield Problem((*path, "fifo"), message)
    if queue.get("fifo") is False and fifo:
        yield Problem((*path, "fifo"), "a queue whose name ends in '.fifo' is a FIFO queue")
    if "topic" in queue and queue.get("kind", "sns") != "sns":
        yield Problem((*path, "topic"), "only a queue of kind 'sns' has a topic")
    if fifo and not str(queue.get("topic", ".fifo")).endswith(".fifo"):
        yield Problem((*path, "topic"), "only a FIFO topic (.fifo) delivers to a FIFO queue")
    yield from _dead_letter_contradictions(queue, path)


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
        kind = "a FIFO queue (.fifo)" if name.endswith(".fifo") else "no FIFO queue"
        yield Problem(at, f"must be {kind}, as {names.shown(name)} is")


def _check_payloads(draft: Draft, queues: Sequence[Values], problems: list[Problem]) -> None:
    """The models, and whether each queue's message can be made by one of them."""
    before = len(problems)
    models = payloads.read(draft.values.get("payloads", {}), problems)
    sound = len(problems) == before
    topics: dict[str | None, str] = {}
    for index, queue in enumerate(queues):
        if "payload" not in queue:
            continue
        name, path = str(queue["payload"]), ("queues", index, "payload")
        if name not in models:
            near = _did_you_mean(name, list(models))
            problems.append(Problem(path, f"{names.shown(name)} is no model of payloads{near}"))
        elif sound and (why := payloads.why_no_example(name, models)):
            problems.append(Problem(path, f"{names.shown(name)} {why}"))
        topic = _topic(queue)
        if topics.setdefault(topic, name) != name and topic:
            message = f"every queue of the topic {topic} gets the same messages: {topics[topic]}"
            problems.append(Problem(path, message))
        if "translator" in queue:
            message = "is decoded from JSON: a queue with a payload has no translator of its own"
            problems.append(Problem(path, message))


def _collisions(queues: Sequence[Values]) -> Iterator[Problem]:
    """Names that two queues, or two pieces of code, would share."""
    places: dict[str, int] = {}
    handlers: dict[str, int] = {}
    for index, queue in enumerate(queues):
        if "name" not in queue:
            continue
        name = names.queue_name(str(queue["name"]))
        if name in places:
            message = f"{names.shown(name)} is already the name of queues[{places[name]}]"
            yield Problem(("queues", index, "name"), message)
            continue
        places[name] = index
        handler = _handler(queue)
        if handler in handlers:
            message = (
                f"{handler} is already the handler of queues[{handlers[handler]}]; "
                f"give this one another name, like {_free(handler, queues)}"
            )
            yield Problem(("queues", index, "handler"), message)
        handlers.setdefault(handler, index)
    for index, queue in enumerate(queues):
        if queue.get("error_handler") in handlers:
            message = f"{queue['error_handler']} is already the name of a handler"
            yield Problem(("queues", index, "error_handler"), message)


def _free(handler: str, queues: Sequence[Values]) -> str:
    used = {_handler(queue) for queue in queues if "name" in queue or "handler" in queue}
    used |= {str(queue.get("error_handler")) for queue in queues}
    return next(name for n in range(2, len(used) + 3) if (name := f"{handler}_{n}") not in used)


def _handler(queue: Values) -> str:
    return str(queue.get("handler") or names.handler_for(str(queue.get("name", ""))))


def _queues(values: Mapping[str, object]) -> Sequence[object]:
    return cast("Sequence[object]", values["queues"])


def _topic(values: Values) -> str | None:
    """The topic of a queue of kind `sns`: by default it is named as the queue."""
    if values.get("kind") == "sns" or "topic" in values:
        return str(values.get("topic", names.queue_name(str(values.get("name", "")))))
    return None


def _queue(values: Values) -> QueueSpec:
    name = str(values["name"])
    topic = _topic(values)
    target = values.get("dead_letter_queue")
    count = values.get("max_receive_count", DEFAULT_MAX_RECEIVE_COUNT)
    return QueueSpec(
        name=name,
        kind="sns" if topic else "sqs",
        topic=topic,
        handler=_handler(values),
        error_handler=_text(values.get("error_handler")),
        translator=_text(values.get("translator")),
        payload=_text(values.get("payload")),
        dead_letter_queue=_text(target),
        max_receive_count=int(count) if target is not None else None,
        options={field.name: values[field.name] for field in OPTIONS if field.name in values},
    )


def _text(value: Value | None) -> str | None:
    return None if value is None else str(value)
