"""The command line: signatures and output; the logic of a project or a queue lives elsewhere.

A command is imported when it is called: `--help` and the other commands do without its module.
"""

import errno
import io
import os
import sys
from contextlib import nullcontext, redirect_stdout
from functools import partial
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from loafer_kit import __version__
from loafer_kit.cli.terminal.options import Command, Group
from loafer_kit.cli.terminal.output import say
from loafer_kit.commands import register_commands
from loafer_kit.exceptions import LoaferKitError

__all__ = ["app", "main", "register_commands"]

#: Each command's module, and its line in `--help`: the first sentence of its own help. The command is
#: the function or the group of its name there, else the group `app`.
COMMANDS = {
    "add": ("changes", "Extend an existing service."),
    "check": ("check", "Report where spec, code and lock disagree."),
    "console": ("console", "Watch and steer services in a browser."),
    "ctl": ("ctl", "Look into a running service, and steer it."),
    "destroy": ("changes", "Undo the last `new`, `add` or `remove` in a project."),
    "dev": ("dev", "Run a service against a local SQS server."),
    "dlq": ("dlq", "Look into dead-letter queues and send letters back."),
    "doctor": ("doctor", "Report what keeps a service from running, and how to fix it."),
    "health": ("ctl", "Tell whether the service in this container is well."),
    "new": ("new", "Create a project."),
    "remove": ("changes", "Take out what `add` or `new` wrote."),
    "run": ("run", "Run an Application or a LoaferManager."),
    "schema": ("check", "Print the JSON Schema of a service's spec."),
    "send": ("send", "Send messages to a local server or to AWS."),
    "templates": ("templates", "List the installed templates and spec sources."),
    "top": ("top", "Watch a running service, and steer it by keys."),
    "update": ("changes", "Bring a project up to date with its template and spec."),
}


class LazyCommand(TyperCommand):
    """Stands for a command that is imported when it is called; a list shows its help line only."""

    def load(self) -> TyperCommand | TyperGroup:
        """Import the command."""
        name = str(self.name)
        module = import_module(f"loafer_kit.cli.{COMMANDS[name][0]}")
        found = getattr(module, name, None) or module.app
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False, rich_markup_mode=None)
            found.command(name, cls=Command)(function)
        return cast(TyperCommand | TyperGroup, get_command(found))

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        return self.load().make_context(info_name, args, parent, **extra)


app = typer.Typer(
    name="loafer-kit",
    cls=Group,
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
    if path is None:
        return
    from loafer_kit.cli import extension_commands  # imports what runs services

    # What a service prints when it is imported is not an answer to a shell that completes.
    with redirect_stdout(io.StringIO()) if context.resilient_parsing else nullcontext():
        context.obj = extension_commands.load(path, cast(Group, context.command))


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    app_path: Annotated[  # noqa: ARG001 - read by its callback
        str | None,
        typer.Option(
            "-a",
            "--app",
            metavar="PATH[:APP]",
            callback=_load_app,
            is_eager=True,
            help="Import this service and add its extensions' commands.",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 - read by its callback
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Write, run and operate services that live on queues."""
    if context.invoked_subcommand is None:  # `--app` alone
        say(context.get_help())


def _imported_when_called() -> None: ...


for _name, (_, _help) in COMMANDS.items():
    app.command(_name, cls=LazyCommand, help=_help)(_imported_when_called)


def main() -> None:
    """Run the command line; an expected error is one line on stderr and exit code 1."""
    command_line = partial(app, prog_name=app.info.name)
    try:
        if os.environ.get("_LOAFER_KIT_COMPLETE", "").startswith("complete_"):
            from loafer_kit.cli.terminal import completions  # a shell asks, not a person

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
        if error.errno == errno.ENAMETOOLONG:  # wherever a path was asked for first
            say(f"error: {error.filename}: {error.strerror}", err=True)
            sys.exit(1)
        if not _is_of_standard_output(error):
            raise  # an error of the service, or a bug
        say(f"error: standard output: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # exit flushes it once more
        sys.exit(1)


def _is_of_standard_output(error: OSError) -> bool:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_code.co_name == "echo"
