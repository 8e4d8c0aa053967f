"""Questions to a person at the terminal."""

import sys

import typer

from loafer_kit.cli.terminal.output import say
from loafer_kit.scaffold.escaping import escape_line

_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


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
