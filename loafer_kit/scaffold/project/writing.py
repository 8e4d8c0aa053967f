"""Writes changes to disk: all of them or none, also when the process is killed.

A new folder is prepared beside its place and renamed. In an existing folder a journal reaches the
disk before the first file changes and leaves it after the last one, so the next command can settle
what a killed command left. A journal may come with a foreign repository: its paths are checked, and
it touches only places where a template's files may be.
"""

import errno
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from types import FrameType

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import escape_line
from loafer_kit.scaffold.project import journals
from loafer_kit.scaffold.project.journals import (
    IGNORE,
    IGNORED,
    JOURNAL,
    WORK,
    WRITES,
    Entry,
    Interruption,
    locked,
    refuse_linked,
    state,
)
from loafer_kit.scaffold.project.plans import (
    FOLDER,
    Change,
    is_executable,
    read,
)

_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def apply(changed: Sequence[Change], target: Path, command: str = "") -> None:
    """Make all changes, or none; ConfigurationError where a file is not what it was before.

    The journal names the command.
    """
    with _failures_in_one_line(target), termination_as_exception():
        if os.path.lexists(target):
            _write(target, changed, command)
        else:
            _publish(changed, target)


def recover(target: Path) -> Interruption | None:
    """Settle what a killed command left in a folder; usually there is nothing to settle.

    A complete command is left as it is, any other is undone. ConfigurationError if a file that it
    wrote was edited since.
    """
    if not target.is_dir():
        return None
    with _failures_in_one_line(target), termination_as_exception():
        _clear_staging(target)
        refuse_linked(target)
        if not any(os.path.lexists(target / place) for place in (JOURNAL, WORK, IGNORE)):
            return None
        with locked(target / FOLDER, target):
            return _settle(target)


@contextmanager
def written_after(change: Change, folder: Path) -> Iterator[None]:
    """Write one file in a folder after the block; if the block fails, the file stays as it was."""
    if change.after is None or not change.writes:
        yield
        return
    file = folder / change.path
    missing = [parent for parent in file.parents if not parent.exists()]
    new = file.with_name(f".{file.name}.loafer-kit")
    with _failures_in_one_line(file), termination_as_exception():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            new.write_bytes(change.after)
            if file.exists():
                shutil.copymode(file, new)
            yield
            new.replace(file)
        except BaseException:
            new.unlink(missing_ok=True)
            _remove_empty(missing)
            raise


# A new folder: staged beside its place, then renamed.


def _publish(changed: Sequence[Change], target: Path) -> None:
    missing = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    staging = _staging(target)
    try:
        staging.mkdir(parents=True, exist_ok=True)
        with locked(staging, target):
            _stage(changed, staging, target)
    except BaseException:
        _remove_empty(missing)
        raise


def _staging(target: Path) -> Path:
    """The staging folder; its name is fixed, so the next run finds what a killed run left."""
    place = target if target.name else target.absolute()
    return place.parent / f".{place.name}.loafer-kit"


def _stage(changed: Sequence[Change], staging: Path, target: Path) -> None:
    project = staging / "project"
    try:
        _empty(staging)
        (staging / ".gitignore").write_bytes(b"*\n")
        project.mkdir()
        for change in changed:
            if change.after is not None:
                file = project / change.path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(change.after)
                if change.executable:
                    _set_executable(file, True)
        project.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _clear_staging(target: Path) -> None:
    """Remove what a killed command left beside a folder that it had published."""
    staging = _staging(target)
    if staging.is_dir() and not staging.is_symlink():
        with locked(staging, target):
            shutil.rmtree(staging)


def _empty(folder: Path) -> None:
    for place in folder.iterdir():
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()


# An existing folder: written file by file, under a journal.


def _write(target: Path, changes: Sequence[Change], command: str) -> None:
    wanted = [change for change in changes if change.writes]
    if not wanted:
        return
    refuse_linked(target)
    folder = target / FOLDER
    folder.mkdir(exist_ok=True)
    with locked(folder, target):
        if (target / JOURNAL).exists() or (target / WORK).exists():
            raise ConfigurationError(f"a loafer-kit was killed in {target}: run the command again")
        try:
            _prepare(target, wanted, command)
            for index, change in enumerate(wanted):
                _make(change, target / WORK / f"{index}.new", target)
            _remove_work(target, is_complete=True)
        except BaseException:
            with _uninterrupted():
                _settle(target)
            raise


