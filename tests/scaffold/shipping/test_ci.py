"""The GitHub Actions workflow: GitHub takes it, and what it runs passes."""

import re
import subprocess
import sys

import programs
import pytest
import yaml
from typer.testing import CliRunner

from loafer_kit.cli import app

PATH = ".github/workflows/ci.yml"


@pytest.mark.slow
def test_github_takes_it(ship, tmp_path):
    """By GitHub's own schema of workflows."""
    (tmp_path / "ci.yml").write_text(ship("ci")[PATH])

    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", "ci.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout


def test_actions_are_pinned_to_commits(ship):
    """A tag can be moved; the release stands beside the commit for readers."""
    uses = re.findall(r"uses: (.*)", ship("ci")[PATH])

    assert len(uses) == 2
    for line in uses:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)


def test_it_can_read_the_repository_and_nothing_more(ship):
    """On pushes and pull requests."""
    workflow = yaml.load(ship("ci")[PATH], Loader=yaml.BaseLoader)

    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow["on"]) == {"push", "pull_request"}


@pytest.mark.slow
def test_its_commands_pass_in_the_project(ship, tmp_path):
    """Lint, type check and tests, as the workflow runs them once everything is installed."""
    arguments = ["new", "service", "foobar", "--queue", "orders", "--with", "ci"]
    made = CliRunner().invoke(app, [*arguments, "--output-dir", str(tmp_path)])
    assert made.exit_code == 0, made.output
    steps = yaml.safe_load(ship("ci")[PATH])["jobs"]["check"]["steps"]
    install, *commands = [step["run"] for step in steps if "run" in step]
    assert install == "pip install -e '.[dev]'"
    assert commands == [
        "ruff check .",
        "black --check .",
        "mypy",
        "loafer-kit check",
        "loafer-kit update --check",
        "python -m pytest",
    ]

    for command in commands:
        done = programs.run_command(command, cwd=tmp_path / "foobar")
        assert done.returncode == 0, done.stdout + done.stderr
