"""The flags of the command line as a source: `NAME --queue NAME[,key=value…]`."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from loafer_kit.scaffold.spec.fields import EVERY, Field, Kind
from loafer_kit.scaffold.spec.specs import Draft, Path, Problem, SpecError

_ROWS: Mapping[str, Field] = {field.name: field for field in EVERY}
_NUMBERS: Mapping[Kind, Sequence[type[int | float]]] = {"integer": (int,), "number": (int, float)}
# A string of JSON, or one character.
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


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
    if not parameters:
        return draft
    listed = draft.values.get("parameters")
    before = list(listed) if isinstance(listed, list) else []
    pairs = [text.partition("=") for text in parameters]
    added = [
        {"name": name, "default": default} if equals else {"name": name}
        for name, equals, default in pairs
    ]
    return replace(draft, values={**draft.values, "parameters": before + added})


def ship(draft: Draft, wanted: Sequence[str]) -> Draft:
    """The draft with further artefacts; each text of `wanted` is a name or several with commas."""
    if not wanted:
        return draft
    listed = draft.values.get("with")
    before = list(listed) if isinstance(listed, list) else []
    added = [name.strip() for text in wanted for name in text.split(",")]
    return replace(draft, values={**draft.values, "with": before + added})


def _parse_all(queues: Sequence[str], start: int) -> list[Mapping[str, object]]:
    problems: list[Problem] = []
    parsed = [_parse(text, index, problems) for index, text in enumerate(queues, start)]
    if problems:
        raise SpecError(problems)
    return parsed


def _parse(text: str, index: int, problems: list[Problem]) -> Mapping[str, object]:
    name, *pairs = _split(text)
    values: dict[str, object] = {"name": name}
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
