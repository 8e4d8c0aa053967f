"""The person at the terminal."""

import sys

import typer

from loafer_kit.cli.printing import say
from loafer_kit.scaffold.display import in_one_line


def is_interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class Terminal:
    """Asks on the terminal; Ctrl-C and Ctrl-D end the command."""

    def ask(self, question: str, default: str | None) -> str:
        """Return the answer; the default, when there is one and the answer is empty."""
        shown = in_one_line(question)
        if default is not None:
            shown += f" [{in_one_line(default)}]"
        return str(typer.prompt(shown, default=default, show_default=False))

    def confirm(self, question: str) -> bool:
        """Return whether the answer is yes; no is the default."""
        return typer.confirm(in_one_line(question), default=False)

    def tell(self, text: str) -> None:
        """Say what is wrong with an answer."""
        say(f"  {text}", err=True)
