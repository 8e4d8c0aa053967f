"""Devices, pipes and huge files in a project: one line, at once."""

import os

import pytest
from kept_projects import loafer_kit

from loafer_kit.cli.terminal import completions
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sources import documents

HUGE = 20 * 1024**3


def device(place):
    place.symlink_to("/dev/zero")


def pipe(place):
    os.mkfifo(place)


def linked_pipe(place):
    os.mkfifo(place.with_name("pipe"))
    place.symlink_to("pipe")


def huge(place):
    with place.open("wb") as file:
        file.truncate(HUGE)


SPECIAL = [device, pipe, linked_pipe, huge]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A service."""
    folder = tmp_path_factory.mktemp("made")
    assert loafer_kit("new", "service", "shop", "--queue", "a", "--output-dir", folder).code == 0
    return folder / "shop"


@pytest.fixture
def at(made):
    """Puts something in the place of a file, and the file back afterwards."""
    kept = []

    def put(make, path):
        place = made / path
        content = place.read_bytes() if place.exists() else None
        kept.append((place, content))
        place.unlink(missing_ok=True)
        make(place)
        return made

    yield put
    (made / "pipe").unlink(missing_ok=True)
    (made / "shop/pipe").unlink(missing_ok=True)
    for place, content in kept:
        place.unlink()
        if content is not None:
            place.write_bytes(content)


@pytest.mark.parametrize("make", SPECIAL)
def test_only_a_regular_file_within_a_size_is_read(tmp_path, make):
    """Nothing is waited for."""
    make(tmp_path / "x")

    with pytest.raises(ConfigurationError, match=r"is not a regular file|is larger than 10 bytes"):
        documents.content(tmp_path / "x", 10)


def test_a_link_to_a_regular_file_is_read(tmp_path):
    """Up to the size itself."""
    (tmp_path / "x").write_bytes(b"0123456789")
    (tmp_path / "y").symlink_to("x")

    assert documents.content(tmp_path / "y", 10) == b"0123456789"


@pytest.mark.parametrize("command", ["check", "update", "doctor", "dev", "destroy"])
@pytest.mark.parametrize("make", SPECIAL)
def test_a_special_spec_is_one_line(at, make, command):
    """For every command that reads it."""
    project = at(make, "loafer.toml")

    done = loafer_kit(command, project)

    assert done.code == 1
    told = f"{done.output}{done.error}"
    assert "loafer.toml" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("path", ["README.md", "shop/routes.py", "shop/other.py"])
@pytest.mark.parametrize("make", SPECIAL)
def test_check_ends_at_any_special_file(at, make, path):
    """A link beside the code is left alone."""
    done = loafer_kit("check", at(make, path))

    assert done.code == (0 if make in (device, linked_pipe) and path == "README.md" else 1)
    assert done.error.count("\n") <= 1


class Context:
    """What completions take from the command line."""

    def __init__(self, project):
        self.args = [str(project)]
        self.params = {}


@pytest.mark.parametrize("make", SPECIAL)
def test_tab_offers_nothing_of_a_special_file(at, make):
    """And the shell does not wait."""
    project = at(make, "loafer.toml")

    assert completions.queues(Context(project), "") == []


@pytest.mark.parametrize("make", SPECIAL)
def test_tab_reads_no_special_handlers(at, make):
    """Not for the names of missing ones either."""
    project = at(make, "shop/handlers.py")

    assert completions.queues(Context(project), "") != []
    assert completions.missing_handlers(Context(project), "") == []
