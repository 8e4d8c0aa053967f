"""Writes changes to disk: all of them or none, also when the process is killed.

A new folder is prepared beside its place and renamed. In an existing folder a journal reaches the
disk before the first file changes, so that the next run can undo what a killed run left half done.
A journal may come with a foreign repository: its paths are checked, and it touches only places
where a template's files may be.
"""

import errno
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from types import FrameType

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import locks
from loafer_kit.scaffold.project.plans import (
    FOLDER,
    Change,
    digest,
    read,
    refuse_links,
    refuse_reserved,
)

_WORK = f"{FOLDER}/work"
_JOURNAL = "journal.json"
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def apply(changed: Sequence[Change], target: Path) -> None:
    """Make all changes, or none; ConfigurationError where a file is not what it was before."""
    with _failures_in_one_line(target), termination_as_exception():
        if os.path.lexists(target):
            _write(target, changed)
        else:
            _publish(changed, target)


def recover(target: Path) -> None:
    """Undo what a killed run left half done in a folder; usually there is nothing to undo."""
    if target.is_dir():
        with _failures_in_one_line(target), termination_as_exception():
            refuse_links(target, f"{_WORK}/{_JOURNAL}")
            work = target / _WORK
            if work.is_dir():
                with locked(work, target):
                    _roll_back(work, target)


@contextmanager
def locked(work: Path, target: Path) -> Iterator[None]:
    """Keep other processes from writing into `target` by locking a folder of loafer-kit's.

    ConfigurationError where another process holds the lock; a lock ends with its process.
    """
    descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise _busy(target) from error
    finally:
        os.close(descriptor)


# A new folder: staged beside its place, then renamed.


def _publish(changed: Sequence[Change], target: Path) -> None:
    missing = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    staging = _staging(target)
    try:
        staging.mkdir(parents=True, exist_ok=True)
        with locked(staging, target):
            _stage(changed, staging, target)
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def _staging(target: Path) -> Path:
    """The staging folder; its name is fixed, so the next run finds what a killed run left."""
    return target.parent / f".{target.name}.loafer-kit"


def _stage(changed: Sequence[Change], staging: Path, target: Path) -> None:
    try:
        _empty(staging)
        for change in changed:
            if change.after is not None:
                file = staging / change.path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(change.after)
                if change.executable:
                    _make_executable(file)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _empty(folder: Path) -> None:
    for place in folder.iterdir():
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()


# An existing folder: written file by file, under a journal.


@dataclass(frozen=True, slots=True)
class _Entry:
    """One changed file in the journal: whether it existed, and the digest it gets.

    `folders` are those that writing it creates, innermost first.
    """

    path: str
    existed: bool
    digest: str | None
    folders: list[str]

    def __post_init__(self) -> None:
        if self.path != locks.PATH:
            refuse_reserved(self.path)
        above = {str(folder) for folder in PurePosixPath(self.path).parents[:-1]}
        if not above.issuperset(self.folders):
            raise ValueError(f"{self.path!a} lists a folder that does not contain it")


def _write(target: Path, changes: Sequence[Change]) -> None:
    wanted = [change for change in changes if change.writes]
    if not wanted:
        return
    with _opened(target) as work:
        _prepare(work, target, wanted)
        for index, change in enumerate(wanted):
            _make(change, work / f"{index}.new", target)


def _make(change: Change, new: Path, target: Path) -> None:
    file = target / change.path
    if change.after is None:
        file.unlink()
        _remove_empty_folders(file, target)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    new.replace(file)


def _remove_empty_folders(file: Path, target: Path) -> None:
    """Remove the folders above a file that are now empty, up to the target."""
    for folder in file.relative_to(target).parents[:-1]:
        try:
            (target / folder).rmdir()
        except OSError:
            return


def _make_executable(file: Path) -> None:
    """Allow execution to everyone who may read the file."""
    mode = file.stat().st_mode
    file.chmod(mode | (mode & 0o444) >> 2)


@contextmanager
def _opened(target: Path) -> Iterator[Path]:
    """A work folder on the target's own file system; any exception rolls the changes back."""
    refuse_links(target, f"{_WORK}/{_JOURNAL}")
    work = target / _WORK
    try:
        work.mkdir(parents=True)
    except FileExistsError as error:
        raise _busy(target) from error
    try:
        with locked(work, target):
            yield work
            _remove(work)
    except BaseException:
        with _uninterrupted():
            _roll_back(work, target)
        raise


def _prepare(work: Path, target: Path, changes: Sequence[Change]) -> None:
    """Do everything that can fail for lack of space or permission before any file changes."""
    entries = []
    for index, change in enumerate(changes):
        if read(target, change.path) != change.before:
            raise ConfigurationError(
                f"{target / change.path} was edited in the meantime: nothing was written; "
                "run the command again"
            )
        file = target / change.path
        new = work / f"{index}.new"
        if change.after is not None:
            new.write_bytes(change.after)
            if change.executable:
                _make_executable(new)
        if change.before is not None:
            shutil.copy2(file, work / f"{index}.old")
            if change.after is not None:
                shutil.copymode(file, new)
        existed, folders = change.before is not None, _missing_folders(target, file)
        entries.append(_Entry(change.path, existed, digest(change.after), folders))
    draft = work / "journal.draft"
    with draft.open("w", encoding="utf-8") as file_:
        json.dump([asdict(entry) for entry in entries], file_)
        file_.flush()
        os.fsync(file_.fileno())
    draft.rename(work / _JOURNAL)


def _missing_folders(target: Path, file: Path) -> list[str]:
    above = file.relative_to(target).parents
    return [folder.as_posix() for folder in above if not (target / folder).exists()]


def _busy(target: Path) -> ConfigurationError:
    return ConfigurationError(f"another loafer-kit is writing into {target}")


def _roll_back(work: Path, target: Path) -> None:
    try:
        for index, entry in reversed([*enumerate(_entries(work))]):
            _put_back(entry, work / f"{index}.old", target)
    except OSError as error:
        raise ConfigurationError(
            f"{target} could not be restored ({error}); the next run tries again"
        ) from error
    _remove(work)


def _entries(work: Path) -> list[_Entry]:
    """The journal's entries; none if no file had been changed yet.

    ConfigurationError for a journal that loafer-kit did not write.
    """
    journal = work / _JOURNAL
    try:
        return [_Entry(**entry) for entry in json.loads(journal.read_bytes())]
    except FileNotFoundError:
        return []
    except (ConfigurationError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"{journal} is not a valid journal ({error}): remove {work}, which a killed run left "
            "behind or which came with the project"
        ) from error


def _put_back(entry: _Entry, old: Path, target: Path) -> None:
    """Undo one change, unless the file was edited since."""
    file = target / entry.path
    if digest(read(target, entry.path)) == entry.digest:
        if entry.existed:
            file.parent.mkdir(parents=True, exist_ok=True)
            if old.is_file() and not old.is_symlink():  # it may be back in its place already
                old.replace(file)
        else:
            file.unlink()
    for folder in entry.folders:
        with suppress(OSError):
            (target / folder).rmdir()


def _remove(work: Path) -> None:
    # The journal goes first: without it, the leftovers undo nothing.
    (work / _JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(work, ignore_errors=True)
    with suppress(OSError):
        work.parent.rmdir()


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
