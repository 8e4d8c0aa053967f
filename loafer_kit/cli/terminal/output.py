"""Everything that the command line prints and asks, escaped: text, JSON, progress, questions.

Names, contents and messages may come from anybody's template, lock, document or code.
"""

import itertools
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

import typer

from loafer_kit.scaffold.escaping import escape, escape_line

T = TypeVar("T")

#: Seconds before the first picture of progress, and between two pictures.
_AFTER, _EVERY = 1.0, 0.1
_PICTURES = "|/-\\"
_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


def say(text: object, *, err: bool = False, colour: str | None = None) -> None:
    """Print a text for a person, on stdout or on stderr; in a colour if that is a terminal."""
    shown = escape(str(text))
    if colour is not None and takes_colour(sys.stderr if err else sys.stdout):
        shown = typer.style(shown, fg=colour)
    typer.echo(shown, err=err)


def takes_colour(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that shows colours, and the user wants them."""
    is_terminal = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return is_terminal and not os.environ.get("NO_COLOR")


def print_exactly(content: str | bytes) -> None:
    """Print content that the caller has escaped where it goes to a terminal."""
    typer.echo(content, nl=False)


def say_json(values: Any, *, indent: int | None = 2) -> None:
    """Print values for a machine. JSON has its own escapes and takes no others."""
    typer.echo(json.dumps(values, indent=indent))


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show what is being waited for if the block takes more than a second; clear it at the end.

    It is one line on stderr, shown on a terminal only; the block must not print anything. The
    cursor stays visible: the terminal is in order however the process ends.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield
        return
    over = threading.Event()
    arguments = (f"{escape_line(what)} …", sys.stderr, over)
    thread = threading.Thread(target=_show, args=arguments, name="loafer-kit-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def waiting_for_each(what: str, items: Iterator[T]) -> Iterator[T]:
    """Yield the items; show what is being waited for while one takes its time."""
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


def is_interactive() -> bool:
    """Return whether there is a person to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class Terminal:
    """Asks on the terminal. Ctrl-C and Ctrl-D end the command, whatever code asked."""

    def ask(self, question: str, default: str | None) -> str:
        """Return the answer; an empty answer stands for the default, if there is one."""
        shown = escape_line(question)
        if default is not None:
            shown += f" [{escape_line(default)}]"
        return _typed(shown, default)

    def confirm(self, question: str, *, default: bool = False) -> bool:
        """Return whether the answer is yes; an empty answer stands for the default."""
        choices = "[Y/n]" if default else "[y/N]"
        while True:
            answer = _typed(f"{escape_line(question)} {choices}", "").strip().lower()
            if not answer:
                return default
            if answer in _ANSWERS:
                return _ANSWERS[answer]
            self.tell("answer y or n")

    def tell(self, text: str) -> None:
        """Say what is wrong with an answer."""
        say(f"  {text}", err=True)


def _typed(question: str, default: str | None) -> str:
    try:
        return str(typer.prompt(question, default=default, show_default=False))
    except typer.Abort:
        say("\nAborted!", err=True)
        # `typer.Abort` is an Exception, which code in between may catch.
        raise KeyboardInterrupt from None
