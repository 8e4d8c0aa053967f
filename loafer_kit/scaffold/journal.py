"""Changes to an existing folder, undone by a journal unless all of them succeed.

The journal is on disk before the first file changes, so that the next run can undo what a killed
one left half done.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.plans import Change, refuse_links, refuse_outside

FOLDER = ".loafer-kit"
_JOURNAL = "journal.json"


def write(target: Path, changes: Sequence[Change]) -> None:
    """Write the changed files into a folder that exists: all of them, or none."""
    wanted = [change for change in changes if change.action != "unchanged"]
    if not wanted:
        return
    with _opened(target) as work:
        _prepare(work, target, wanted)
        for index, change in enumerate(wanted):
            (target / change.path).parent.mkdir(parents=True, exist_ok=True)
            (work / f"{index}.new").replace(target / change.path)


def recover(target: Path) -> None:
    """Undo what a run that was killed left half done; nothing to do as a rule."""
    refuse_links(target, f"{FOLDER}/work/{_JOURNAL}")
    work = target / FOLDER / "work"
    if not work.is_dir():
        return
    with _locked(work):
        _roll_back(work, target)


def _prepare(work: Path, target: Path, changes: Sequence[Change]) -> None:
    """Everything that can fail for want of space or permission, before anything changes."""
    entries = []
    for index, change in enumerate(changes):
        refuse_links(target, change.path)
        file = target / change.path
        new = work / f"{index}.new"
        new.write_bytes(change.after)
        if change.before is not None:
            shutil.copy2(file, work / f"{index}.old")
            shutil.copymode(file, new)
        entries.append(
            {
                "path": change.path,
                "existed": change.before is not None,
                "digest": hashlib.sha256(change.after).hexdigest(),
                "folders": _missing_folders(target, file),
            }
        )
    draft = work / "journal.draft"
    with draft.open("w", encoding="utf-8") as file_:
        json.dump(entries, file_)
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
    work = target / FOLDER / "work"
    try:
        work.mkdir(parents=True)
    except FileExistsError as error:
        raise _busy(target) from error
    try:
        with _locked(work):
            yield work
            _remove(work)
    except BaseException:
        with _uninterrupted():
            _roll_back(work, target)
        raise


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise _busy(work.parents[1]) from error
    finally:
        os.close(descriptor)


def _busy(target: Path) -> ConfigurationError:
    return ConfigurationError(f"another loafer-kit is writing into {target}")


def _roll_back(work: Path, target: Path) -> None:
    try:
        for index, entry in _entries(work):
            _put_back(entry, work / f"{index}.old", target)
    except OSError as error:
        raise ConfigurationError(
            f"{target} could not be put back as it was ({error}); the next run tries it again"
        ) from error
    _remove(work)


def _entries(work: Path) -> list[tuple[int, dict[str, Any]]]:
    """What the journal lists, last first; nothing when no file had been changed yet."""
    try:
        entries = json.loads((work / _JOURNAL).read_bytes())
    except FileNotFoundError:
        return []
    return list(enumerate(entries))[::-1]


def _put_back(entry: dict[str, Any], old: Path, target: Path) -> None:
    """Undo one change, unless somebody has edited the file since."""
    for path in (entry["path"], *entry["folders"]):
        refuse_outside(path)
    refuse_links(target, entry["path"])
    file = target / entry["path"]
    if _digest(file) == entry["digest"]:
        if entry["existed"]:
            old.replace(file)
        else:
            file.unlink()
    for folder in entry["folders"]:
        with suppress(OSError):
            (target / folder).rmdir()


def _digest(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


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
