"""Plans: paths within a project, and what they would change."""

import pytest

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.plans import Plan, changes


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/x",
        "a/../../x",
        "a//b",
        "",
        ".",
        "a/./b",
        "a\\b",
        "a\0",
        "a\nb",
        "a\x1b[2K",
        "a\x9b",
        "a\ud800",
    ],
)
def test_a_path_stays_within_the_project(path):
    """No plan can name a file elsewhere."""
    with pytest.raises(ConfigurationError, match="no path within a project"):
        Plan({path: b""})


def test_a_plan_is_in_order_whatever_it_is_made_from():
    """The same files, the same plan."""
    assert list(Plan({"b": b"", "a/c": b"", "a": b""}).files) == ["a", "a/c", "b"]


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
