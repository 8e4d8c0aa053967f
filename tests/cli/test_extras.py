"""The command line where only the base install is there, as in a deployed service."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kept_projects import content, loafer_kit

from loafer_kit.cli import app

pytestmark = pytest.mark.slow

HIDDEN = ("black", "cookiecutter", "jinja2", "moto", "watchfiles", "yaml")
MAIN = f"""
import sys
sys.modules.update(dict.fromkeys({HIDDEN!r}))  # what `import` then says is: no such module
from loafer_kit.cli import main
main()
"""


def base(*arguments):
    """Run the command line without what the extras bring."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A service, in the current folder."""
    assert (
        loafer_kit("new", "service", "foobar", "--queue", "a", "--output-dir", tmp_path).code == 0
    )
    monkeypatch.chdir(tmp_path / "foobar")
    return tmp_path / "foobar"


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("new service x --queue a", "scaffold"),
        ("new service x --queue a --template gh:someone/something", "scaffold"),
        ("new service --asyncapi spec.yaml", "scaffold"),
        ("new extension x", "scaffold"),
        ("update", "scaffold"),
        ("update --check", "scaffold"),
        ("add queue b", "scaffold"),
        ("add route a", "scaffold"),
        ("add handler on_b", "scaffold"),
        ("dev", "local"),
    ],
)
def test_a_command_that_needs_an_extra_names_it(project, command, extra):
    """In one line; and nothing is written."""
    (project / "spec.yaml").write_text("asyncapi: 3.0.0")
    before = content(project)

    done = base(*command.split())

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        f"needs more than the base install: pip install 'loafer-kit[{extra}]'\n"
    )
    assert done.stderr.count("\n") == 1
    assert content(project) == before


@pytest.mark.parametrize(
    "command",
    ["--help", "new service --help", "check", "schema", "templates", "add extension redis:Redis"],
)
def test_other_commands_need_none(project, command):
    """A project can be looked at everywhere."""
    done = base(*command.split())

    assert (done.returncode, done.stderr) == (0, "")


def test_help_is_shown_on_any_terminal(tmp_path):
    """One that has no dots in one character, say."""
    names = [command.name for command in app.registered_commands]
    groups = [["new", "service"], ["new", "extension"], ["add", "queue"], ["add", "route"]]
    for command in [*groups, *([name] for name in names if name)]:
        done = subprocess.run(
            [sys.executable, "-m", "loafer_kit", *command, "--help"],
            capture_output=True,
            check=False,
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["schema", "check", "templates"])
def test_an_output_that_takes_nothing_is_one_line(project, command, unbuffered):
    """A full disk, say."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "loafer_kit", command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert (done.returncode, done.stderr) == (
        1,
        "error: standard output: No space left on device\n",
    )


def test_a_home_that_cannot_be_written_to_is_one_line(tmp_path):
    """The script can be had otherwise."""
    done = subprocess.run(
        [sys.executable, "-m", "loafer_kit", "--install-completion", "bash"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HOME": "/proc/nowhere", "SHELL": "/bin/bash"},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith("; --show-completion prints the script instead\n")
