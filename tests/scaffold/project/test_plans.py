"""Plans: paths within a project, and what they would change."""

import pytest

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project.plans import Plan, changes


@pytest.mark.parametrize(
    "path",
    [
        *("../x", "/x", "a/../../x", "a//b", "", ".", "a/./b", "a\\b", "a\0"),
        *("a\nb", "a\x1b[2J", "a\x7f", "a\x9b2J", "a\udcff", "a.", "a. /b", "a /b", "..."),
    ],
)
def test_a_path_stays_within_the_project(path):
    """No plan can name a file elsewhere, nor one that is another on some file system."""
    with pytest.raises(ConfigurationError, match="not a path within a project"):
        Plan({path: b""})


@pytest.mark.parametrize("paths", [["a", "a/b"], ["a/b/c/d", "a/b"], ["b", "a", "b/.x"]])
def test_no_path_is_a_file_and_a_folder(paths):
    """It could not be written, which would show only then."""
    with pytest.raises(ConfigurationError, match="cannot be both a file and a folder") as caught:
        Plan(dict.fromkeys(paths, b""))
    above, below = sorted(paths)[-2:]
    assert str(caught.value).startswith(f"{above!a}, which contains {below!a}, ")

    Plan(dict.fromkeys(["a", "ab/c", "a.b/c", "ä/ b", ".a/b"], b""))


def test_a_plan_is_in_order_whatever_it_is_made_from():
    """The same files, the same plan."""
    assert list(Plan({"c": b"", "b/c": b"", "a": b""}).files) == ["a", "b/c", "c"]


def test_changes_tell_new_edited_and_equal_files_apart(tmp_path):
    """Nothing is written to find out."""
    (tmp_path / "same").write_bytes(b"1")
    (tmp_path / "other").write_bytes(b"1")

    found = changes(Plan({"same": b"1", "other": b"2", "a/new": b"3"}), tmp_path)

    assert [(change.path, change.action) for change in found] == [
        ("a/new", "create"),
        ("other", "overwrite"),
        ("same", "unchanged"),
    ]
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("link", [".", "a", "a/file"])
def test_nothing_goes_through_a_symbolic_link(tmp_path, link):
    """Neither the project, nor a folder, nor a file may be one."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "a").mkdir(parents=True)
    (elsewhere / "a/file").write_bytes(b"")
    target = tmp_path / "target"
    place = target / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(elsewhere / link)

    with pytest.raises(ConfigurationError, match="symbolic link"):
        changes(Plan({"a/file": b"x"}), target)


def test_a_folder_in_a_files_place_is_an_error(tmp_path):
    """And a file in a folder's place."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "c").write_bytes(b"")

    for path in ("a/b", "c/d"):
        with pytest.raises(ConfigurationError, match="in the way"):
            changes(Plan({path: b""}), tmp_path)


@pytest.mark.parametrize(
    "paths",
    [
        ["HEAD", "config", "objects/x", "refs/x"],
        ["a/b/HEAD", "a/b/config"],
        ["a/head", "a/Objects/x"],
        ["x/HEAD", "x/commondir"],
        ["x/HEAD", "x/refs/heads/main"],
    ],
)
def test_a_folder_that_git_takes_for_a_repository_is_refused(paths):
    """The next `git status` in it would run what its configuration says."""
    with pytest.raises(ConfigurationError, match=r"git would take the folder .* for a repository"):
        Plan(dict.fromkeys(paths, b""))


def test_a_file_of_such_a_name_alone_is_no_repository():
    """Nor are the others without it."""
    Plan(dict.fromkeys(["HEAD", "a/config", "a/objects/x", "a/refs/x", "b/HEAD/x"], b""))
