"""`new … --git`: a repository in the project's folder, with real git and nobody's configuration."""

import json
import os
import subprocess

import pytest
from kept_projects import content, loafer_kit

NEW = ["new", "service", "foobar", "--queue", "a", "--git"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A user's current folder, in no repository; git knows who the user is."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "gitconfig").write_text("[user]\nname = A\nemail = a@example.org\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def git(*arguments):
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, text=True
    ).stdout.splitlines()


def in_foobar(*arguments):
    return git("-C", "foobar", *arguments)


def written(folder):
    return {path for path in content(folder) if not path.startswith(".git/")}


@pytest.mark.parametrize(
    ("command", "name"),
    [(NEW, "foobar"), (["new", "extension", "redis", "--git"], "loafer-kit-redis")],
)
def test_a_repository_is_created_with_a_commit_of_what_was_written(here, command, name):
    """The lock is in it, and nothing is left to commit."""
    done = loafer_kit(*command)

    assert (done.code, done.error) == (0, "")
    assert "A git repository was created, with a first commit." in done.output
    assert set(git("-C", name, "ls-files")) == written(here / name)
    assert ".loafer-kit/lock.json" in written(here / name)
    assert git("-C", name, "status", "--porcelain") == []
    assert git("-C", name, "log", "--format=%an %s") == [f"A Begin {name} as loafer-kit writes it"]


def test_without_the_flag_there_is_none(here):
    """Nobody asked for it."""
    assert loafer_kit(*NEW[:-1]).code == 0
    assert not (here / "foobar/.git").exists()


@pytest.mark.parametrize("flag", ["--dry-run", "--diff"])
def test_looking_begins_nothing(here, flag):
    """Nor does it need git."""
    assert loafer_kit(*NEW, flag).code == 2
    assert list(here.iterdir()) == []


def test_within_a_repository_none_is_created(here):
    """The project is part of that one; whether to commit is its owner's decision."""
    git("init", "-q")

    done = loafer_kit(*NEW)

    assert (done.code, done.error) == (
        0,
        f"no repository was created: foobar is inside that of {here}\n",
    )
    assert not (here / "foobar/.git").exists()
    assert git("diff", "--cached", "--name-only") == []


def test_a_project_that_has_a_repository_keeps_it_as_it_is(here):
    """A second run adds no commit, and stages nothing."""
    loafer_kit(*NEW)

    done = loafer_kit(*NEW, "--queue", "b", "--force")

    assert done.code == 0
    assert done.error == f"no repository was created: foobar is inside that of {here}/foobar\n"
    assert len(in_foobar("log", "--format=%h")) == 1
    assert in_foobar("diff", "--cached", "--name-only") == []


def test_a_repository_without_a_commit_gets_the_first_one(here):
    """As an interrupted `new --git` leaves it."""
    git("init", "-q", "foobar")

    done = loafer_kit(*NEW)

    assert (done.code, done.error) == (0, "")
    assert len(in_foobar("log", "--format=%h")) == 1
    assert in_foobar("status", "--porcelain") == []


def test_somebody_s_own_files_are_not_committed(here):
    """Nor what the project's .gitignore leaves out."""
    (here / "foobar").mkdir()
    (here / "foobar/.env").write_text("SECRET=1")

    assert loafer_kit(*NEW, "--force").code == 0

    assert in_foobar("status", "--porcelain") == ["?? .env"]


def test_where_git_knows_no_author_the_commit_is_left_to_the_user(here, tmp_path):
    """It would make one up, or fail."""
    (tmp_path / "gitconfig").write_text("")

    done = loafer_kit(*NEW, "--json")

    assert done.code == 0
    assert (
        "its files staged but without a commit: git does not know your name and e-mail"
        in done.error
    )
    assert json.loads(done.output)["written"]
    assert set(in_foobar("diff", "--cached", "--name-only")) == written(here / "foobar")


def test_without_git_nothing_is_written(here, monkeypatch):
    """It is said before."""
    monkeypatch.setenv("PATH", "")

    done = loafer_kit(*NEW)

    assert (done.code, done.error) == (
        1,
        "git is not installed: install it, or leave out --git",
    )
    assert list(here.iterdir()) == []


def test_a_failure_of_git_leaves_the_project(here, tmp_path):
    """In one line, with git's own words."""
    (tmp_path / "gitconfig").write_text(
        "[user]\nname = A\nemail = a@example.org\n[commit]\ngpgsign = true\n"
        "[gpg]\nprogram = /nowhere/gpg\n"
    )

    done = loafer_kit(*NEW)

    assert done.code == 1
    assert done.error.startswith("foobar is written, but has no first commit: git: ")
    assert "\n" not in done.error
    assert "loafer.toml" in written(here / "foobar")


def test_hooks_of_the_user_s_own_do_not_stop_the_first_commit(here, tmp_path):
    """They are for what the user writes."""
    hook = tmp_path / "template/hooks/pre-commit"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with (tmp_path / "gitconfig").open("a") as file:
        file.write(f"[init]\ntemplateDir = {tmp_path}/template\n")

    assert loafer_kit(*NEW).code == 0
    assert len(in_foobar("log", "--format=%h")) == 1


def test_nothing_of_a_template_for_repositories_runs(here, tmp_path):
    """What it brings is there for the user's own commands: other hooks, and a monitor of files."""
    ran = tmp_path / "ran"
    template = tmp_path / "template"
    (template / "hooks").mkdir(parents=True)
    names = ("post-index-change", "pre-commit", "reference-transaction", "post-commit")
    for path in (*(f"hooks/{name}" for name in names), "monitor"):
        (template / path).write_text(f"#!/bin/sh\necho {path} >> {ran}\n")
        (template / path).chmod(0o755)
    (template / "config").write_text(f"[core]\nfsmonitor = {template}/monitor\n")
    with (tmp_path / "gitconfig").open("a") as file:
        file.write(f"[init]\ntemplateDir = {template}\n")

    assert loafer_kit(*NEW).code == 0

    assert not ran.exists()
    in_foobar("commit", "-q", "--allow-empty", "-m", "x")
    assert set(ran.read_text().split()) == {*(f"hooks/{name}" for name in names), "monitor"}


def test_variables_of_git_lead_to_no_other_repository(here, tmp_path, monkeypatch):
    """As they are set where a hook calls us."""
    other = tmp_path / "other"
    other.mkdir()
    git("-C", str(other), "init", "-q")
    before = content(other)
    for name, value in (("GIT_DIR", ".git"), ("GIT_WORK_TREE", "."), ("GIT_INDEX_FILE", "x")):
        monkeypatch.setenv(name, str(other / value))

    assert loafer_kit(*NEW).code == 0

    assert content(other) == before
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name)
    assert len(in_foobar("log", "--format=%h")) == 1


def test_what_is_taken_back_leaves_the_repository(here):
    """It may hold somebody's work by now."""
    loafer_kit(*NEW)

    assert loafer_kit("destroy", "foobar").code == 0

    assert [path.name for path in (here / "foobar").iterdir()] == [".git"]
