"""The flags of the command line as a source: `NAME --queue NAME[,key=value…]`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from loafer_kit.scaffold.spec.fields import OPTIONS, QUEUE, Field, Kind
from loafer_kit.scaffold.spec.problems import Problem, SpecError
from loafer_kit.scaffold.spec.specs import Draft

_ROWS: Mapping[str, Field] = {field.name: field for field in QUEUE + OPTIONS}
_NUMBERS: Mapping[Kind, Sequence[type[int | float]]] = {"integer": (int,), "number": (int, float)}
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def merge(draft: Draft, name: str | None, queues: Sequence[str]) -> Draft:
    """The draft with the name and further queues of the command line."""
    values = dict(draft.values)
    if name is not None:
        values["name"] = name
    if queues:
        listed = values.get("queues")
        before = list(listed) if isinstance(listed, list) else []
        values["queues"] = before + _parse_all(queues, len(before))
    return replace(draft, values=values)


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
    name, *pairs = text.split(",")
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


def _typed(key: str, text: str) -> object:
    """The text converted to the key's type; the text itself, for validation, if that fails."""
    kind = _ROWS[key].kind if key in _ROWS else "string"
    if kind == "boolean":
        return _BOOLEANS.get(text.lower(), text)
    for number in _NUMBERS.get(kind, ()):
        with suppress(ValueError):
            return number(text)
    return text
