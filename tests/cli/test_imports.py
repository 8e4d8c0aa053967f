"""What a command imports: a person waits for it. `test_completions.py` has the same for TAB."""

import subprocess
import sys

import pytest
from kept_projects import loafer_kit

pytestmark = pytest.mark.slow

# What takes long to import, and what only a running or a rendered service has use for.
SLOW = {
    "aiobotocore",
    "aiohttp",
    "asyncio",
    "black",
    "botocore",
    "cookiecutter",
    "jinja2",
    "loafer_kit.applications",
    "loafer_kit.ext.aws",
    "loafer_kit.local",
    "loafer_kit.managers",
    "moto",
    "pathspec",
    "rich",
    "yaml",
}
RENDERING = {
    "loafer_kit.scaffold.spec.extensions",
    "loafer_kit.scaffold.rendering.builtin",
    "loafer_kit.scaffold.rendering.custom_templates",
    "loafer_kit.scaffold.rendering.fetching",
    "loafer_kit.scaffold.shipping",
}
WRITING = {
    "loafer_kit.cli.writing",
    "loafer_kit.scaffold.project.updates",
    "loafer_kit.scaffold.project.writing",
}
SPECS = {
    "loafer_kit.scaffold.rendering.contexts",
    "loafer_kit.scaffold.spec.payloads",
    "loafer_kit.scaffold.sources.documents",
    "loafer_kit.scaffold.spec.validation",
}
# The settings of an extension, and what is installed beside us: both are light.
SETTINGS = {"loafer_kit.scaffold.spec.extensions"}
SOURCES = {"loafer_kit.scaffold.sources"}
SCAFFOLD = RENDERING | WRITING | SPECS
LIST = SLOW | {"importlib.metadata", "pydantic"} | SCAFFOLD
# What a command may do without.
COMMANDS = {
    "--help": LIST | {"loafer_kit.cli.check", "loafer_kit.cli.terminal.completions"},
    "--version": LIST | {"loafer_kit.cli.check", "loafer_kit.cli.terminal.completions"},
    "dlq --help": (SLOW | {"pydantic"} | RENDERING | WRITING) - {"loafer_kit.ext.aws"},
    "health --live": LIST,
    "new service --help": SLOW | {"pydantic"} | RENDERING - SETTINGS,
    "check --help": SLOW | {"pydantic"} | RENDERING | WRITING,
    "templates": SLOW | {"pydantic"} | RENDERING | WRITING | SPECS - SOURCES,
    "check": SLOW | {"pydantic"} | RENDERING | WRITING,
    "schema": SLOW | {"pydantic"} | RENDERING | WRITING,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_only_what_a_command_needs_is_imported(tmp_path, command):
    """In a project of its own, where it does all that it is for."""
    project = tmp_path / "foobar"
    if command == "check":
        loafer_kit("new", "service", "foobar", "--queue", "a", "--output-dir", tmp_path)
    else:
        project.mkdir()

    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "loafer_kit", *command.split()],
        capture_output=True,
        text=True,
        check=command != "health --live",  # no service runs here
        cwd=project,
        stdin=subprocess.DEVNULL,
    )

    assert done.stdout or done.returncode
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert ("typer" in imported) == (command != "health --live")
    assert _and_their_packages(imported) & COMMANDS[command] == set()


def _and_their_packages(modules):
    """`a.b.c` is of `a.b`, and of `a`."""
    parts = (module.split(".") for module in modules)
    return {".".join(names[:n]) for names in parts for n in range(1, len(names) + 1)}
