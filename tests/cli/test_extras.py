"""The command line where only the base install is there, as in a deployed service."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kept_projects import content, loafer_kit

from loafer_kit.cli import app

pytestmark = pytest.mark.slow

HIDDEN = ("black", "cookiecutter", "jinja2", "moto", "watchfiles", "yaml")
MAIN = """
import contextlib, io, json, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1])))  # `import` then finds no such module
from loafer_kit.cli import main
ends = []
for command in sys.argv[2:]:
    sys.argv = ["loafer-kit", *command.split()]
    output, error = (
        io.TextIOWrapper(io.BytesIO(), sys.stdout.encoding, sys.stdout.errors, write_through=True)
        for _ in range(2)
    )
    code = 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    texts = (file.buffer.getvalue().decode() for file in (output, error))
    ends.append((command, code, *texts))
json.dump(ends, sys.stdout)
"""


def in_one_process(*commands, without=(), **environment):
    """Run command lines one after the other; return each with its exit code, output and error."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, json.dumps(without), *commands],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    return json.loads(done.stdout)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A service, in the current folder."""
    assert (
        loafer_kit("new", "service", "foobar", "--queue", "a", "--output-dir", tmp_path).code == 0
    )
    monkeypatch.chdir(tmp_path / "foobar")
    return tmp_path / "foobar"


NEEDED = {
    "new service x --queue a": "scaffold",
    "new service x --queue a --template gh:someone/something": "scaffold",
    "new service --asyncapi spec.yaml": "scaffold",
    "new extension x": "scaffold",
    "update": "scaffold",
    "update --check": "scaffold",
    "add queue b": "scaffold",
    "add route a": "scaffold",
    "add handler on_b": "scaffold",
    "dev": "local",
}


def test_a_command_that_needs_an_extra_names_it(project):
    """In one line; and nothing is written."""
    (project / "spec.yaml").write_text("asyncapi: 3.0.0")
    before = content(project)

    for command, code, output, error in in_one_process(*NEEDED, without=HIDDEN):
        assert (code, output) == (1, ""), command
        assert error.endswith(
            f"needs more than the base install: pip install 'loafer-kit[{NEEDED[command]}]'\n"
        ), command
        assert error.count("\n") == 1

    assert content(project) == before


def test_other_commands_need_none(project):
    """A project can be looked at everywhere."""
    commands = ["--help", "new service --help", "check", "schema", "templates"]

    ends = in_one_process(*commands, "add extension loafer_kit.contrib.retry:Retry", without=HIDDEN)

    assert [(code, error) for _, code, _, error in ends] == [(0, "")] * 6


def test_help_is_shown_on_any_terminal(tmp_path):
    """One that has no dots in one character, say."""
    names = [command.name for command in app.registered_commands]
    groups = ["new service", "new extension", "add queue", "add route"]
    commands = [f"{command} --help" for command in [*groups, *filter(None, names)]]

    ends = in_one_process(*commands, PYTHONIOENCODING="ascii")

    assert {(command, code) for command, code, _, _ in ends} == {(name, 0) for name in commands}


def test_a_name_that_no_folder_can_have_is_one_line(tmp_path):
    """Whichever command is told of it."""
    name = "a" * 300
    commands = ["check", "update", "destroy", "dev", "run", "console", "doctor"]
    commands += ["add queue x --path", "new service x --queue x --output-dir"]

    for command, code, output, error in in_one_process(*[f"{begin} {name}" for begin in commands]):
        assert (code, output) == (1, ""), command
        assert error.startswith("error: "), command
        assert name in error, command
        assert error.endswith(": File name too long\n"), command
        assert error.count("\n") == 1, command


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


@pytest.mark.parametrize(
    ("module", "hidden", "extra"),
    [
        ("loafer_kit.ext.amqp.routes", "aio_pika", "amqp"),
        ("loafer_kit.contrib.database", "sqlalchemy", "database"),
        ("loafer_kit.contrib.idempotency.redis", "redis", "redis"),
        ("loafer_kit.contrib.telemetry", "opentelemetry", "otel"),
    ],
)
def test_a_service_that_needs_an_extra_ends_with_one_line(module, hidden, extra):
    """It imports it where it cannot catch the error."""
    code = f"import sys; sys.modules[{hidden!r}] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(f"base install: pip install 'loafer-kit[{extra}]'\n")
    assert done.stderr.count("\n") == 1
