"""The lock: kept in the project, and read as what a stranger wrote."""

import base64
import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import locks, updates, writing
from loafer_kit.scaffold.project.locks import Digest, Lock, TemplateRef
from loafer_kit.scaffold.project.plans import Change, Plan, digest

LOCK = Lock(
    TemplateRef("service", "0" * 64),
    {"name": "foobar", "queues": [{"name": "a"}]},
    {
        "a.py": b"one\ntwo\r\n\xe2\x80\xa8three",
        "b.png": b"\x89PNG\xff",
        "empty": b"",
        "key": Digest("1" * 64),
    },
    (updates.record("new service", [Change("a.py", "overwrite", b"one", b"two")], None),),
)


def stored(project, lock=LOCK, **changes):
    """Put a lock into a project, some of its keys replaced."""
    values = json.loads(locks.content(lock)) | changes
    file = project / locks.PATH
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(values))
    return values


def packed(content):
    return base64.b64encode(zlib.compress(content)).decode()


def entry(content=b"x"):
    return {"sha256": digest(content), "content": packed(content)}


def edit(path):
    return {"path": path, "sha256": None, "offset": 0, "inserted": 0, "removed": None}


def nested(depth):
    return [nested(depth - 1)] if depth else []


def test_a_lock_is_read_as_it_was_written(tmp_path):
    """Texts, whatever ends their lines, and other bytes."""
    stored(tmp_path)

    assert locks.find(tmp_path) == LOCK


def test_a_folder_without_a_lock_has_none(tmp_path):
    """That is no error: it may be anybody's."""
    assert locks.find(tmp_path) is None


HOSTILE = ["/etc/passwd", "../outside", "a/../../outside", "a\\b", "", "a\ud800", "a\nb", ".git/hooks/pre-commit", "sub/.GIT/config", locks.PATH]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_path_in_a_lock_is_refused(tmp_path, path):
    """Absolute, leading outside, into git's own folder or the lock's: before anything is done."""
    for changes in (
        {"files": {path: entry()}},
        {"records": [{"command": "new service", "before": None, "edits": [edit(path)]}]},
    ):
        stored(tmp_path, **changes)
        with pytest.raises(ConfigurationError, match=r"lock\.json: .* is not a path"):
            locks.find(tmp_path)


