"""A queue's table in a `loafer.toml` that may have been edited."""

import re
import tomllib

from loafer_kit.scaffold.additions.module import UnrecognisedError
from loafer_kit.scaffold.project import line_ends
from loafer_kit.scaffold.sources import lines

_BOM = "\ufeff"


def block(rendered: bytes, index: int) -> str:
    """The table of one queue as the template writes it."""
    text = rendered.decode()
    start = lines.of_toml(text)["queues", index]
    return "\n".join(text.split("\n")[start - 1 :]).partition("\n\n")[0].rstrip("\n")


def with_queue(content: bytes, table: str) -> bytes:
    """The file with a further queue, behind those that it has, and no other byte changed.

    UnrecognisedError for one that has no place for it, or is none of a service.
    """
    try:
        text = content.decode()
        values = tomllib.loads(text.removeprefix(_BOM))
        at = _end_of_queues(text, len(values["queues"]))
        values["queues"] += tomllib.loads(table)["queues"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnrecognisedError("there is no list of [[queues]] tables") from error
    newline = line_ends.prevailing(content).decode()
    lead = "" if text[:at].endswith("\n") else newline
    gap = newline if at < len(text) else ""
    added = f"{lead}{newline}" + table.replace("\n", newline) + newline + gap
    if at < len(text):
        added = added.removeprefix(newline)
    after = text[:at] + added + text[at:]
    try:
        proved = tomllib.loads(after.removeprefix(_BOM)) == values
    except tomllib.TOMLDecodeError:
        proved = False
    if not proved:
        raise UnrecognisedError("there is no place for a further [[queues]] table")
    return after.encode()


def _end_of_queues(text: str, count: int) -> int:
    """Where the first table behind the last queue begins, with its comment; else the end."""
    places = lines.of_toml(text.removeprefix(_BOM))
    last = places.get(("queues", count - 1), 0)
    later = [line for path, line in places.items() if path[0] != "queues" and line > last]
    if not later:
        return len(text)
    rows = re.findall(r"[^\n]*\n|[^\n]+", text)
    line = min(later) - 1
    while line > last and rows[line - 1].lstrip().startswith("#"):
        line -= 1
    return sum(map(len, rows[:line]))
