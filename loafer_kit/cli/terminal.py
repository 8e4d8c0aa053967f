"""The person at the terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

_ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}


def is_interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class Terminal:
    """Asks on the terminal; Ctrl-C and Ctrl-D end the command, by way of whatever code asked."""

    def ask(self, question: str, default: str | None) -> str:
        """Return the answer; the default, when there is one and the answer is empty."""
        with _interrupts():
            return str(typer.prompt(question, default=default))

    def confirm(self, question: str) -> bool:
        """Return whether the answer is yes; no is the default."""
        while True:
            with _interrupts():
                typed = typer.prompt(f"{question} [y/N]", default="", show_default=False)
            answer = str(typed).strip().lower()
            if answer in _ANSWERS:
                return _ANSWERS[answer]
            self.tell("answer y or n")

    def tell(self, text: str) -> None:
        """Say what is wrong with an answer."""
        typer.echo(f"  {text}", err=True)


@contextmanager
def _interrupts() -> Iterator[None]:
    """Let Ctrl-C be what it is: to code that handles errors, `typer.Abort` is one like others."""
    try:
        yield
    except typer.Abort:
        typer.echo("\nAborted!", err=True)
        raise KeyboardInterrupt from None
