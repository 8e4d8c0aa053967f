"""Publishing a plan: all of it or nothing, whatever happens on the way."""

import errno
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import programs
import pytest

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import journals, writing
from loafer_kit.scaffold.project.plans import Change, Plan, changes

PLAN = Plan({"a": b"new", "b/c": b"new", "b/d/e": b"new", "f": b"same"})


@pytest.fixture
def project(tmp_path):
    """A folder with an edited, an equal and a foreign file."""
    target = tmp_path / "project"
    target.mkdir()
    (target / "a").write_bytes(b"old")
    (target / "a").chmod(0o755)
    (target / "f").write_bytes(b"same")
    (target / "mine").write_bytes(b"mine")
    return target


def commit(plan, target):
    """Write a plan into a folder."""
    writing.recover(target)
    writing.apply(changes(plan, target), target)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def interrupted_at(monkeypatch, owner, name, turn, error):
    """Let the given call of a function raise, after or instead of its work."""
    calls = iter(range(1000))
    original = getattr(owner, name)

    def replacement(*args, **kwargs):
        if next(calls) == turn:
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, replacement)


def test_a_new_folder_appears_whole(tmp_path):
    """With the folders above it, and nothing beside it."""
    commit(PLAN, tmp_path / "x/y/project")

    assert content(tmp_path / "x/y") == {
        "project": None, "project/a": b"new", "project/b": None, "project/b/c": b"new",
        "project/b/d": None, "project/b/d/e": b"new", "project/f": b"same",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "turn"), [("write_bytes", 0), ("write_bytes", 3), ("rename", 0)]
)
def test_the_next_run_clears_what_a_killed_one_left_beside_a_new_folder(tmp_path, method, turn):
    """Beside it: the folder itself is not there until it is whole."""
    target = tmp_path / "new"
    assert killed(target, turn, signal.SIGKILL, method) == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    assert left.name == ".new.loafer-kit"
    (left / "stale").write_bytes(b"of an older template")

    commit(Plan({"a": b"new"}), target)

    assert content(tmp_path) == {"new": None, "new/a": b"new"}


def test_a_link_in_the_place_of_what_is_left_is_not_followed(tmp_path):
    """What it leads to is somebody's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_bytes(b"mine")
    (tmp_path / ".new.loafer-kit").symlink_to(tmp_path / "mine")

    with pytest.raises(ConfigurationError, match=r"\.new\.loafer-kit: Not a directory"):
        commit(PLAN, tmp_path / "new")

    assert (tmp_path / "mine/file").read_bytes() == b"mine"


def test_two_runs_cannot_make_one_folder(tmp_path):
    """The second one says so, and leaves the first one's work alone."""
    staging = tmp_path / ".new.loafer-kit"
    staging.mkdir()
    (staging / "a").write_bytes(b"its own")

    with (
        journals.locked(staging, tmp_path / "new"),
        pytest.raises(ConfigurationError, match="another loafer-kit is writing into"),
    ):
        commit(PLAN, tmp_path / "new")

    assert (staging / "a").read_bytes() == b"its own"


def test_files_get_the_modes_of_the_users_umask(tmp_path):
    """No folder is closed to the user's group because it was staged."""
    before = os.umask(0o027)
    try:
        commit(PLAN, tmp_path / "project")
    finally:
        os.umask(before)

    assert (tmp_path / "project").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "project/a").stat().st_mode & 0o777 == 0o640


FAILURES = [OSError(28, "No space left on device"), KeyboardInterrupt(), SystemExit(143)]


@pytest.mark.parametrize("error", FAILURES)
@pytest.mark.parametrize("turn", range(4))
def test_a_new_folder_that_fails_leaves_nothing(tmp_path, monkeypatch, turn, error):
    """A full disk or an interrupt at any file: no folder, not even the ones above it."""
    interrupted_at(monkeypatch, Path, "write_bytes", turn, error)

    with pytest.raises((ConfigurationError, KeyboardInterrupt, SystemExit)):
        commit(PLAN, tmp_path / "x/y/project")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", [True, False])
def test_a_folder_that_may_not_be_written_is_named(tmp_path, monkeypatch, existing):
    """The user's, with what to do: not the one in which everything is made ready."""
    target = tmp_path / "project"
    if existing:
        target.mkdir()
    original = Path.mkdir

    def mkdir(self, *arguments, **options):
        if self.parent in (tmp_path, target):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        original(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)

    with pytest.raises(ConfigurationError) as caught:
        commit(PLAN, target)

    folder = target if existing else tmp_path
    assert str(caught.value) == (
        f"nothing was written: {folder}: Permission denied; make it writable, or use another folder"
    )


