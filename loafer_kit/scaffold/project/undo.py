"""Takes back the last command that wrote into a project."""

from collections.abc import Callable, Iterator
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import in_one_line
from loafer_kit.scaffold.project import history as records
from loafer_kit.scaffold.project import line_ends, locks, projects
from loafer_kit.scaffold.project.history import Edit, Record
from loafer_kit.scaffold.project.locks import Lock
from loafer_kit.scaffold.project.plans import Change, read
from loafer_kit.scaffold.project.projects import Generator
from loafer_kit.scaffold.spec.specs import Draft


def last(project: Path, lock: Lock, maker: Callable[[], Generator]) -> list[Change]:
    """The changes that take back the lock's last record, the lock's own among them.

    `maker` gives the template that made the project. ConfigurationError, naming the files, where one
    of them was edited since.
    """
    if not lock.records:
        raise ConfigurationError(f"{project / locks.PATH}: there is no command to take back")
    record = lock.records[-1]
    edits = list(_edits(record, lock))
    contents = {edit.path: read(project, edit.path) for edit in edits}
    edited = [edit.path for edit in edits if not _is_as_left(edit, contents[edit.path], lock)]
    if edited:
        raise ConfigurationError(
            "nothing was taken back: edited since "
            f"`loafer-kit {in_one_line(record.command)}`: "
            f"{', '.join(edited)}"
        )
    changed = [
        records.undone(edit, contents[edit.path])
        for edit in edits
        if contents[edit.path] is not None or edit.digest is None
    ]
    return [*changed, projects.lock_change(project, _before(project, lock, record, maker))]


def _edits(record: Record, lock: Lock) -> Iterator[Edit]:
    """What to undo; with the first record, also the files that updates have brought since."""
    yield from record.edits
    if record.before is None:
        for path in lock.files.keys() - {edit.path for edit in record.edits}:
            yield Edit(path, records.digest(lock.files[path]), 0, len(lock.files[path]), None)


def _is_as_left(edit: Edit, content: bytes | None, lock: Lock) -> bool:
    """Whether a file is as the command, or an update of an untouched file, left it."""
    if content is None:
        return edit.removed is None or edit.digest is None
    if edit.removed is None and content == line_ends.like(lock.files.get(edit.path), content):
        return True
    return records.as_left(edit, content) is not None


def _before(
    project: Path, lock: Lock, record: Record, maker: Callable[[], Generator]
) -> Lock | None:
    """The lock as it would be, had the command never run."""
    if record.before is None:
        return None
    spec = Draft(record.before, str(project / locks.PATH))
    rendering = maker().again(spec)
    return rendering.locked(lock.records[:-1])
