"""What a person at a terminal sees while something takes its time."""

import itertools
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

from loafer_kit.scaffold.escaping import in_one_line

T = TypeVar("T")

#: Seconds until something is shown at all, and between two pictures of it.
_AFTER, _EVERY = 1.0, 0.1
_PICTURES = "|/-\\"


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say what is being waited for, once the block has taken a second, and take it back at its end.

    It is said on stderr where that is a terminal, in one line; the block must not print anything.
    The cursor stays as it is: whatever ends the process, the terminal is in order.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield
        return
    over = threading.Event()
    arguments = (f"{in_one_line(what)} …", sys.stderr, over)
    thread = threading.Thread(target=_show, args=arguments, name="loafer-kit-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def waiting_for_each(what: str, items: Iterator[T]) -> Iterator[T]:
    """The items, with what is being waited for said whenever one takes its time."""
    while True:
        with waiting(what):
            item = next(items, None)
        if item is None:
            return
        yield item


def _show(text: str, terminal: TextIO, over: threading.Event) -> None:
    if over.wait(_AFTER):
        return
    room = shutil.get_terminal_size().columns - 3
    for picture in itertools.cycle(_PICTURES):
        terminal.write(f"\r{picture} {text[:room]}")
        terminal.flush()
        if over.wait(_EVERY):
            break
    terminal.write("\r\x1b[K")
    terminal.flush()
