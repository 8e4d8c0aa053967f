"""Commands convert texts and paths as typer does, without pydantic."""

from pathlib import Path
from typing import Annotated

import pytest
import typer
from kept_projects import run
from typer.core import TyperCommand
from typer.testing import CliRunner

from loafer_kit.cli import COMMANDS, app
from loafer_kit.cli.terminal.options import Command


def parsed(command_class, *arguments):
    """What a command of a class gets, and what it prints."""
    got = []
    made = typer.Typer(add_completion=False, rich_markup_mode=None)

    @made.command(cls=command_class)
    def command(
        name: Annotated[str | None, typer.Argument()] = None,
        path: Annotated[Path, typer.Option("--path")] = Path(),
        *,
        file: Annotated[Path | None, typer.Option("--file")] = None,
        word: Annotated[list[str] | None, typer.Option("--word")] = None,
        place: Annotated[list[Path] | None, typer.Option("--place")] = None,
        count: Annotated[int | None, typer.Option("--count", min=1)] = None,
        loud: Annotated[int, typer.Option("-v", count=True)] = 0,
        flag: Annotated[bool, typer.Option("--flag")] = False,
        either: Annotated[bool | None, typer.Option("--either/--or")] = None,
    ) -> None:
        got.append((name, path, file, word, place, count, loud, flag, either))

    done = CliRunner().invoke(made, arguments)
    return got, done.exit_code, done.output


@pytest.mark.parametrize(
    "line",
    [
        "",
        "name --path a/b --file c --flag",
        "--word a --word b --place c --place d",
        "-vv --count 3 --either",
        "--or",
        "--count 0",
        "--count many",
        "--unknown",
        "one two",
    ],
)
def test_values_are_those_of_typer(line):
    """And so are the errors."""
    assert parsed(Command, *line.split()) == parsed(TyperCommand, *line.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_called(name):
    """The table names a module that has it."""
    done = CliRunner().invoke(app, [name, "--help"])

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: loafer-kit " + name)


@pytest.mark.parametrize("arguments", [(), ("new",), ("add",), ("remove",)])
def test_no_line_of_a_list_of_commands_is_cut(monkeypatch, arguments):
    """On a narrow terminal it is wrapped."""
    monkeypatch.setenv("COLUMNS", "60")

    done = run(*arguments, "--help")

    assert "..." not in done.stdout.replace("[ARGS]...", "")
    assert max(map(len, done.stdout.splitlines())) <= 60
