"""`loafer-kit destroy`: taking back what a command wrote, where nothing was edited since."""

from dataclasses import replace as changed

import pytest
from kept_projects import OwnTemplates, check_out_with_crlf, content, loafer_kit, replace

from loafer_kit.scaffold.project import locks, plans, projects, updates, writing


@pytest.fixture
def project(tmp_path):
    """A service as it was written."""
    new(tmp_path, "--queue", "a")
    return tmp_path / "foobar"


def new(folder, *flags):
    done = loafer_kit("new", "service", "foobar", *flags, "--output-dir", folder)
    assert done.code == 0, done.error


def test_a_new_project_is_taken_back_whole(project, tmp_path):
    """With its folder."""
    done = loafer_kit("destroy", project)

    assert done.code == 0
    assert list(tmp_path.iterdir()) == []


def test_files_of_somebody_elses_stay(project):
    """And the folders that hold them."""
    (project / "foobar/mine.py").write_text("mine")

    done = loafer_kit("destroy", project)

    assert done.code == 0
    assert done.output.endswith(
        f"{project} stays; it holds files that loafer-kit did not write: foobar\n"
    )
    assert content(project) == {"foobar/mine.py": b"mine"}


def test_edited_files_are_named_and_nothing_is_taken_back(project):
    """All of them at once."""
    for file in ("README.md", "foobar/handlers.py"):
        replace(project / file, "andle", "reat")
    before = content(project)

    done = loafer_kit("destroy", project)

    assert done.code == 1
    assert done.error.endswith("since `loafer-kit new service`: README.md, foobar/handlers.py")
    assert content(project) == before


def test_it_can_be_looked_at_first(project):
    """Nothing is removed by looking."""
    before = content(project)

    done = loafer_kit("destroy", project, "--dry-run")

    assert done.code == 2
    assert f"remove  {project}/loafer.toml" in done.output
    assert content(project) == before


def test_what_an_update_brought_goes_as_well(tmp_path, monkeypatch):
    """Nobody edited it."""
    later = OwnTemplates(tmp_path / "templates", monkeypatch)
    new(tmp_path, "--queue", "a")
    replace(later.file("Dockerfile"), "3.13", "3.14")
    later.file("foobar/version.py").write_text('version = "1"\n')
    assert loafer_kit("update", tmp_path / "foobar").code == 0

    assert loafer_kit("destroy", tmp_path / "foobar").code == 0
    assert not (tmp_path / "foobar").exists()


def test_a_checkout_with_crlf_was_not_edited(project, tmp_path):
    """What `add` inserted is taken back from it, then the project as a whole."""
    check_out_with_crlf(project)
    before = content(project)
    for path, file in before.items():  # `add` was given where lines end with LF
        (project / path).write_bytes(file.replace(b"\r\n", b"\n"))
    replace(project / "foobar/handlers.py", "    # TODO", "    print(message)  # TODO")
    edited = (project / "foobar/handlers.py").read_bytes().replace(b"\n", b"\r\n")
    assert loafer_kit("add", "queue", "b", "--path", project).code == 0
    check_out_with_crlf(project)

    done = loafer_kit("destroy", project)

    assert done.code == 0, done.error
    assert content(project) == {**before, "foobar/handlers.py": edited}
    (project / "foobar/handlers.py").write_bytes(before["foobar/handlers.py"])
    assert loafer_kit("destroy", project).code == 0
    assert list(tmp_path.iterdir()) == []


def test_what_was_added_with_crlf_is_taken_back_with_lf(project):
    """A checkout may have other line ends than the one in which a command was given."""
    before = content(project)
    check_out_with_crlf(project)
    assert loafer_kit("add", "queue", "b", "--path", project).code == 0
    for path, file in content(project).items():
        (project / path).write_bytes(file.replace(b"\r\n", b"\n"))

    done = loafer_kit("destroy", project)

    assert done.code == 0, done.error
    assert content(project) == before


def test_an_edit_of_a_checkout_with_crlf_is_kept(project):
    """A single character beside the line ends is one."""
    check_out_with_crlf(project)
    readme = project / "README.md"
    readme.write_bytes(readme.read_bytes() + b" ")

    done = loafer_kit("destroy", project)

    assert done.code == 1
    assert done.error.endswith("since `loafer-kit new service`: README.md")


def test_a_second_new_is_taken_back_first(project, tmp_path):
    """With what it had overwritten, edits included."""
    replace(project / "README.md", "Handles", "Treats")
    before = content(project)
    new(tmp_path, "--queue", "b", "--force")

    assert loafer_kit("destroy", project).code == 0

    assert content(project) == before
    assert loafer_kit("check", project).code == 0


def test_an_insertion_is_taken_back_and_the_edits_around_it_stay(project):
    """As `add` records it: the spec and the code together, and the lock's spec with them."""
    replace(project / "foobar/handlers.py", "    # TODO", "    print(message)  # TODO")
    before = content(project)
    insert(project, "loafer.toml", b'\n[[queues]]\nname = "b"\nhandler = "handle_b"\n')
    before_route = b"routes = ("
    insert(project, "foobar/routes.py", b'SQSRoute("b", handler=handlers.handle_b),', before_route)

    done = loafer_kit("destroy", project)
    assert done.code == 0, done.error
    assert loafer_kit("destroy", project).code == 0

    assert content(project) == before


def insert(project, path, text, after=None):
    """Do what `add` does, for one file."""
    lock = locks.find(project)
    old = plans.read(project, path)
    at = len(old) if after is None else old.index(after) + len(after)
    change = plans.change(path, old, old[:at] + text + old[at:])
    record = updates.record("add queue b", [change], lock.spec)
    kept = changed(lock, records=(*lock.records, record))
    writing.apply([change, projects.lock_change(project, kept)], project)


def test_a_command_whose_work_was_edited_is_kept(project):
    """An edit anywhere in the file may stand on what was inserted."""
    insert(project, "loafer.toml", b"# added\n")
    replace(project / "loafer.toml", "# added", "# edited")

    done = loafer_kit("destroy", project)

    assert done.code == 1
    assert "edited since `loafer-kit add queue b`: loafer.toml" in done.error
