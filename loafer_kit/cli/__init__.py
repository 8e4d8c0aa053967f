"""The command line: one module per command, listed here.

Command modules hold signatures and import what they call inside the function: `--help` stays fast.
"""

import functools
import os
import sys
import traceback
from contextlib import nullcontext
from typing import Annotated, cast

import typer
from typer.core import TyperGroup

from loafer_kit import __version__
from loafer_kit.cli import (
    add,
    check,
    completions,
    destroy,
    dev,
    doctor,
    new,
    run,
    schema,
    send,
    templates,
    update,
)
from loafer_kit.cli.printing import say
from loafer_kit.commands import register_commands
from loafer_kit.exceptions import LoaferKitError

__all__ = ["app", "main", "register_commands"]

app = typer.Typer(
    name="loafer-kit",
    help="Write, run and operate services that live on queues.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich triples the time that `--help` takes
)


def _print_version(context: typer.Context, value: bool) -> None:
    if value and not context.resilient_parsing:
        say(f"loafer-kit {__version__}")
        raise typer.Exit


def _load_app(context: typer.Context, path: str | None) -> None:
    if path is not None:
        from loafer_kit.cli.namespaces import add_registered_commands
        from loafer_kit.cli.service_path import load_service
        from loafer_kit.commands import registrations

        with completions.no_output() if context.resilient_parsing else nullcontext():
            context.obj = load_service(path)
        add_registered_commands(cast(TyperGroup, context.command), registrations())


@app.callback()
def _options(
    app_path: Annotated[
        str | None,
        typer.Option(
            "-a",
            "--app",
            metavar="PATH[:APP]",
            callback=_load_app,
            is_eager=True,
            help="Import this service, whose extensions' commands are then commands here.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Write, run and operate services that live on queues."""


app.add_typer(add.app, name="add")
app.command()(check.check)
app.command()(destroy.destroy)
app.command()(dev.dev)
app.command()(doctor.doctor)
app.add_typer(new.app, name="new")
app.command()(run.run)
app.command()(schema.schema)
app.command()(send.send)
app.command()(templates.templates)
app.command()(update.update)


def main() -> None:
    """Run the command line; an expected error is one line on stderr and exit code 1."""
    command_line = functools.partial(app, prog_name=app.info.name)
    try:
        if completions.is_asked():
            completions.answer(command_line)
        else:
            command_line()
    except LoaferKitError as error:
        say(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if "--install-completion" in sys.argv:
            say(f"error: {error}; --show-completion prints the script instead", err=True)
            sys.exit(1)
        if traceback.extract_tb(error.__traceback__)[-1].name != "echo":
            raise  # it is the service's own, or a bug
        say(f"error: standard output: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # exit flushes it once more
        sys.exit(1)