def test_a_folder_that_appears_meanwhile_is_not_touched(tmp_path, monkeypatch):
    """Whoever was first keeps the name."""
    original = Path.rename

    def rename(self, target):
        target.mkdir()
        (target / "theirs").write_bytes(b"")
        return original(self, target)

    monkeypatch.setattr(Path, "rename", rename)

    with pytest.raises(ConfigurationError, match="nothing was written"):
        commit(PLAN, tmp_path / "project")

    assert content(tmp_path) == {"project": None, "project/theirs": b""}


def test_an_existing_folder_is_written_file_by_file(project):
    """Other files stay, modes stay, and nothing of the work is left."""
    commit(PLAN, project)

    assert content(project) == {
        "a": b"new", "b": None, "b/c": b"new", "b/d": None, "b/d/e": b"new", "f": b"same",
        "mine": b"mine",
    }  # fmt: skip
    assert (project / "a").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", FAILURES)
@pytest.mark.parametrize(
    ("function", "turn"),
    [("write_bytes", 0), ("write_bytes", 2), ("replace", 0), ("replace", 1), ("replace", 2)],
)
def test_a_failure_leaves_every_byte_as_it_was(project, monkeypatch, function, turn, error):
    """While the files are prepared, and while they are put in place."""
    before = content(project)
    stat = (project / "a").stat()
    interrupted_at(monkeypatch, Path, function, turn, error)

    with pytest.raises((ConfigurationError, KeyboardInterrupt, SystemExit)):
        commit(PLAN, project)

    assert content(project) == before
    assert (project / "a").stat().st_mtime_ns == stat.st_mtime_ns
    assert (project / "a").stat().st_mode == stat.st_mode


KILLED = """
import os, sys
from pathlib import Path
from loafer_kit.scaffold.project import journals, writing
from loafer_kit.scaffold.project.plans import Plan, changes

turns = iter(range(100))
original = getattr(Path, sys.argv[4])

def replacement(self, *arguments):
    if next(turns) == int(sys.argv[2]):
        os.kill(os.getpid(), int(sys.argv[3]))
    return original(self, *arguments)

setattr(Path, sys.argv[4], replacement)
plan = Plan({"a": b"new", "b/c": b"new", "b/d/e": b"new", "f": b"same"})
target = Path(sys.argv[1])
writing.recover(target)
writing.apply(changes(plan, target), target)
"""


def killed(project, turn, number, method="replace"):
    command = [sys.executable, "-c", KILLED, str(project), str(turn), str(number), method]
    with programs.Popen(command) as process:
        return process.wait()


@pytest.mark.parametrize("turn", range(3))
def test_the_next_run_undoes_what_a_killed_one_left(project, turn):
    """The journal was on disk before the first file changed."""
    before = content(project)
    assert killed(project, turn, signal.SIGKILL) == -signal.SIGKILL

    writing.recover(project)

    assert content(project) == before


def test_a_file_that_was_edited_after_the_kill_stops_the_next_run(project):
    """It says which one, and touches nothing until the edit is undone or the journal is gone."""
    before = content(project)
    killed(project, 2, signal.SIGKILL)
    (project / "a").write_bytes(b"edited")
    left = content(project)

    for _ in range(2):
        with pytest.raises(ConfigurationError, match="after 2 of 3 files: nothing was written; "):
            writing.recover(project)
        assert content(project) == left
    (project / "a").write_bytes(b"new")
    writing.recover(project)

    assert content(project) == before


def test_a_file_that_the_killed_run_had_not_written_may_be_edited(project):
    """The others are put back, and the edit stays."""
    killed(project, 0, signal.SIGKILL)
    (project / "a").write_bytes(b"edited")

    found = writing.recover(project)

    assert (found.written, found.files, found.is_complete, found.edited) == (0, 3, False, ())
    assert (project / "a").read_bytes() == b"edited"
    assert not (project / "b").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_undoes_what_was_begun(project, number):
    """As Ctrl-C does, and with the usual exit code."""
    before = content(project)

    assert killed(project, 2, number) == 128 + number
    assert content(project) == before


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def left_behind(project, text):
    """A journal that somebody put into a project."""
    work = project / ".loafer-kit/work"
    work.mkdir(parents=True)
    (project / journals.JOURNAL).write_text(text)
    return work


