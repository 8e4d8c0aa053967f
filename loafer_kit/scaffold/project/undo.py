"""Undoes the last command that wrote into a project."""

from collections.abc import Callable, Iterator
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import escape_line
from loafer_kit.scaffold.project import history, locks, projects
from loafer_kit.scaffold.project.history import Edit, Record
from loafer_kit.scaffold.project.locks import Lock
from loafer_kit.scaffold.project.plans import Change, digest, is_linked, read
from loafer_kit.scaffold.project.projects import Generator
from loafer_kit.scaffold.spec.specs import Draft


def last(project: Path, lock: Lock, generator: Callable[[], Generator]) -> list[Change]:
    """The changes that undo the lock's last record, including the change of the lock.

    `generator` returns the project's generator; it is called only if the lock needs a rendering.
    ConfigurationError names the files that were edited since.
    """
    if not lock.records:
        raise ConfigurationError(f"{project / locks.PATH}: there is no command to undo")
    record = lock.records[-1]
    edits = list(_edits(record, lock))
    linked = {edit.path for edit in edits if is_linked(project, edit.path)}
    contents = {edit.path: read(project, edit.path) for edit in edits if edit.path not in linked}
    edited = [
        edit.path
        for edit in edits
        if edit.path in linked or not _is_as_left(edit, contents[edit.path], lock)
    ]
    if edited:
        raise ConfigurationError(
            f"nothing was undone: edited since `loafer-kit {escape_line(record.command)}`: "
            f"{', '.join(edited)}"
        )
    changed = [
        history.undone(edit, contents[edit.path])
        for edit in edits
        if contents[edit.path] is not None or edit.digest is None
    ]
    return [*changed, projects.lock_change(project, _before(project, lock, record, generator))]


def _edits(record: Record, lock: Lock) -> Iterator[Edit]:
    """The record's edits; for the first record also the files that updates created since."""
    yield from record.edits
    if record.before is None:
        for path in lock.files.keys() - {edit.path for edit in record.edits}:
            base = lock.files[path]
            yield Edit(path, base if isinstance(base, str) else digest(base), 0, 0, None)


def _is_as_left(edit: Edit, content: bytes | None, lock: Lock) -> bool:
    """Whether a file is as the command left it, or as an update left it without other edits."""
    if content is None:
        return edit.removed is None or edit.digest is None
    if edit.removed is None and locks.is_base(lock.files.get(edit.path), content):
        return True
    return history.as_left(edit, content) is not None


def _before(
    project: Path, lock: Lock, record: Record, generator: Callable[[], Generator]
) -> Lock | None:
    """The lock as it would be if the command had never run."""
    if record.before is None:
        return None
    spec = Draft(record.before, str(project / locks.PATH))
    return generator().again(spec).locked(project, lock, lock.records[:-1])
