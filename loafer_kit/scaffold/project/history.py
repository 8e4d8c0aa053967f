"""What a command wrote into a project: enough to take it back, and to see that nothing came after."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loafer_kit.scaffold.project import line_ends
from loafer_kit.scaffold.project.plans import Change, change


@dataclass(frozen=True, slots=True)
class Edit:
    """One file that a command changed: where, what it put there, and what had stood there.

    `offset` and `inserted` count bytes. A file that the command made has no `removed`; `digest`
    is that of the whole file as the command left it, None when it removed the file.
    """

    path: str
    digest: str | None
    offset: int
    inserted: int
    removed: bytes | None


@dataclass(frozen=True, slots=True)
class Record:
    """One `new` or `add`: what it changed, and the spec that the lock held before, if there was one."""

    command: str
    edits: tuple[Edit, ...]
    before: Mapping[str, Any] | None


def digest(content: bytes | None) -> str | None:
    """The SHA-256 of a file's content; None for no file."""
    return None if content is None else hashlib.sha256(content).hexdigest()


def record(command: str, changes: Iterable[Change], before: Mapping[str, Any] | None) -> Record:
    """The record of a command that makes these changes; the lock's own is not among them."""
    return Record(command, tuple(_edit(item) for item in changes if item.writes), before)


def as_left(edit: Edit, content: bytes) -> bytes | None:
    """A file as the edit left it, byte by byte, however its lines end now; None where it was edited."""
    return next((form for form in line_ends.forms(content) if digest(form) == edit.digest), None)


def undone(edit: Edit, content: bytes | None) -> Change:
    """Take an edit back in a file that is as the edit left it, but for the ends of its lines."""
    if edit.removed is None:
        return Change(edit.path, "remove", content, None)
    left = as_left(edit, content or b"") or b""
    before = left[: edit.offset] + edit.removed + left[edit.offset + edit.inserted :]
    if left != content:
        before = line_ends.like(before, content)
    return change(edit.path, content, before)


def _edit(item: Change) -> Edit:
    before, after = item.before or b"", item.after or b""
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    return Edit(
        path=item.path,
        digest=digest(item.after),
        offset=start,
        inserted=len(after) - start - end,
        removed=None if item.before is None else before[start : len(before) - end],
    )


def _common(first: bytes, second: bytes) -> int:
    """How many bytes two contents begin with together."""
    shorter = min(len(first), len(second))
    return next((i for i in range(shorter) if first[i] != second[i]), shorter)
