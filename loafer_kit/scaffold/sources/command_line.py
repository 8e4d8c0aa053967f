"""The command line as a source: flags, an installed source that a flag names, and questions.

Flags have the form `NAME --queue NAME[,key=value…]`. A person is asked for what is missing, again
after an invalid answer.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol, cast

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import installed
from loafer_kit.scaffold.spec import extensions, names
from loafer_kit.scaffold.spec.fields import ENVELOPES, EVERY, Field, Kind
from loafer_kit.scaffold.spec.specs import Draft, Path, Problem, SpecError
from loafer_kit.scaffold.spec.validation import problems_of

_ROWS: Mapping[str, Field] = {field.name: field for field in EVERY}
_NUMBERS: Mapping[Kind, Sequence[type[int | float]]] = {"integer": (int,), "number": (int, float)}
# A string of JSON, or one character.
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}

Values = dict[str, object]


def read(text: str) -> Draft:
    """The draft that an installed source makes of `NAME=VALUE`; its own errors pass through."""
    name, _, value = text.partition("=")
    plugin = installed.one("sources", name)
    source = plugin.load()
    try:
        found = source(value)
    except Exception as error:
        error.add_note(f"This is an error of {plugin.what}.")
        raise
    if isinstance(found, Draft):
        return found
    if not isinstance(found, Mapping):
        raise ConfigurationError(
            f"{plugin}: it returned a {type(found).__name__}; expected a mapping or a Draft"
        )
    return Draft(found, f"{name} {quoted(value)}")


def merge(draft: Draft, name: str | None, queues: Sequence[str]) -> Draft:
    """The draft with the name and the queues of the command line.

    The settings of a queue that the draft has already override those of the draft.
    """
    listed = draft.values.get("queues")
    typed = _parse_all(queues, len(listed) if isinstance(listed, list) else 0)
    more: dict[str, object] = {} if name is None else {"name": name}
    return override(draft, more | ({"queues": typed} if typed else {}))


def override(draft: Draft, values: Mapping[str, object]) -> Draft:
    """The draft with other values: queues are merged by their names, models by theirs."""
    found = {**draft.values, **values}
    changed: set[Path] = {(key,) for key in values if key not in ("queues", "payloads")}
    before, after = draft.values.get("queues"), values.get("queues")
    if isinstance(before, list) and isinstance(after, list):
        queues = list(before)
        places = {_name_of(queue): index for index, queue in enumerate(before)}
        for queue in after:
            index = places.get(_name_of(queue) or "")
            if index is None or not isinstance(queue, Mapping):
                changed.add(("queues", len(queues)))
                queues.append(queue)
            else:
                changed |= {("queues", index, str(key)) for key in queue}
                queues[index] = {**queues[index], **queue}
        found["queues"] = queues
    models, more = draft.values.get("payloads"), values.get("payloads")
    if isinstance(models, Mapping) and isinstance(more, Mapping):
        found["payloads"] = {**models, **more}

    def line(path: Path) -> int | None:
        prefixes = (path[:length] for length in range(1, len(path) + 1))
        return None if changed.intersection(prefixes) else draft.line(path)

    return replace(draft, values=found, line=line)


def _name_of(queue: object) -> str | None:
    name = queue.get("name") if isinstance(queue, Mapping) else None
    return name if isinstance(name, str) else None


def declare(draft: Draft, parameters: Sequence[str]) -> Draft:
    """The draft with further parameters, each as NAME=default or NAME."""
    pairs = [text.partition("=") for text in parameters]
    tables = [
        {"name": name, "default": default} if equals else {"name": name}
        for name, equals, default in pairs
    ]
    return _extended(draft, "parameters", tables)


def ship(draft: Draft, wanted: Sequence[str]) -> Draft:
    """The draft with further artefacts; each text of `wanted` is a name or several with commas."""
    return _extended(draft, "with", [name.strip() for text in wanted for name in text.split(",")])


def _extended(draft: Draft, key: str, added: Sequence[object]) -> Draft:
    if not added:
        return draft
    listed = draft.values.get(key)
    before = listed if isinstance(listed, list) else []
    return replace(draft, values={**draft.values, key: [*before, *added]})


def _parse_all(queues: Sequence[str], start: int) -> list[Values]:
    problems: list[Problem] = []
    parsed = [_parse(text, index, problems) for index, text in enumerate(queues, start)]
    if problems:
        raise SpecError(problems)
    return parsed


def _parse(text: str, index: int, problems: list[Problem]) -> Values:
    name, *pairs = _split(text)
    values: Values = {"name": name}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals:
            message = f"{pair!a} must have the form key=value"
            problems.append(Problem(("queues", index), message))
        elif key in values:
            problems.append(Problem(("queues", index, key), "is given twice"))
        else:
            values[key] = _typed(key, value.strip())
    return values


def _split(text: str) -> Sequence[str]:
    """The parts between commas; a comma within JSON does not separate."""
    parts, depth = [""], 0
    for piece in _PIECE.findall(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(piece, 0)
        if piece == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _typed(key: str, text: str) -> object:
    """The text converted to the key's type; the text itself, for validation, if that fails."""
    kind = _ROWS[key].kind if key in _ROWS else "string"
    if kind == "boolean":
        return _BOOLEANS.get(text.lower(), text)
    for number in _NUMBERS.get(kind, ()):
        with suppress(ValueError):
            return number(text)
    return text


