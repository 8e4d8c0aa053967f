"""What an addition changes in a project: all of it, recorded in the lock, or nothing."""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.scaffold.project import history as records
from loafer_kit.scaffold.project import locks, projects
from loafer_kit.scaffold.project.plans import Change, change, read

#: From a file's path and its content, or None, to its content with the addition.
Apply = Callable[[str, bytes | None], bytes | None]


class UnplacedError(LoaferKitError):
    """One file's code is not recognised; `snippet` is what it lacks."""

    def __init__(self, path: str, why: str, snippet: str) -> None:
        self.path = path
        self.why = why
        self.snippet = snippet
        super().__init__(f"{path}: {why}; it lacks\n\n{_indented(snippet)}")


class LeftOutError(LoaferKitError):
    """What the addition changes in a file cannot be merged with what was edited there."""


class AdditionError(LoaferKitError):
    """Nothing was added: `unplaced` says what belongs where."""

    def __init__(self, unplaced: Sequence[UnplacedError]) -> None:
        self.unplaced = tuple(unplaced)
        told = "\n\n".join(map(str, unplaced))
        super().__init__(
            f"nothing was written, as not all of the code is recognised. Add by hand what follows, "
            f"then run the command again for the rest.\n\n{told}"
        )


def changes(project: Path, paths: Iterable[str], apply: Apply) -> tuple[Change, ...]:
    """The changes of an addition; AdditionError where some of the code is not recognised."""
    changed: list[Change] = []
    unplaced: list[UnplacedError] = []
    for path in sorted(paths):
        before = read(project, path)
        try:
            after = apply(path, before)
        except UnplacedError as error:
            unplaced.append(error)
        except LeftOutError:
            changed.append(Change(path, "keep", before, before))
        else:
            if after is not None:
                changed.append(change(path, before, after))
    if unplaced:
        raise AdditionError(unplaced)
    return tuple(changed)


def recorded(
    project: Path, changed: Sequence[Change], command: str, rebase: Apply | None = None
) -> tuple[Change, ...]:
    """The changes with that of the lock, in which they are recorded as one command.

    `rebase` makes the same addition to the files that the lock keeps as the template's own.
    """
    lock = locks.find(project)
    if lock is None or not any(item.writes for item in changed):
        return tuple(changed)
    record = records.record(command, changed, lock.spec)
    lock = replace(lock, spec=_spec(changed, lock.spec), records=(*lock.records, record))
    if rebase is not None:
        lock = replace(lock, files=_rebased(lock.files, changed, rebase))
    return (*changed, projects.lock_change(project, lock))


def _rebased(
    files: Mapping[str, bytes], changed: Sequence[Change], rebase: Apply
) -> Mapping[str, bytes]:
    rebased = dict(files)
    for path in {*files, *(item.path for item in changed)}:
        with suppress(LeftOutError, UnplacedError):
            after = rebase(path, files.get(path))
            if after is not None:
                rebased[path] = after
    return rebased


def _spec(changed: Sequence[Change], before: Mapping[str, Any]) -> Mapping[str, Any]:
    for item in changed:
        if item.path == projects.SPEC and item.after is not None:
            return tomllib.loads(item.after.decode("utf-8-sig"))
    return before


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in text.split("\n"))