def _make(change: Change, new: Path, target: Path) -> None:
    file = target / change.path
    if change.after is None:
        file.unlink()
        _remove_empty([target / above for above in PurePosixPath(change.path).parents[:-1]])
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    new.replace(file)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove the folders that are empty, innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _set_executable(file: Path, executable: bool) -> None:
    """Allow execution to everyone who may read the file, or to nobody."""
    mode = file.stat().st_mode
    file.chmod(mode | (mode & 0o444) >> 2 if executable else mode & ~0o111)


def _prepare(target: Path, changes: Sequence[Change], command: str) -> None:
    """Do everything that can fail for lack of space or permission before any file changes."""
    (target / WORK).mkdir()
    if not read(target, IGNORE):
        name = f"{WRITES}{escape_line(command)}"
        (target / IGNORE).write_text(name + IGNORED, encoding="utf-8")
    entries = []
    for index, change in enumerate(changes):
        if read(target, change.path) != change.before:
            raise ConfigurationError(
                f"{target / change.path} was edited in the meantime: nothing was written; "
                "run the command again"
            )
        entries.append(_prepared(change, target, index))
    draft = target / WORK / "journal.draft"
    with draft.open("w", encoding="utf-8") as file:
        json.dump([asdict(entry) for entry in entries], file)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(target / JOURNAL)


def _prepared(change: Change, target: Path, index: int) -> Entry:
    file, work = target / change.path, target / WORK
    was_executable = is_executable(file)
    executable = was_executable if change.executable is None else change.executable
    if change.before is not None:
        shutil.copy2(file, work / f"{index}.old")
    if change.after is not None:
        new = work / f"{index}.new"
        new.write_bytes(change.after)
        if change.before is not None:
            shutil.copymode(file, new)
        if change.executable is not None:
            _set_executable(new, change.executable)
    above = PurePosixPath(change.path).parents[:-1]
    return Entry(
        path=change.path,
        before=state(change.before, was_executable),
        after=state(change.after, executable),
        folders=[str(folder) for folder in above if not (target / folder).exists()],
    )


# The journal that a killed command left.


def _settle(target: Path) -> Interruption | None:
    """Complete or undo what a killed command left, then remove its journal and its work."""
    found = journals.found(target)
    if found is None or found.is_complete:
        is_complete = found is not None
    else:
        is_complete = False
        if found.edited:
            raise ConfigurationError(f"{target}: {found}: nothing was written; {found.remedy}")
        try:
            for index, entry in reversed([*enumerate(journals.entries(target))]):
                _put_back(entry, index, target)
        except OSError as error:
            raise ConfigurationError(
                f"{target} could not be restored ({error}); the next run tries again"
            ) from error
    _remove_work(target, is_complete=is_complete)
    return found


def _put_back(entry: Entry, index: int, target: Path) -> None:
    """Undo one change, if it was made."""
    file, old = target / entry.path, target / WORK / f"{index}.old"
    if journals.progress(entry, index, target) == "written":
        if entry.before is None:
            file.unlink(missing_ok=True)
        elif old.is_file() and not old.is_symlink():  # it may be back in its place already
            file.parent.mkdir(parents=True, exist_ok=True)
            old.replace(file)
    _remove_empty([target / folder for folder in entry.folders])


def _remove_work(target: Path, *, is_complete: bool) -> None:
    """Remove the journal and the work.

    The order lets the next command see what is over: work without a journal had changed nothing,
    and the file that names a complete command goes last.
    """
    work = target / WORK
    if work.exists():
        _empty(work)
        if is_complete:
            work.rmdir()
    (target / JOURNAL).unlink(missing_ok=True)
    if journals.command(target) is not None:
        (target / IGNORE).unlink()
    _remove_empty([work, target / FOLDER])


# Failures and signals.


@contextmanager
def _uninterrupted() -> Iterator[None]:
    signals = {signal.SIGINT, *_SIGNALS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _failures_in_one_line(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or target
        why = str(error.strerror or error)
        if error.errno in _REFUSALS:
            where = _unwritable(error, target)
            why += "; make it writable, or use another folder"
        raise ConfigurationError(f"nothing was written: {where}: {why}") from error


def _unwritable(error: OSError, target: Path) -> Path:
    """The user's own file or folder, instead of a work file inside it."""
    place = Path(error.filename2 or error.filename or target)
    while {FOLDER, _staging(target).name} & set(place.parts):
        place = place.parent
    return place if place.name else place.absolute()


@contextmanager
def termination_as_exception() -> Iterator[None]:
    """Let SIGTERM and SIGHUP undo unfinished work, as Ctrl-C does."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        before = {number: signal.signal(number, leave) for number in _SIGNALS}
    except ValueError:  # outside the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
