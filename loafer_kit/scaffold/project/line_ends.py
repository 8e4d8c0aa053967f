"""How the lines of a file end, and whether a byte order mark begins it: no part of what it says."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import overload

_BOM = b"\xef\xbb\xbf"
_CRLF = b"\r\n"


def lines(text: bytes) -> list[bytes]:
    """The lines of a text, each with its end."""
    found = text.split(b"\n")
    return [line + b"\n" for line in found[:-1]] + [line for line in found[-1:] if line]


def plain(text: bytes) -> bytes:
    """A text as a template renders it: its lines end with LF, and no byte order mark begins it."""
    return text.removeprefix(_BOM).replace(_CRLF, b"\n")


def prevailing(text: bytes) -> bytes:
    """The end that most lines of a text have."""
    return _CRLF if 2 * text.count(_CRLF) > text.count(b"\n") else b"\n"


@overload
def like(content: bytes, file: bytes | None) -> bytes: ...
@overload
def like(content: bytes | None, file: bytes | None) -> bytes | None: ...
def like(content: bytes | None, file: bytes | None) -> bytes | None:
    """What is to take a file's place, with that file's line ends and byte order mark.

    Lines that the two have in common end as they do in the file, all others as most of its lines
    do. What is no text, and what takes no file's place, stays as it is.
    """
    if content is None or file is None or b"\0" in content + file:
        return content
    mark = _BOM if file.startswith(_BOM) else b""
    end = prevailing(file)
    if file.count(_CRLF) in (0, file.count(b"\n")):
        return mark + plain(content).replace(b"\n", end)
    ours, theirs = lines(file.removeprefix(_BOM)), lines(plain(content))
    matcher = SequenceMatcher(None, lines(plain(file)), theirs, autojunk=False)
    ended = [line.replace(b"\n", end) for line in theirs]
    for start, at, size in matcher.get_matching_blocks():
        ended[at : at + size] = ours[start : start + size]
    return mark + b"".join(ended)


def forms(content: bytes) -> Iterator[bytes]:
    """A content as it is, and with each line end and with and without a byte order mark."""
    yield content
    if b"\0" not in content:
        for mark in (b"", _BOM):
            for end in (b"\n", _CRLF):
                yield mark + plain(content).replace(b"\n", end)
