"""The person at the terminal."""

import sys

import typer


def is_interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class Terminal:
    """Asks on the terminal; Ctrl-C and Ctrl-D end the command."""

    def ask(self, question: str, default: str | None) -> str:
        """Return the answer; the default, when there is one and the answer is empty."""
        return str(typer.prompt(question, default=default))

    def confirm(self, question: str) -> bool:
        """Return whether the answer is yes; no is the default."""
        return typer.confirm(question, default=False)

    def tell(self, text: str) -> None:
        """Say what is wrong with an answer."""
        typer.echo(f"  {text}", err=True)
