"""The texts of files: their line ends, and the three-way merge of edits and the template's changes.

Line ends and byte order marks are not part of a text's meaning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, overload

from loafer_kit.scaffold.project.plans import digest

_BOM = b"\xef\xbb\xbf"
_CRLF = b"\r\n"

_YOURS = b"<<<<<<< yours\n"
_BETWEEN = b"=======\n"
_TEMPLATES = b">>>>>>> template\n"

Lines = list[bytes]


def lines(text: bytes) -> Lines:
    """The lines of a text, each with its line end."""
    found = text.split(b"\n")
    return [line + b"\n" for line in found[:-1]] + [line for line in found[-1:] if line]


def plain(text: bytes) -> bytes:
    """A text as a template renders it: lines end with LF, without a byte order mark."""
    return text.removeprefix(_BOM).replace(_CRLF, b"\n")


def plain_lines(text: bytes) -> Lines:
    """The lines of a text as a template renders it."""
    return lines(plain(text))


def prevailing(text: bytes) -> bytes:
    """The line end that most lines of a text have."""
    return _CRLF if 2 * text.count(_CRLF) > text.count(b"\n") else b"\n"


@overload
def like(content: bytes, file: bytes | None) -> bytes: ...
@overload
def like(content: bytes | None, file: bytes | None) -> bytes | None: ...
def like(content: bytes | None, file: bytes | None) -> bytes | None:
    """A file's new content, with the line ends and the byte order mark of the file.

    Lines that both contain keep the file's line end; the others get its prevailing one. Binary
    content, and the content of a new file, stays as it is.
    """
    if content is None or file is None or is_binary(content) or is_binary(file):
        return content
    mark = _BOM if file.startswith(_BOM) else b""
    end = prevailing(file)
    if file.count(_CRLF) in (0, file.count(b"\n")):
        return mark + plain(content).replace(b"\n", end)
    ours, theirs = lines(file.removeprefix(_BOM)), plain_lines(content)
    matcher = SequenceMatcher(None, plain_lines(file), theirs, autojunk=False)
    ended = [line.replace(b"\n", end) for line in theirs]
    for start, at, size in matcher.get_matching_blocks():
        ended[at : at + size] = ours[start : start + size]
    return mark + b"".join(ended)


def forms(content: bytes) -> Iterator[bytes]:
    """A content as it is, then with each line end, with and without a byte order mark."""
    yield content
    if not is_binary(content):
        for mark in (b"", _BOM):
            for end in (b"\n", _CRLF):
                yield mark + plain(content).replace(b"\n", end)


def form_with(digest_: str | None, content: bytes) -> bytes | None:
    """The form of a content that has a digest; None if no form has it."""
    return next((form for form in forms(content) if digest(form) == digest_), None)


def is_binary(content: bytes) -> bool:
    """Whether a content is not text: it holds a NUL, as git decides."""
    return b"\0" in content


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
    if any(map(is_binary, (base, ours, theirs))):
        return Merge(ours, 1)
    versions = [plain_lines(content) for content in (base, ours, theirs)]
    merged, conflicts = _merged(*map(_ended, versions))
    content = b"".join(merged)
    if merged and not _ends_last_line(merged[-1], *versions):
        content = content.removesuffix(b"\n")
    return Merge(like(content, ours), conflicts)


def conflict_line(content: bytes) -> int | None:
    """The line number of the first mark that begins a conflict."""
    found = plain_lines(content)
    return found.index(_YOURS) + 1 if _YOURS in found else None


def common_length(first: Sequence[object], second: Sequence[object]) -> int:
    """The length of the common prefix of two sequences."""
    shorter = min(len(first), len(second))
    return next((i for i in range(shorter) if first[i] != second[i]), shorter)


def _ended(lines: Lines) -> Lines:
    """The lines, with a line end after the last one: another line may follow it."""
    return [line if line.endswith(b"\n") else line + b"\n" for line in lines]


def _ends_last_line(last: bytes, base: Lines, ours: Lines, theirs: Lines) -> bool:
    """Whether the last merged line gets a line end: as on the side that it comes from."""
    ends = [not lines or lines[-1].endswith(b"\n") for lines in (base, ours, theirs)]
    from_ours, from_theirs = (last in _ended(lines[-1:]) for lines in (ours, theirs))
    if from_ours and from_theirs:
        return ends[1] if ends[0] == ends[2] else ends[2]
    if from_ours or from_theirs:
        return ends[1] if from_ours else ends[2]
    return True


def _merged(base: Lines, ours: Lines, theirs: Lines) -> tuple[Lines, int]:
    """The merged lines, and the number of conflicts."""
    hunks = sorted(
        [*_hunks("ours", base, ours), *_hunks("theirs", base, theirs)],
        key=lambda hunk: (hunk.start, hunk.end, hunk.side),
    )
    merged: Lines = []
    conflicts = at = 0
    for group in _groups(hunks):
        start, end = group[0].start, max(hunk.end for hunk in group)
        before, yours, templates = (
            _applied(group, side, base, start, end) for side in ("base", "ours", "theirs")
        )
        merged += base[at:start]
        if yours in (templates, before):
            merged += templates
        elif templates == before:
            merged += yours
        else:
            merged += _marked(yours, templates)
            conflicts += 1
        at = end
    return merged + base[at:], conflicts


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


def _applied(group: Sequence[_Hunk], side: str, base: Lines, start: int, end: int) -> Lines:
    """The lines of the base from `start` to `end` with the hunks of a side; "base" has none."""
    applied: Lines = []
    for hunk in group:
        if hunk.side == side:
            applied += [*base[start : hunk.start], *hunk.lines]
            start = hunk.end
    return applied + base[start:end]


def _marked(ours: Lines, theirs: Lines) -> Iterator[bytes]:
    """Both sides between conflict marks, without their common first and last lines."""
    first = common_length(ours, theirs)
    last = common_length(ours[first:][::-1], theirs[first:][::-1])
    yield from ours[:first]
    yield _YOURS
    yield from ours[first : len(ours) - last]
    yield _BETWEEN
    yield from theirs[first : len(theirs) - last]
    yield _TEMPLATES
    yield from ours[len(ours) - last :]
