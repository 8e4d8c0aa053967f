"""Commands that are killed at any of their writes: what the next command finds and does."""

import shutil
import subprocess

import pytest
from hypothesis import settings
from kept_projects import content, loafer_kit, replace
from kills import is_killed_at

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import journals, writing
from loafer_kit.scaffold.project.plans import Change

CHANGES = (
    Change("a", "overwrite", b"old", b"new"),
    Change("b/c", "create", None, b"new", executable=True),
    Change("d/e", "remove", b"old", None),
    Change("f", "update", b"same", b"same", executable=True),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the files before the changes."""
    folder = tmp_path_factory.mktemp("made") / "project"
    (folder / "d").mkdir(parents=True)
    for path, text in {"a": b"old", "d/e": b"old", "f": b"same", "mine": b"mine"}.items():
        (folder / path).write_bytes(text)
    return folder


def copies(made, folder):
    """Fresh copies of a folder, one after the other."""
    for turn in range(1000):
        shutil.copytree(made, folder / str(turn) / made.name)
        yield turn, folder / str(turn) / made.name


def left_at_every_write(made, folder, command):
    """The folders that a command leaves if it is killed at its first write, its second and so on."""
    for turn, project in copies(made, folder):
        if not is_killed_at(turn, lambda project=project: command(project), project.parent):
            assert turn > 3
            return
        yield project


def apply(project):
    writing.recover(project)
    writing.apply(CHANGES, project, "write")


def state(project):
    """The files, and which of them are executable."""
    return {
        path: (text, (project / path).stat().st_mode & 0o777)
        for path, text in content(project).items()
    }


@pytest.fixture(scope="module")
def after(made, tmp_path_factory):
    """The files after the changes."""
    project = shutil.copytree(made, tmp_path_factory.mktemp("after") / "project")
    apply(project)
    return state(project)


def test_what_is_left_is_undone_or_completed(made, after, tmp_path):
    """Nothing in between, nothing beside it, and it is said what happened."""
    ends = []
    for project in left_at_every_write(made, tmp_path, apply):
        begun = state(project)

        found = writing.recover(project)

        end = state(project)
        if found is None:  # no file had been written, or nothing was left to do
            assert begun.items() >= end.items()
            assert end in (state(made), after)
        else:
            assert end == (after if found.is_complete else state(made))
        assert sorted(path.name for path in project.parent.iterdir()) == ["project"]
        assert writing.recover(project) is None
        ends.append(end == after)
    assert ends == sorted(ends)
    assert set(ends) == {False, True}


def test_what_is_left_may_be_killed_while_it_is_undone(made, after, tmp_path):
    """The next command does the rest."""
    for number, project in enumerate(left_at_every_write(made, tmp_path / "first", apply)):
        if number % 4 == 0:
            folder = tmp_path / f"second-{number}"
            for turn, copy in copies(project, folder):
                died = is_killed_at(turn, lambda copy=copy: writing.recover(copy), copy)
                writing.recover(copy)
                assert state(copy) in (state(made), after)
                if not died:
                    break


def test_an_edit_since_is_never_lost(made, after, tmp_path):
    """Either the whole folder is refused, or the edited file stays and all others are settled."""
    refused = set()
    for project in left_at_every_write(made, tmp_path, apply):
        (project / "a").write_bytes(b"edited")
        before = content(project)
        try:
            found = writing.recover(project)
        except ConfigurationError as error:
            refused.add("nothing was written; edited since: a; undo" in str(error))
            assert content(project) == before
        else:
            if found is not None and not found.is_complete:
                before = {path: text for path, (text, _) in state(made).items()}
            elif found is not None:
                before = {path: text for path, (text, _) in after.items()}
            kept = {path for path in before if not path.startswith(".loafer-kit")}
            assert content(project) == {path: before[path] for path in kept} | {"a": b"edited"}
    assert refused == {True}


def test_nothing_of_it_enters_git(made, tmp_path):
    """Whenever a person commits everything; here all that are left are in one repository."""

    def git(*arguments):
        done = subprocess.run(
            ["git", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout

    left = [project.parent.name for project in left_at_every_write(made, tmp_path, apply)]
    git("init", "-q")
    git("add", "-A")

    assert {path.partition("/")[0] for path in git("ls-files").splitlines()} >= set(left)
    assert ".loafer-kit" not in git("ls-files")


# Commands, as a user runs them.


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service, as `new` writes it."""
    folder = tmp_path_factory.mktemp("service")
    assert loafer_kit("new", "service", "shop", "--queue", "a", "--output-dir", folder).code == 0
    return folder / "shop"


def added(project):
    return loafer_kit("add", "queue", "b", "--path", project)


def changed(project):
    """A service whose spec was edited."""
    if "= 7" not in (project / "loafer.toml").read_text():
        replace(project / "loafer.toml", 'name = "a"', 'name = "a"\nconcurrency = 7')
    return project


COMMANDS = {
    "add": (lambda project: project, added),
    "update": (changed, lambda project: loafer_kit("update", project)),
    "new": (
        changed,
        lambda project: loafer_kit(
            *("new", "service", "shop", "--queue", "a", "--queue", "c", "--force"),
            *("--save-spec", project.parent / "spec.toml", "--output-dir", project.parent),
        ),
    ),
    "destroy": (
        lambda project: added(project) and project,
        lambda project: loafer_kit("destroy", project),
    ),
}


# Where a command dies: before the last of its files, before its journal goes, and after that.
PLACES = [
    "os.rename .loafer-kit/lock.json",
    "os.remove journal.json",
    "os.remove .loafer-kit/.gitignore",
]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_run_again_ends_whole(service, tmp_path, name):
    """As if it had never been killed; `check` reports what is left until then."""
    prepare, run = COMMANDS[name]
    start = shutil.copytree(service, tmp_path / "start/shop")
    prepare(start)
    whole = shutil.copytree(start, tmp_path / "whole/shop")
    assert run(whole).code == 0
    for place, (_, project) in zip(PLACES, copies(start, tmp_path / "killed"), strict=False):
        assert is_killed_at(place, lambda project=project: run(project), project)
        left = journals.interruption(project)
        assert (left is None) == (place == PLACES[-1])
        if left is not None:
            assert left.is_complete == (place == PLACES[1])
            checked = loafer_kit("check", project)
            assert (checked.code, checked.output.count("loafer-kit/journal.json: ")) == (1, 1)
            assert "interrupted after" in loafer_kit("update", "--check", project).error

        done = run(project)

        assert done.code == 0, done.error
        assert "interrupted after" in done.error
        assert content(project.parent) == content(whole.parent)


@pytest.mark.parametrize(
    "place", ["open project/loafer.toml", "os.rename new/shop", "os.rename spec.toml"]
)
def test_a_new_project_that_is_run_again_is_whole(tmp_path, place):
    """With its saved spec; nobody seems to write meanwhile."""

    def new(folder):
        return loafer_kit(
            *("new", "service", "shop", "--queue", "a", "--output-dir", folder),
            *("--save-spec", folder / "specs/spec.toml", "--force"),
        )

    for name in ("whole", "new"):
        (tmp_path / name).mkdir()
    assert new(tmp_path / "whole").code == 0
    assert is_killed_at(place, lambda: new(tmp_path / "new"), tmp_path / "new")

    done = new(tmp_path / "new")

    assert done.code == 0, done.error
    assert content(tmp_path / "new") == content(tmp_path / "whole")


# Every command after every write of every other: in the soak profile; else a few of them.
SOAKING = settings().max_examples >= settings.get_profile("soak").max_examples
EDIT = b"\n# edited since\n"
NEXT = {**{name: run for name, (_, run) in COMMANDS.items()}, "check": None}


def turns_and_commands(name):
    """The writes at which a command is killed, each with the commands that are run then."""
    if SOAKING:
        return ((turn, tuple(NEXT)) for turn in range(1000))
    place = list(COMMANDS).index(name)
    return iter([(7 * (place + 1), (list(NEXT)[place + 1],)), (1000, ())])


@pytest.mark.parametrize("path", [None, "README.md", "shop/handlers.py"])
@pytest.mark.parametrize("name", COMMANDS)
def test_any_command_may_come_next(service, tmp_path, name, path):
    """It ends whole, or says in one line what to do; what was edited since stays."""
    prepare, run = COMMANDS[name]
    start = prepare(shutil.copytree(service, tmp_path / "start/shop"))
    for turn, commands in turns_and_commands(name):
        probe = copy_of(start, tmp_path / "probe")
        if not is_killed_at(turn, lambda probe=probe: run(probe), probe.parent):
            return
        for other in commands:
            project = copy_of(start, tmp_path / "killed")
            assert is_killed_at(turn, lambda project=project: run(project), project.parent)
            if path is not None and (project / path).exists():
                (project / path).write_bytes((project / path).read_bytes() + EDIT)
            follow(project, other, path)


def copy_of(folder, parent):
    shutil.rmtree(parent, ignore_errors=True)
    return shutil.copytree(folder, parent / folder.name)


def follow(project, other, path):
    """Run the other command on what a killed one left."""
    edited = path is not None and (project / path).exists()
    run = NEXT[other] or (lambda project: loafer_kit("check", project))

    done = run(project)

    if other == "check":
        left = journals.interruption(project)
        assert ("journal.json" in done.output) == (left is not None)
        return
    if done.code == 0:
        assert journals.interruption(project) is None
        assert writing.recover(project) is None
    else:
        assert "Traceback" not in done.error
        assert done.error.strip()
    if edited and other != "new":  # `new --force` overwrites what was edited
        assert EDIT in (project / path).read_bytes()
