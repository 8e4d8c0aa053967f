"""Line ends and byte order marks, which are not part of a file's meaning."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import overload

from loafer_kit.scaffold.project.plans import digest

_BOM = b"\xef\xbb\xbf"
_CRLF = b"\r\n"


def lines(text: bytes) -> list[bytes]:
    """The lines of a text, each with its line end."""
    found = text.split(b"\n")
    return [line + b"\n" for line in found[:-1]] + [line for line in found[-1:] if line]


def plain(text: bytes) -> bytes:
    """A text as a template renders it: lines end with LF, without a byte order mark."""
    return text.removeprefix(_BOM).replace(_CRLF, b"\n")


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
    ours, theirs = lines(file.removeprefix(_BOM)), lines(plain(content))
    matcher = SequenceMatcher(None, lines(plain(file)), theirs, autojunk=False)
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


def has_digest(content: bytes, digest_: str) -> bool:
    """Whether a content has a digest in one of its forms."""
    return any(digest(form) == digest_ for form in forms(content))


def is_binary(content: bytes) -> bool:
    """Whether a content is not text: it holds a NUL, as git decides."""
    return b"\0" in content
