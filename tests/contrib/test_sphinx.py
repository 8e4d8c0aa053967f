"""The Sphinx directive, in a real build."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("sphinx")

from loafer_kit.contrib import sphinx  # noqa: E402 - once it is known to be there

EXTENSION = '''
from loafer_kit import Extension
from loafer_kit.cli import register_commands


def trash(app, heap, size=1):
    """Take the trash out."""


def sort(*, garbage="all", dry_run=False, verbose):
    """Sort the garbage."""


class Fraggle(Extension):
    REQUIRED_SETTINGS = ("FRAGGLE_ROCK",)

    def register_cli(self):
        register_commands("fraggle", [trash, sort], {"description": "All about trash."})
'''

CONF = """
import sys
sys.path.insert(0, ".")
extensions = ["loafer_kit.contrib.sphinx"]
"""


DIRECTIVES = {
    "commands": ["loaferkitcli:: fraggle:Fraggle"],
    "older": ["doozercli:: fraggle:Fraggle", "   :maxdepth: 1", "   :groups:"],
    "no_module": ["loaferkitcli:: nothing:Fraggle"],
    "no_class": ["loaferkitcli:: fraggle:Nothing"],
}


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The texts of a build of one page for each directive, and what it prints."""
    folder = tmp_path_factory.mktemp("sphinx")
    (folder / "fraggle.py").write_text(EXTENSION)
    (folder / "conf.py").write_text(CONF)
    for name, lines in DIRECTIVES.items():
        page = [":orphan:", "", "Fraggle", "#######", "", f".. {lines[0]}", *lines[1:], ""]
        (folder / f"{name}.rst").write_text("\n".join(page))
    (folder / "index.rst").write_text("Index\n#####\n")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-E", "-b", "text", ".", "out"],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    return {name: (folder / f"out/{name}.txt").read_text() for name in DIRECTIVES}, done.stderr


def test_the_older_name_and_its_options(build):
    """`doozercli` is the same directive."""
    text = build[0]["older"]
    assert "All about trash." in text
    assert "Take the trash out." not in text


def test_the_older_name_of_the_class():
    """Code that derives from it finds it under Doozer's name."""
    assert issubclass(sphinx.LoaferKitCLIDirective, sphinx.DoozerCLIDirective)


def test_documents_every_command(build):
    """Usage, help and options of each, without a service and its settings."""
    for part in (
        '"loafer-kit --app APP_PATH fraggle"\n===',
        "All about trash.",
        '"loafer-kit --app APP_PATH fraggle trash"\n---',
        "Take the trash out.",
        "$ loafer-kit --app APP_PATH fraggle trash [OPTIONS] {HEAP} [SIZE]",
        "HEAP\n\n   [required]",
        "SIZE\n\n   [default: 1]",
        "--garbage GARBAGE, -g GARBAGE\n\n   [default: all]",
        "--dry-run, -d",
        "--verbose, -v",
    ):
        assert part in build[0]["commands"]


@pytest.mark.parametrize(
    ("style", "shows", "hides"),
    [
        ({"prog": "my-tool"}, "my-tool fraggle trash", "loafer-kit"),
        ({"start_command": "fraggle sort"}, "Sort the garbage.", "Take the trash out."),
        ({"maxdepth": 1}, "All about trash.", "Take the trash out."),
        ({"strip_usage": True}, "$ trash [OPTIONS]", "$ loafer-kit"),
        ({"no_usage_codeblock": True}, "fraggle trash [OPTIONS]", "$ loafer-kit"),
        ({"groups": True}, ".. rubric:: Arguments", "nothing hidden"),
    ],
)
def test_options(tmp_path, monkeypatch, style, shows, hides):
    """Each option of the directive."""
    (tmp_path / "fraggle_options.py").write_text(EXTENSION)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fraggle_options", raising=False)
    commands = sphinx.commands_of("fraggle_options:Fraggle")
    text = "\n".join(sphinx.describe(commands, sphinx.Style(**style)))
    assert shows in text
    assert hides not in text


def test_an_extension_that_is_not_there(build):
    """The build says where and why, and complains of nothing else."""
    complaints = [line for line in build[1].splitlines() if ".rst:" in line]
    assert len(complaints) == 2, build[1]
    for page, says in (
        ("no_module", "No module named 'nothing'"),
        ("no_class", "no attribute 'Nothing'"),
    ):
        [line] = [line for line in complaints if f"{page}.rst:6" in line]
        assert says in line
    assert "WARNING" not in build[1]
