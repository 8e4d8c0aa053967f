"""The colours of a diff, on a real terminal and elsewhere."""

import programs
import pytest
from kept_projects import loafer_kit, replace
from terminals import Person

pytestmark = pytest.mark.slow

GREEN, RED, RESET = "\x1b[32m", "\x1b[31m", "\x1b[0m"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A service whose spec was changed since: one line goes, another comes."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    loafer_kit("new", "service", "foobar", "--queue", "a,concurrency=5", "--output-dir", tmp_path)
    replace(tmp_path / "foobar/loafer.toml", "concurrency = 5", "concurrency = 7")
    return tmp_path / "foobar"


def lines_on_a_terminal(project):
    """What a person sees of `update --diff`, line by line, escapes and all."""
    with Person("update", "--diff", str(project)) as person:
        assert person.leave() == 2
        return person.shown.replace("\r\n", "\n").split("\n")


def test_a_person_sees_what_comes_in_green_and_what_goes_in_red(project):
    """What stays has no colour."""
    lines = lines_on_a_terminal(project)

    (coming,) = (line for line in lines if "concurrency=7" in line)
    (going,) = (line for line in lines if "concurrency=5" in line)
    assert coming.removeprefix(RESET).startswith(f"{GREEN}+")
    assert going.removeprefix(RESET).startswith(f"{RED}-")
    staying = [line.removeprefix(RESET) for line in lines if line.endswith("import handlers")]
    assert staying
    assert not any("\x1b" in line for line in staying)


@pytest.mark.parametrize(("value", "is_plain"), [("1", True), ("0", True), ("", False)])
def test_no_color_leaves_colours_out(project, monkeypatch, value, is_plain):
    """When it has a value, whatever it is."""
    monkeypatch.setenv("NO_COLOR", value)

    lines = lines_on_a_terminal(project)

    assert ("\x1b" not in "".join(lines)) is is_plain
    assert any("concurrency=7" in line for line in lines)


def test_a_pipe_gets_no_colours(project):
    """A diff that is kept can be applied."""
    done = programs.run("-m", "loafer_kit", "update", "--diff", project)

    assert done.returncode == 2
    assert "\n+" in done.stdout
    assert "\x1b" not in done.stdout
