"""Changes to an existing folder, undone by a journal unless all of them succeed.

The journal is on disk before the first file changes, so that the next run can undo what a killed
one left half done. It may as well come with somebody's repository: it is obeyed only where a
project's own files are.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project.plans import (
    FOLDER,
    LOCK,
    Change,
    read,
    refuse_links,
    refuse_reserved,
)

_WORK = f"{FOLDER}/work"
_JOURNAL = "journal.json"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file that is changed: whether it was there, and the digest of what it is to be.

    `folders` are those that have to be made for it, innermost first.
    """

    path: str
    existed: bool
    digest: str | None
    folders: list[str]

    def __post_init__(self) -> None:
        if self.path != LOCK:
            refuse_reserved(self.path)
        above = {str(folder) for folder in PurePosixPath(self.path).parents[:-1]}
        if not above.issuperset(self.folders):
            raise ValueError(f"{self.path!a} is in none of its folders")


def write(target: Path, changes: Sequence[Change]) -> None:
    """Write and remove the changed files of a folder that exists: all of them, or none."""
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
    """The folders that held nothing else; the target itself stays."""
    for folder in file.relative_to(target).parents[:-1]:
        try:
            (target / folder).rmdir()
        except OSError:
            return


def make_executable(file: Path) -> None:
    """Let those run a file who may read it."""
    mode = file.stat().st_mode
    file.chmod(mode | (mode & 0o444) >> 2)


def recover(target: Path) -> None:
    """Undo what a run that was killed left half done; nothing to do as a rule."""
    refuse_links(target, f"{_WORK}/{_JOURNAL}")
    work = target / _WORK
    if not work.is_dir():
        return
    with locked(work, target):
        _roll_back(work, target)


def _prepare(work: Path, target: Path, changes: Sequence[Change]) -> None:
    """Everything that can fail for want of space or permission, before anything changes."""
    entries = []
    for index, change in enumerate(changes):
        if read(target, change.path) != change.before:
            raise ConfigurationError(
                f"{target / change.path} was edited meanwhile: nothing was written; run it again"
            )
        file = target / change.path
        new = work / f"{index}.new"
        if change.after is not None:
            new.write_bytes(change.after)
            if change.executable:
                make_executable(new)
        if change.before is not None:
            shutil.copy2(file, work / f"{index}.old")
            if change.after is not None:
                shutil.copymode(file, new)
        digest, folders = _digest(change.after), _missing_folders(target, file)
        entries.append(_Entry(change.path, change.before is not None, digest, folders))
    draft = work / "journal.draft"
    with draft.open("w", encoding="utf-8") as file_:
        json.dump([asdict(entry) for entry in entries], file_)
        file_.flush()
        os.fsync(file_.fileno())
    draft.rename(work / _JOURNAL)


def _missing_folders(target: Path, file: Path) -> list[str]:
    """The folders that writing a file will make, innermost first."""
    above = file.relative_to(target).parents
    return [folder.as_posix() for folder in above if not (target / folder).exists()]


@contextmanager
def _opened(target: Path) -> Iterator[Path]:
    """A folder for the work, on the target's own file system; rolls back on any exception."""
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


@contextmanager
def locked(work: Path, target: Path) -> Iterator[None]:
    """Keep others from writing into `target`, by a folder of ours that exists and is no link.

    ConfigurationError where another process does; when that ends, killed or not, its lock does too.
    """
    descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise _busy(target) from error
    finally:
        os.close(descriptor)


def _busy(target: Path) -> ConfigurationError:
    return ConfigurationError(f"another loafer-kit is writing into {target}")


def _roll_back(work: Path, target: Path) -> None:
    try:
        for index, entry in reversed([*enumerate(_entries(work))]):
            _put_back(entry, work / f"{index}.old", target)
    except OSError as error:
        raise ConfigurationError(
            f"{target} could not be put back as it was ({error}); the next run tries it again"
        ) from error
    _remove(work)


def _entries(work: Path) -> list[_Entry]:
    """What the journal lists; nothing when no file had been changed yet.

    ConfigurationError for one that we have not written.
    """
    journal = work / _JOURNAL
    try:
        return [_Entry(**entry) for entry in json.loads(journal.read_bytes())]
    except FileNotFoundError:
        return []
    except (ConfigurationError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"{journal} is no journal of loafer-kit's ({error}): remove {work}, which is left of a "
            "run that was killed, or came with the project"
        ) from error


def _put_back(entry: _Entry, old: Path, target: Path) -> None:
    """Undo one change, unless somebody has edited the file since."""
    file = target / entry.path
    if _digest(read(target, entry.path)) == entry.digest:
        if entry.existed:
            file.parent.mkdir(parents=True, exist_ok=True)
            if old.is_file() and not old.is_symlink():  # until it is back in its place
                old.replace(file)
        else:
            file.unlink()
    for folder in entry.folders:
        with suppress(OSError):
            (target / folder).rmdir()


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()


def _remove(work: Path) -> None:
    # First the journal: without it, what follows undoes nothing.
    (work / _JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(work, ignore_errors=True)
    with suppress(OSError):
        work.parent.rmdir()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
