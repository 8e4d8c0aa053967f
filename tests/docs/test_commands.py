"""The page about commands and the table in the README list every command."""

import re
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from loafer_kit.cli import COMMANDS, LazyCommand, app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/commands.md").read_text()
SHARED = {"--dry-run", "--diff", "--json"}


def commands(command=None, *names):
    """Every command that has no subcommands, with its names."""
    command = command or get_command(app)
    command = command.load() if isinstance(command, LazyCommand) else command
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(names, command)]
    return [end for name, child in inner.items() for end in commands(child, *names, name)]


def options(text):
    return set(re.findall(r"(?<=[`; ])--[a-z-]+", text))


@pytest.mark.parametrize(
    ("names", "command"), [pytest.param(*end, id=" ".join(end[0])) for end in commands()]
)
def test_each_command_is_described_with_its_options(names, command):
    """Its section, which it may share, lists its options and no others."""
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
    section = sections.get(" ".join(names)) or sections[names[0]]
    has = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    }

    assert has - {"--help"} - SHARED <= options(section)
    listed = set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE))
    assert listed <= has


@pytest.mark.parametrize("name", [" ".join(names) for names, _ in commands()])
def test_the_readme_lists_each_command(name):
    """Readers look for commands in this table."""
    table = (ROOT / "README.md").read_text().partition("## Commands")[2]

    assert name in [span.removeprefix("loafer-kit ") for span in re.findall("`(.*?)`", table)]


@pytest.mark.parametrize("arguments", [[], ["new"], ["add"]])
def test_no_summary_is_cut_off(arguments):
    """Each command's summary fits on its line."""
    listed = CliRunner().invoke(app, [*arguments, "--help"]).stdout.partition("Commands:")[2]
    assert listed
    assert "..." not in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_first_sentence_of_a_commands_own_help(name):
    """The list of commands is shown without importing them."""
    command = LazyCommand(name).load()

    assert COMMANDS[name][1] == command.help.split("\n\n")[0]
