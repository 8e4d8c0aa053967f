"""Edits a `loafer.toml` that may have been edited: no byte changes besides what is asked for."""

import re
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import texts
from loafer_kit.scaffold.project.pieces import UnplacedError
from loafer_kit.scaffold.project.projects import SPEC
from loafer_kit.scaffold.rendering.quoting import toml, toml_key
from loafer_kit.scaffold.sources import lines

_BOM = "\ufeff"
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_LIST = re.compile(r"^[ \t]*with[ \t]*=[ \t]*\[(?P<rest>[ \t]*(?P<end>\])?)", re.MULTILINE)
_KEY = re.compile(r"^[ \t]*(?:name|package)[ \t]*=[^\n]*\n?", re.MULTILINE)

# From the text, its values and its line end to the new text; changes the values too.
_Edit = Callable[[str, dict[str, Any], str], str]


def table_of(rendered: bytes, index: int) -> str:
    """The table of one queue as the template renders it."""
    text = rendered.decode()
    start = lines.of_toml(text)["queues", index]
    return "\n".join(text.split("\n")[start - 1 :]).partition("\n\n")[0].rstrip("\n")


def with_queue(content: bytes, table: str) -> bytes:
    """The file with one more table after the last queue; UnplacedError if it has no place."""

    def edit(text: str, values: dict[str, Any], newline: str) -> str:
        count = len(values["queues"])
        values["queues"] += tomllib.loads(table)["queues"]
        rows = _rows(text)
        at = _end_of_queues(text, rows, count)
        before, after = "".join(rows[:at]), "".join(rows[at:])
        added = table.replace("\n", newline) + newline
        if after:
            return before + added + newline + after
        return before + ("" if before.endswith("\n") else newline) + newline + added

    why = "it has no place for one more [[queues]] table"
    return _edited(content, edit, UnplacedError(SPEC, why, table))


def without_queue(content: bytes, index: int) -> bytes:
    """The file without one of its `[[queues]]` tables."""

    def edit(text: str, values: dict[str, Any], newline: str) -> str:
        del values["queues"][index]
        rows, places = _rows(text), lines.of_toml(text)
        first = places["queues", index]
        later = [
            line for path, line in places.items() if line > first and path[:2] != ("queues", index)
        ]
        before = "".join(rows[: _with_comments(rows, first - 1, 0)])
        if not later:
            return before.rstrip() + newline
        return before + "".join(rows[_with_comments(rows, min(later) - 1, first) :])

    refusal = ConfigurationError(
        f"{SPEC}: the queue is not a [[queues]] table of its own: remove it by hand, then run "
        "`loafer-kit update`"
    )
    return _edited(content, edit, refusal)


def with_type(content: bytes, index: int, name: str, handler: str) -> bytes:
    """The file with one more row below the last type of a queue; UnplacedError without such rows."""
    row = f"{toml_key(name)} = {toml({'handler': handler})}"

    def edit(text: str, values: dict[str, Any], newline: str) -> str:
        types = values["queues"][index]["types"]
        rows, places = _rows(text), lines.of_toml(text)
        at = max(places["queues", index, "types", known] for known in types)
        if not rows[at - 1].endswith("\n"):
            rows[at - 1] += newline
        types[name] = {"handler": handler}
        return "".join([*rows[:at], row + newline, *rows[at:]])

    why = "the types of the queue are not rows of [queues.types]"
    return _edited(content, edit, UnplacedError(SPEC, why, f"[queues.types]\n{row}"))


def with_artefact(content: bytes, name: str) -> bytes:
    """The file whose `with` has one more name; UnplacedError if it has no place for it."""

    def edit(text: str, values: dict[str, Any], newline: str) -> str:
        wanted = values.get("with", [])
        if name in wanted:
            return text
        values["with"] = [name, *wanted]
        first_table = _TABLE.search(text)
        end = first_table.start() if first_table else len(text)
        if listed := _LIST.search(text, 0, end):
            at = listed.start("rest")
            rest = text[at:].lstrip(" \t")
            comma = "" if listed["end"] else "," if rest.startswith(("\r", "\n")) else ", "
            return text[:at] + f'"{name}"{comma}' + rest
        keys = list(_KEY.finditer(text, 0, end))
        at = keys[-1].end() if keys else 0
        lead = newline if keys and not text[:at].endswith("\n") else ""
        return text[:at] + f'{lead}with = ["{name}"]{newline}' + text[at:]

    why = "it has no place for one more name in `with`"
    return _edited(content, edit, UnplacedError(SPEC, why, f'with = ["{name}"]'))


def _edited(content: bytes, edit: _Edit, refusal: Exception) -> bytes:
    """The file after an edit; raises `refusal` unless its values are exactly the edited ones."""
    with suppress(ValueError, KeyError, TypeError, IndexError, RecursionError):
        text = content.decode()
        mark = _BOM if text.startswith(_BOM) else ""
        text = text.removeprefix(mark)
        values = tomllib.loads(text)
        after = edit(text, values, texts.prevailing(content).decode())
        if tomllib.loads(after) == values:
            return (mark + after).encode()
    raise refusal


def _rows(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _end_of_queues(text: str, rows: Sequence[str], count: int) -> int:
    """The number of rows before the first table after the last queue, and before its comment."""
    places = lines.of_toml(text)
    last = places.get(("queues", count - 1), 0)
    later = [line for path, line in places.items() if path[0] != "queues" and line > last]
    return _with_comments(rows, min(later) - 1, last) if later else len(rows)


def _with_comments(rows: Sequence[str], at: int, least: int) -> int:
    """The row at which the comment above a row begins."""
    while at > least and rows[at - 1].lstrip().startswith("#"):
        at -= 1
    return at