def entry(**values):
    """A journal of one file, and of one that was not written: it is not complete."""
    file = {"path": "a", "before": None, "after": EMPTY, "folders": [], **values}
    return [file, {"path": "z", "before": None, "after": EMPTY, "folders": []}]


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "link/outside"])
def test_a_hostile_journal_touches_nothing_outside(project, path):
    """A journal is input: its paths are checked as a plan's are."""
    outside = project.parent / "outside"
    outside.write_bytes(b"")
    (project / "link").symlink_to(project.parent)
    left_behind(project, json.dumps(entry(path=path)))

    with pytest.raises(ConfigurationError):
        writing.recover(project)

    assert outside.exists()


@pytest.mark.parametrize("before", [EMPTY, None])
@pytest.mark.parametrize("path", [".git/hooks/pre-commit", ".GIT/HEAD", "sub/.git/config"])
def test_a_hostile_journal_touches_nothing_of_git_s(project, path, before):
    """A hook that comes with a cloned project would run at the next commit."""
    file = project / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    work = left_behind(project, json.dumps(entry(path=path, before=before)))
    (work / "0.old").write_bytes(b"#!/bin/sh")

    with pytest.raises(ConfigurationError, match=r"is not a path for a template's file\): remove "):
        writing.recover(project)

    assert file.read_bytes() == b""


def test_a_hostile_journal_brings_no_link(project):
    """What it puts back are files."""
    work = left_behind(project, json.dumps(entry(path="made", before=EMPTY, after=None)))
    (work / "0.old").symlink_to("/etc/passwd")

    writing.recover(project)

    assert not (project / "made").exists()
    assert not work.exists()


def test_a_hostile_journal_removes_no_folder_but_those_of_its_files(project):
    """Not by way of a link either."""
    folder = project.parent / "elsewhere/empty"
    folder.mkdir(parents=True)
    (project / "link").symlink_to(folder.parent)
    left_behind(project, json.dumps(entry(folders=["link/empty"])))

    with pytest.raises(ConfigurationError, match="lists a folder that does not contain it"):
        writing.recover(project)

    assert folder.exists()


@pytest.mark.parametrize(
    "text",
    ["", "5", "{}{", "[5]", "[[]]", '[{"path": "a"}]', "[" * 5000]
    + [json.dumps(entry(**{key: None})) for key in ("path", "folders")],
)
def test_a_damaged_journal_is_one_line(project, text):
    """It says what to remove."""
    before = content(project)
    work = left_behind(project, text)

    with pytest.raises(
        ConfigurationError, match=r"journal\.json is not a valid journal .*: remove it"
    ):
        writing.recover(project)

    shutil.rmtree(work.parent)
    assert content(project) == before


def test_two_runs_cannot_write_into_one_folder(project):
    """The second one says so, and leaves the first one's work alone."""
    work = project / ".loafer-kit/work"
    work.mkdir(parents=True)

    with (
        journals.locked(work.parent, project),
        pytest.raises(ConfigurationError, match="another loafer-kit"),
    ):
        commit(PLAN, project)

    assert work.is_dir()


def test_a_removal_is_undone_with_its_folder(project, monkeypatch):
    """The last file of a folder takes it along, and brings it back."""
    (project / "z/y").mkdir(parents=True)
    (project / "z/y/x").write_bytes(b"x")
    before = content(project)
    removal = Change("z/y/x", "remove", b"x", None)
    edit = Change("a", "overwrite", b"old", b"new")
    with monkeypatch.context() as patched:
        interrupted_at(patched, Path, "replace", 0, OSError(28, "No space left on device"))
        with pytest.raises(ConfigurationError, match="No space left"):
            writing.apply([removal, edit], project)
    assert content(project) == before

    writing.apply([removal, edit], project)

    assert not (project / "z").exists()
    assert (project / "a").read_bytes() == b"new"


@pytest.mark.parametrize("found", [b"edited", None])
def test_a_file_that_changed_since_it_was_shown_stops_everything(project, found):
    """What a person agreed to is what is written."""
    shown = [Change("a", "overwrite", found, b"new"), Change("n", "create", None, b"new")]
    before = content(project)

    with pytest.raises(ConfigurationError, match="edited in the meantime"):
        writing.apply(shown, project)

    assert content(project) == before