@pytest.mark.parametrize("link", [".loafer-kit", ".loafer-kit/lock.json"])
def test_a_lock_is_not_read_through_a_symbolic_link(tmp_path, link):
    """Neither the file nor its folder may be one."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    stored(elsewhere)
    project = tmp_path / "project"
    (project / link).parent.mkdir(parents=True)
    (project / link).symlink_to(elsewhere / link)

    with pytest.raises(ConfigurationError, match="symbolic link"):
        locks.find(project)


def test_a_path_of_a_lock_leads_through_no_symbolic_link(tmp_path):
    """The file that it would name is not even read."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a").write_bytes(b"x")
    project = tmp_path / "project"
    project.mkdir()
    (project / "link").symlink_to(tmp_path / "outside")

    lock = locks.Lock(locks.TemplateRef("service", ""), {}, {"link/a": b"x"})
    (found,) = updates.candidates(lock, Plan({}), project)
    assert (found.is_linked, found.ours, found.merged().writes) == (True, None, False)
    with pytest.raises(ConfigurationError, match="symbolic link"):
        writing.apply([Change("link/a", "remove", b"x", None)], project)
    assert (tmp_path / "outside/a").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"a": entry() | {"sha256": "0"}}},
        {"files": {"a": entry() | {"content": "no base64"}}},
        {"files": {"a": entry() | {"content": [1]}}},
        {"files": {"a": entry() | {"content": "eA=="}}},
        {"files": {"a": entry() | {"content": entry()["content"][:8]}}},
        {"files": {"a": {"sha256": 1}}},
        {"files": {"a": {}}},
        {"files": []},
        {"spec": []},
        {"template": {"name": "service"}},
        {"template": {"name": 1, "digest": ""}},
        {"records": [{"command": "x", "before": None, "edits": [edit("a") | {"offset": -1}]}]},
        {"records": [{"command": "x", "before": None, "edits": [edit("a") | {"offset": True}]}]},
        {"records": [{"command": "x", "before": [], "edits": []}]},
        {"records": [{"command": "x", "before": None, "edits": [edit("a"), edit("a")]}]},
        {"spec": {"a": nested(600)}},
        {"template": {"name": "x", "digest": "", "answers": {"a": nested(600)}}},
        {"records": [{"command": "x", "before": {"a": nested(600)}, "edits": []}]},
        {"format": "1"},
    ],
)
def test_a_damaged_lock_is_one_line(tmp_path, changes):
    """It says which file to restore."""
    stored(tmp_path, **changes)

    with pytest.raises(ConfigurationError, match=r"lock\.json is damaged .*restore it"):
        locks.find(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_a_lock_that_is_none_is_one_line(tmp_path, text):
    """Whatever stands in the file."""
    stored(tmp_path)
    (tmp_path / locks.PATH).write_text(text)

    with pytest.raises(ConfigurationError, match=r"lock\.json is damaged"):
        locks.find(tmp_path)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_lock_of_a_later_release_asks_for_an_upgrade(tmp_path, number):
    """Whether it can be read or not: no project is updated backwards."""
    stored(tmp_path, format=number, loafer_kit="9.9")

    with pytest.raises(ConfigurationError, match=r"written by loafer-kit '9\.9': upgrade"):
        locks.find(tmp_path)


@pytest.mark.parametrize("number", [0, 1, 3, 10**30])
def test_a_lock_of_an_unknown_format_is_one_line(tmp_path, number):
    """It says which format this release reads."""
    stored(tmp_path, format=number)

    with pytest.raises(
        ConfigurationError, match=rf"lock\.json: format {number} is unknown to .*2$"
    ):
        locks.find(tmp_path)


def test_contents_that_grow_without_bounds_are_refused(tmp_path, monkeypatch):
    """All of them together: a small lock cannot fill the memory."""
    monkeypatch.setattr(locks, "_MOST_BYTES", 3000)
    zeros = entry(bytes(1000))
    stored(tmp_path, files=dict.fromkeys("abc", zeros), records=[])
    assert len(locks.find(tmp_path).files) == 3

    edit_ = edit("a") | {"removed": packed(b"x")}
    for changes in (
        {"files": {"a": entry(bytes(3001))}},
        {"files": dict.fromkeys("abcd", zeros)},
        {"records": [{"command": "x", "before": None, "edits": [edit_]}]},
    ):
        stored(tmp_path, **({"files": dict.fromkeys("abc", zeros), "records": []} | changes))
        with pytest.raises(ConfigurationError, match=r"is damaged .*take more than 3000 bytes"):
            locks.find(tmp_path)


def test_a_lock_is_smaller_than_its_files(tmp_path):
    """Their contents are compressed; a large binary is kept by its hash alone."""
    text, binary = b"one line of a large text\n" * 100_000, bytes(1024 * 1024 + 1)
    files = locks.bases(tmp_path, {"text": text, "binary": binary, "small": b"\0"}, {})

    lock = replace(LOCK, files=files)
    assert len(locks.content(lock)) < 20_000
    assert files == {"text": text, "binary": Digest(digest(binary)), "small": b"\0"}
    assert locks.is_base(files["binary"], binary)
    assert not locks.is_base(files["binary"], b"x")


def test_an_empty_file_that_is_kept_by_its_hash_alone_is_not_edited(tmp_path):
    """It becomes what the template renders now."""
    (tmp_path / "key").touch()
    lock = replace(LOCK, files={"key": Digest(digest(b""))})

    [found] = updates.candidates(lock, Plan({"key": b"new"}), tmp_path)

    assert not found.is_edited
    assert found.merged().after == b"new"


contents = st.none() | st.binary(max_size=20) | st.text("ab\n", max_size=20).map(str.encode)


@given(contents, contents)
def test_what_was_done_can_be_undone(before, after):
    """From what the record holds, whatever the change was."""
    record = updates.record("x", [Change("a", "overwrite", before, after)], None)

    for edit in record.edits:
        assert edit.digest == (None if after is None else digest(after))
        assert updates.undone(edit, after).after == before
