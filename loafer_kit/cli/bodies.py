"""Where the bodies of messages to be sent come from."""

import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from loafer_kit.exceptions import LoaferKitError


def read_bodies(body: str | None, file: Path | None, *, lines: bool) -> Iterable[str]:
    """Return the bodies to send; with `lines` they are read as they are needed.

    `body` "-" is standard input. A text that is read loses the line break at its end.
    """
    if (body is None) == (file is None):
        raise typer.BadParameter("Give either a BODY (- for standard input) or --file PATH")
    if body is not None and body != "-":
        refuse_bytes(body)
        return _without_blanks(body.splitlines()) if lines else [_not_empty(body)]
    return _read_lines(file) if lines else [_not_empty(_read(file))]


def _not_empty(text: str) -> str:
    if not text:
        raise LoaferKitError("The body is empty: SQS takes no message without one")
    return text


def refuse_bytes(text: str) -> None:
    """Make sure that an argument was text, and not bytes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise LoaferKitError("The body is not UTF-8; --file reads it from a file") from error


def _read(file: Path | None) -> str:
    return "".join(_raw_lines(file)).removesuffix("\n").removesuffix("\r")


def _read_lines(file: Path | None) -> Iterator[str]:
    return _without_blanks(line.rstrip("\r\n") for line in _raw_lines(file))


def _without_blanks(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if line.strip())


def _raw_lines(file: Path | None) -> Iterator[str]:
    name = "standard input" if file is None else str(file)
    try:
        if file is None:  # in UTF-8, as files are, whatever the locale
            yield from io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
        else:
            with file.open(encoding="utf-8", newline="\n") as opened:
                yield from opened
    except OSError as error:
        raise LoaferKitError(f"{name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LoaferKitError(f"{name}: not UTF-8 (byte {error.start})") from error
