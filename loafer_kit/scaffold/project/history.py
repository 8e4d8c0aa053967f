"""The changes that a command made to a project, recorded so that they can be undone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loafer_kit.scaffold.project import line_ends
from loafer_kit.scaffold.project.merges import common_length
from loafer_kit.scaffold.project.plans import Change, change, digest


@dataclass(frozen=True, slots=True)
class Edit:
    """One file that a command changed: the bytes that it inserted and those that it removed.

    `offset` and `inserted` count bytes. `removed` is None if the command created the file; `digest`
    is that of the whole file as the command left it, None if the command removed it.
    """

    path: str
    digest: str | None
    offset: int
    inserted: int
    removed: bytes | None


@dataclass(frozen=True, slots=True)
class Record:
    """One `new` or `add`: its edits, and the lock's spec before it, None if there was no lock."""

    command: str
    edits: tuple[Edit, ...]
    before: Mapping[str, Any] | None


def record(command: str, changes: Iterable[Change], before: Mapping[str, Any] | None) -> Record:
    """The record of a command that makes these changes; the lock's own change is not recorded."""
    return Record(command, tuple(_edit(item) for item in changes if item.writes), before)


def as_left(edit: Edit, content: bytes) -> bytes | None:
    """The exact bytes that the edit left, whatever the line ends are now; None if edited since."""
    return next((form for form in line_ends.forms(content) if digest(form) == edit.digest), None)


def undone(edit: Edit, content: bytes | None) -> Change:
    """The change that undoes an edit in a file that was not edited since; its line ends stay."""
    if edit.removed is None:
        return Change(edit.path, "remove", content, None)
    left = as_left(edit, content or b"") or b""
    before = left[: edit.offset] + edit.removed + left[edit.offset + edit.inserted :]
    if left != content:
        before = line_ends.like(before, content)
    return change(edit.path, content, before)


def _edit(item: Change) -> Edit:
    before, after = item.before or b"", item.after or b""
    start = common_length(before, after)
    end = common_length(before[start:][::-1], after[start:][::-1])
    return Edit(
        path=item.path,
        digest=digest(item.after),
        offset=start,
        inserted=len(after) - start - end,
        removed=None if item.before is None else before[start : len(before) - end],
    )
