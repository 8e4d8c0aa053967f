"""The commands that a lock records: what each changed, and how the last one is undone."""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import escape_line
from loafer_kit.scaffold.project import locks, projects, texts
from loafer_kit.scaffold.project.locks import Edit, Lock, Record
from loafer_kit.scaffold.project.plans import Change, change, digest, is_linked, read
from loafer_kit.scaffold.project.projects import Generator
from loafer_kit.scaffold.spec.specs import Draft


def record(command: str, changes: Iterable[Change], before: Mapping[str, object] | None) -> Record:
    """The record of a command that makes these changes; the lock's own change is not recorded."""
    return Record(command, tuple(_edit(item) for item in changes if item.writes), before)


def recorded(lock: Lock, command: str, changes: Sequence[Change]) -> Lock:
    """The lock with a record of a command, and with the spec that its changes leave."""
    spec = lock.spec
    for item in changes:
        if item.path == projects.SPEC and item.after is not None:
            spec = tomllib.loads(item.after.decode("utf-8-sig"))
    records = (*lock.records, record(command, changes, lock.spec))
    return replace(lock, spec=spec, records=records)


def last(project: Path, lock: Lock, generator: Callable[[], Generator]) -> list[Change]:
    """The changes that undo the lock's last record, including the change of the lock.

    `generator` returns the project's generator; it is called only if the lock needs a rendering.
    ConfigurationError names the files that were edited since.
    """
    if not lock.records:
        raise ConfigurationError(f"{project / locks.PATH}: there is no command to undo")
    newest = lock.records[-1]
    edits = {edit.path: edit for edit in _edits(newest, lock)}
    contents = {path: read(project, path) for path in edits if not is_linked(project, path)}
    edited = [
        path
        for path, edit in edits.items()
        if path not in contents or not _is_as_left(edit, contents[path], lock)
    ]
    if edited:
        raise ConfigurationError(
            f"nothing was undone: edited since `loafer-kit {escape_line(newest.command)}`: "
            f"{', '.join(edited)}"
        )
    changed = [
        undone(edit, contents[path])
        for path, edit in edits.items()
        if contents[path] is not None or edit.digest is None
    ]
    return [*changed, projects.lock_change(project, _before(project, lock, newest, generator))]


def _edits(newest: Record, lock: Lock) -> Iterator[Edit]:
    """The record's edits; for the first record also the files that updates created since."""
    yield from newest.edits
    if newest.before is None:
        for path in sorted(lock.files.keys() - {edit.path for edit in newest.edits}):
            yield Edit(path, locks.digest_of(lock.files[path]), 0, 0, None)


def _is_as_left(edit: Edit, content: bytes | None, lock: Lock) -> bool:
    """Whether a file is as the command left it, or as an update left it without other edits."""
    if content is None:
        return edit.removed is None or edit.digest is None
    if edit.removed is None and locks.is_base(lock.files.get(edit.path), content):
        return True
    return texts.form_with(edit.digest, content) is not None


def _before(
    project: Path, lock: Lock, newest: Record, generator: Callable[[], Generator]
) -> Lock | None:
    """The lock as it would be if the command had never run."""
    if newest.before is None:
        return None
    spec = Draft(newest.before, str(project / locks.PATH))
    return generator().again(spec).locked(project, lock, lock.records[:-1])


def undone(edit: Edit, content: bytes | None) -> Change:
    """The change that undoes an edit in a file that was not edited since; its line ends stay."""
    if edit.removed is None:
        return Change(edit.path, "remove", content, None)
    left = texts.form_with(edit.digest, content or b"") or b""
    before = left[: edit.offset] + edit.removed + left[edit.offset + edit.inserted :]
    if left != content:
        before = texts.like(before, content)
    return change(edit.path, content, before)


def _edit(item: Change) -> Edit:
    before, after = item.before or b"", item.after or b""
    start = texts.common_length(before, after)
    end = texts.common_length(before[start:][::-1], after[start:][::-1])
    return Edit(
        path=item.path,
        digest=None if item.after is None else digest(item.after),
        offset=start,
        inserted=len(after) - start - end,
        removed=None if item.before is None else before[start : len(before) - end],
    )
