"""The commands on the page about updates work, and print what the page shows."""

import re
from pathlib import Path

import pytest
from kept_projects import loafer_kit

PAGE = Path(__file__).parents[2] / "docs/how-to/update-a-project.md"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder of a project, which is the current one."""
    loafer_kit(
        "new", "service", "foobar", "--queue", "orders,wait_time=3", "--output-dir", tmp_path
    )
    monkeypatch.chdir(tmp_path / "foobar")
    return tmp_path / "foobar"


def test_the_commands_of_the_page_work(here):
    """In order; their output is the one shown."""
    consoles = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for command, expected in re.findall(
        r"^\$ loafer-kit ([^#\n]*).*\n((?:[^$].*\n)*)", "".join(consoles), re.MULTILINE
    ):
        done = loafer_kit(*command.split())
        assert done.code == (2 if command == "destroy --dry-run" else 0), done
        assert expected in done.output
    assert not here.exists()


def test_the_drift_of_the_page_is_one(here):
    """Word for word."""
    routes = here / "foobar/routes.py"
    routes.write_text(routes.read_text().replace('"WaitTimeSeconds": 3', '"WaitTimeSeconds": 4'))

    assert loafer_kit("check").output in PAGE.read_text()
