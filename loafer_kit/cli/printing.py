"""What the command line prints: here alone, so that nothing is printed raw.

Names, contents and messages may come from anybody's template, lock, document or code.
"""

from typing import Any

import typer

from loafer_kit.scaffold.escaping import harmless


def say(text: object, *, err: bool = False) -> None:
    """Print a text for a person, on stdout or on stderr."""
    typer.echo(harmless(str(text)), err=err)


def print_exactly(content: str | bytes) -> None:
    """Print what was made fit for where it goes."""
    typer.echo(content, nl=False)


def say_json(values: Any, *, indent: int | None = 2) -> None:
    """Print values for a machine. JSON has its own escapes, and no others may come into it."""
    import json

    typer.echo(json.dumps(values, indent=indent))
