"""The three-way merge of a file: the project's changes and the template's, from one base."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from loafer_kit.scaffold.project import line_ends

_YOURS = b"<<<<<<< yours\n"
_BETWEEN = b"=======\n"
_TEMPLATES = b">>>>>>> template\n"

Lines = list[bytes]


@dataclass(frozen=True, slots=True)
class Merge:
    """A merged content, and the number of conflicts that it marks."""

    content: bytes
    conflicts: int


@dataclass(frozen=True, slots=True)
class _Hunk:
    """One side's replacement of the lines from `start` to `end` of the base."""

    side: Literal["ours", "theirs"]
    start: int
    end: int
    lines: Lines


def merge(base: bytes, ours: bytes, theirs: bytes) -> Merge:
    """Apply the changes from `base` to `theirs` to `ours`.

    Where both sides changed the same lines, the result contains both, marked as git marks a
    conflict. Line ends are not compared: the result has those of `ours`. Binary content is not
    merged: `ours` stays, and counts as one conflict.
    """
    if any(map(line_ends.is_binary, (base, ours, theirs))):
        return Merge(ours, 1)
    lines = [_lines(content) for content in (base, ours, theirs)]
    merged, conflicts = _merged(*map(_ended, lines))
    content = b"".join(merged)
    if merged and not _ends_last_line(merged[-1], *lines):
        content = content.removesuffix(b"\n")
    return Merge(line_ends.like(content, ours), conflicts)


def _ends_last_line(last: bytes, base: Lines, ours: Lines, theirs: Lines) -> bool:
    """Whether the last merged line gets a line end: as on the side that it comes from."""
    ends = [not lines or lines[-1].endswith(b"\n") for lines in (base, ours, theirs)]
    from_ours, from_theirs = (last in _ended(lines[-1:]) for lines in (ours, theirs))
    if from_ours and from_theirs:
        return ends[1] if ends[0] == ends[2] else ends[2]
    if from_ours or from_theirs:
        return ends[1] if from_ours else ends[2]
    return True


def conflict_line(content: bytes) -> int | None:
    """The line number of the first mark that begins a conflict."""
    lines = _lines(content)
    return lines.index(_YOURS) + 1 if _YOURS in lines else None


def common_length(first: Sequence[object], second: Sequence[object]) -> int:
    """The length of the common prefix of two sequences."""
    shorter = min(len(first), len(second))
    return next((i for i in range(shorter) if first[i] != second[i]), shorter)


def _lines(content: bytes) -> Lines:
    return line_ends.lines(line_ends.plain(content))


def _merged(lines: Lines, ours: Lines, theirs: Lines) -> tuple[Lines, int]:
    """The merged lines, and the number of conflicts."""
    hunks = sorted(
        [*_hunks("ours", lines, ours), *_hunks("theirs", lines, theirs)],
        key=lambda hunk: (hunk.start, hunk.end, hunk.side),
    )
    merged: Lines = []
    conflicts = at = 0
    for group in _groups(hunks):
        start, end = group[0].start, max(hunk.end for hunk in group)
        merged += lines[at:start]
        resolved = _resolved(group, lines, start, end)
        if resolved is None:
            merged += _marked(group, lines, start, end)
            conflicts += 1
        else:
            merged += resolved
        at = end
    return merged + lines[at:], conflicts


def _hunks(side: Literal["ours", "theirs"], base: Lines, lines: Lines) -> Iterator[_Hunk]:
    matcher = SequenceMatcher(None, base, lines, autojunk=False)
    for tag, start, end, first, last in matcher.get_opcodes():
        if tag != "equal":
            yield _Hunk(side, start, end, lines[first:last])


def _groups(hunks: Sequence[_Hunk]) -> Iterator[list[_Hunk]]:
    """The hunks in order, grouped where they touch."""
    group: list[_Hunk] = []
    for hunk in hunks:
        if group and not _meet(group, hunk):
            yield group
            group = []
        group.append(hunk)
    if group:
        yield group


def _meet(group: Sequence[_Hunk], hunk: _Hunk) -> bool:
    """Whether a hunk overlaps the group before it, or touches it ambiguously.

    A hunk that only inserts lines next to lines that the other side changed is unambiguous: git
    reports a conflict there, but a template often brings a handler after an edited one, or a row
    after an edited row. It is ambiguous if both sides have a line that would then occur twice.
    """
    end = max(other.end for other in group)
    if hunk.start != end:
        return hunk.start < end
    last = group[-1]
    inserts = [item.start == item.end for item in (last, hunk)]
    if len(group) > 1 or all(inserts) or not any(inserts):
        return True
    return bool(
        {line.strip() for line in last.lines} & {line.strip() for line in hunk.lines} - {b""}
    )


def _resolved(group: Sequence[_Hunk], base: Lines, start: int, end: int) -> Lines | None:
    """The lines that replace a group, None if the two sides conflict."""
    ours, theirs = (_applied(group, side, base, start, end) for side in ("ours", "theirs"))
    original = base[start:end]
    if ours in (theirs, original):
        return theirs
    return ours if theirs == original else None


def _applied(group: Sequence[_Hunk], side: str, base: Lines, start: int, end: int) -> Lines:
    lines: Lines = []
    for hunk in group:
        if hunk.side == side:
            lines += [*base[start : hunk.start], *hunk.lines]
            start = hunk.end
    return lines + base[start:end]


def _marked(group: Sequence[_Hunk], base: Lines, start: int, end: int) -> Iterator[bytes]:
    """Both sides between conflict marks, without their common first and last lines."""
    ours, theirs = (_applied(group, side, base, start, end) for side in ("ours", "theirs"))
    first = common_length(ours, theirs)
    last = common_length(ours[first:][::-1], theirs[first:][::-1])
    yield from ours[:first]
    yield _YOURS
    yield from ours[first : len(ours) - last]
    yield _BETWEEN
    yield from theirs[first : len(theirs) - last]
    yield _TEMPLATES
    yield from ours[len(ours) - last :]


def _ended(lines: Lines) -> Lines:
    """The lines, with a line end after the last one: another line may follow it."""
    return [line if line.endswith(b"\n") else line + b"\n" for line in lines]
