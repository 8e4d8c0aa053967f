"""The command line: one module per command, listed here.

Command modules hold signatures and import what they call inside the function: `--help` stays fast.
"""

import sys
from typing import Annotated

import typer

from loafer_kit import __version__
from loafer_kit.exceptions import LoaferKitError

app = typer.Typer(
    name="loafer-kit",
    help="Write, run and operate services that live on queues.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich triples the time that `--help` takes
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"loafer-kit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Write, run and operate services that live on queues."""


def main() -> None:
    """Run the command line; an expected error is one line on stderr and exit code 1."""
    try:
        app()
    except LoaferKitError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
