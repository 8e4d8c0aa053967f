"""Publishes a plan: a new folder whole or not at all, an existing one through a journal."""

import errno
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import journal
from loafer_kit.scaffold.project.plans import FOLDER, Change, Plan, changes


def commit(plan: Plan, target: Path, *, force: bool = False) -> tuple[Change, ...]:
    """Write a plan into a folder and return what changed.

    A folder that exists is only written into with `force`. Whatever goes wrong on the way, an
    interrupt included, leaves everything as it was.
    """
    if os.path.lexists(target) and not force:
        raise ConfigurationError(f"{target} exists; --force writes into it, file by file")
    recover(target)
    changed = changes(plan, target)
    apply(changed, target)
    return changed


def apply(changed: Sequence[Change], target: Path) -> None:
    """Make all changes, or none; ConfigurationError where a file is not what it was before."""
    with _failures_in_one_line(target), termination_as_exception():
        if os.path.lexists(target):
            journal.write(target, changed)
        else:
            _publish(changed, target)


def recover(target: Path) -> None:
    """Undo what a run that was killed left half done in a folder; nothing to do as a rule."""
    if target.is_dir():
        with _failures_in_one_line(target), termination_as_exception():
            journal.recover(target)


def _publish(changed: Sequence[Change], target: Path) -> None:
    missing = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    staging = _staging(target)
    try:
        staging.mkdir(parents=True, exist_ok=True)
        with journal.locked(staging, target):
            _stage(changed, staging, target)
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def _staging(target: Path) -> Path:
    """Always the same name: a run that was killed leaves it to the next one."""
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
                    journal.make_executable(file)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _empty(folder: Path) -> None:
    for place in folder.iterdir():
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()


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
    """The user's own file or folder: what is made ready within it says nothing to anybody."""
    place = Path(error.filename2 or error.filename or target)
    while {FOLDER, _staging(target).name} & set(place.parts):
        place = place.parent
    return place if place.name else place.absolute()


@contextmanager
def termination_as_exception() -> Iterator[None]:
    """Let SIGTERM and SIGHUP undo what was begun, as Ctrl-C does."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        before = {number: signal.signal(number, leave) for number in _SIGNALS}
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