class Person(Protocol):
    """The person who answers, usually at a terminal."""

    def ask(self, question: str, default: str | None) -> str:
        """Return the answer; the default if the answer is empty and there is one."""

    def confirm(self, question: str, *, default: bool = False) -> bool:
        """Return whether the answer is yes; an empty answer stands for the default."""

    def tell(self, text: str) -> None:
        """Say what is wrong with an answer."""


def complete(draft: Draft, person: Person) -> Draft:
    """The draft with a name and queues; the person is asked for what it lacks."""
    values: Values = dict(draft.values)
    if "name" not in values:
        _ask(values, ("name",), "Name of the service", None, person)
    if not values.get("queues"):
        values["queues"] = []
        _ask_for_queue(values, person)
        while person.confirm("Another queue?"):
            _ask_for_queue(values, person)
    return replace(draft, values=values)


def name_of_extension(person: Person) -> str:
    """Ask for an extension's name until it is valid."""
    while True:
        name = person.ask("Name of the extension", extensions.DEFAULT_NAME).strip()
        problems = list(extensions.name_problems(name))
        if not problems:
            return name
        for problem in problems:
            person.tell(problem.message)


def _ask_for_queue(values: Values, person: Person) -> None:
    queues = cast("list[Values]", values["queues"])
    place: Path = ("queues", len(queues))
    queue = _ask_for_name(values, place, person)
    queues.append(queue)

    def ask(key: str, question: str, default: str | None = None) -> str:
        return _ask(values, (*place, key), question, default, person)

    name = str(queue["name"])
    if "kind" not in queue and "topic" not in queue:
        ask(
            "kind",
            f"Kind (sqs, sns for a queue subscribed to a topic, {', '.join(ENVELOPES)})",
            "sqs",
        )
    if queue.get("kind") == "sns" and "topic" not in queue:
        topic = ask("topic", "Topic", names.queue_name(name))
        if not topic.startswith("arn:") and not person.confirm(
            "Create the topic? Answer n for one that exists.", default=True
        ):
            queue["topic"] = {"name": topic, "create": False}
    if "handler" not in queue:
        ask("handler", "Handler", names.handler_for(name))
    if "dead_letter_queue" not in queue and person.confirm(
        "With a dead-letter queue?", default=True
    ):
        ask("dead_letter_queue", "Dead-letter queue", _dead_letter_queue_for(name))


def _ask_for_name(values: Values, place: Path, person: Person) -> Values:
    """Ask for a queue's name, and its settings in the form of `--queue`."""
    while True:
        answer = person.ask("Queue (name or URL)", None).strip()
        try:
            typed = merge(Draft(values), None, [answer])
        except SpecError as error:
            problems = list(error.problems)
        else:
            queue = dict(cast("list[Values]", typed.values["queues"])[-1])
            own = {(*place, key) for key in queue}
            problems = [problem for problem in problems_of(typed) if problem.path in own]
            if not problems:
                return queue
        for problem in problems:
            key = problem.path[2:]
            person.tell(str(Problem(() if key == ("name",) else key, problem.message)))


def _dead_letter_queue_for(name: str) -> str:
    bare = names.queue_name(name)
    return f"{bare.removesuffix('.fifo')}-dlq{'.fifo' if bare.endswith('.fifo') else ''}"


def _ask(values: Values, path: Path, question: str, default: str | None, person: Person) -> str:
    """Ask until the answer has no problem; it is stored at its path in the values."""
    table: Any = values
    for step in path[:-1]:
        table = table[step]
    while True:
        answer = table[path[-1]] = person.ask(question, default).strip()
        problems = [item.message for item in problems_of(Draft(values)) if item.path == path]
        if not problems:
            return answer
        for problem in problems:
            person.tell(problem)
