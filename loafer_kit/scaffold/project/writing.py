"""Writes changes to disk: all of them or none, also when the process is killed.

A new folder is prepared beside its place and renamed. In an existing folder a journal reaches the
disk before the first file changes and leaves it after the last one, so the next command can settle
what a killed command left. A journal may come with a foreign repository: its paths are checked, and
it touches only places where a template's files may be.
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
from typing import Literal

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import escape_line
from loafer_kit.scaffold.project import locks
from loafer_kit.scaffold.project.plans import (
    FOLDER,
    Change,
    digest,
    is_executable,
    read,
    refuse_links,
    refuse_reserved,
)

JOURNAL = f"{FOLDER}/journal.json"
_WORK = f"{FOLDER}/work"
# Keeps the work of a killed command out of git, and names the command.
_IGNORE = f"{FOLDER}/.gitignore"
_WRITES = "# Written here by loafer-kit "
_IGNORED = "\n/.gitignore\n/journal.json\n/work/\n"
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Interruption:
    """A command that was killed while it wrote: how many of its files it had written.

    It is complete if it had written all of them; `edited` are those that were edited since.
    """

    command: str
    written: int
    files: int
    is_complete: bool
    edited: tuple[str, ...]

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.is_complete:
            return "the next command that writes clears up what it left"
        if self.edited:
            return (
                f"edited since: {', '.join(map(escape_line, self.edited))}; undo these edits and "
                f"run the command again, or remove {JOURNAL} to keep every file as it is now; "
                f"{_WORK} has the files as they were"
            )
        return "run it again; it first undoes what it left"

    def __str__(self) -> str:
        command = f"`{escape_line(f'loafer-kit {self.command}'.rstrip())}`"
        if self.is_complete:
            return f"{command} was interrupted after its last file"
        return f"{command} was interrupted after {self.written} of {self.files} files"


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
        _refuse_links(target)
        if not any(os.path.lexists(target / place) for place in (JOURNAL, _WORK, _IGNORE)):
            return None
        with locked(target / FOLDER, target):
            return _settle(target)


def interruption(target: Path) -> Interruption | None:
    """The command that was killed in a folder and is not settled yet; nothing is written."""
    _refuse_links(target)
    if not (target / JOURNAL).exists():
        return None
    with locked(target / FOLDER, target):
        return _found(target)


@contextmanager
def written_after(content: bytes, file: Path) -> Iterator[None]:
    """Put one file in place after the block; if the block fails, the file stays as it was."""
    missing = [folder for folder in file.parents if not folder.exists()]
    new = file.with_name(f".{file.name}.loafer-kit")
    with _failures_in_one_line(file), termination_as_exception():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            new.write_bytes(content)
            if file.exists():
                shutil.copymode(file, new)
            yield
            new.replace(file)
        except BaseException:
            new.unlink(missing_ok=True)
            _remove_empty(missing)
            raise


@contextmanager
def locked(folder: Path, target: Path) -> Iterator[None]:
    """Keep other processes from writing into `target` by locking a folder of loafer-kit's.

    ConfigurationError where another process holds the lock; a lock ends with its process.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigurationError(f"another loafer-kit is writing into {target}") from error
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


@dataclass(frozen=True, slots=True)
class _Entry:
    """One changed file in the journal: its states before and after the command.

    `folders` are those that writing it creates, innermost first.
    """

    path: str
    before: str | None
    after: str | None
    folders: list[str]

    def __post_init__(self) -> None:
        if self.path != locks.PATH:
            refuse_reserved(self.path)
        above = {str(folder) for folder in PurePosixPath(self.path).parents[:-1]}
        if not above.issuperset(self.folders):
            raise ValueError(f"{self.path!a} lists a folder that does not contain it")


def _refuse_links(target: Path) -> None:
    for place in (JOURNAL, f"{_WORK}/journal.draft"):
        refuse_links(target, place)


def _state(content: bytes | None, executable: bool) -> str | None:
    return None if content is None else f"{digest(content)}{'+x' if executable else ''}"


def _write(target: Path, changes: Sequence[Change], command: str) -> None:
    wanted = [change for change in changes if change.writes]
    if not wanted:
        return
    _refuse_links(target)
    folder = target / FOLDER
    folder.mkdir(exist_ok=True)
    with locked(folder, target):
        if (target / JOURNAL).exists() or (target / _WORK).exists():
            raise ConfigurationError(f"a loafer-kit was killed in {target}: run the command again")
        try:
            _prepare(target, wanted, command)
            for index, change in enumerate(wanted):
                _make(change, target / _WORK / f"{index}.new", target)
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
    (target / _WORK).mkdir()
    if not read(target, _IGNORE):
        name = f"{_WRITES}{escape_line(command)}"
        (target / _IGNORE).write_text(name + _IGNORED, encoding="utf-8")
    entries = []
    for index, change in enumerate(changes):
        if read(target, change.path) != change.before:
            raise ConfigurationError(
                f"{target / change.path} was edited in the meantime: nothing was written; "
                "run the command again"
            )
        entries.append(_prepared(change, target, index))
    draft = target / _WORK / "journal.draft"
    with draft.open("w", encoding="utf-8") as file:
        json.dump([asdict(entry) for entry in entries], file)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(target / JOURNAL)


def _prepared(change: Change, target: Path, index: int) -> _Entry:
    file, work = target / change.path, target / _WORK
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
    return _Entry(
        path=change.path,
        before=_state(change.before, was_executable),
        after=_state(change.after, executable),
        folders=[str(folder) for folder in above if not (target / folder).exists()],
    )


# The journal that a killed command left.


def _settle(target: Path) -> Interruption | None:
    """Complete or undo what a killed command left, then remove its journal and its work."""
    found = _found(target)
    if found is None or found.is_complete:
        is_complete = found is not None
    else:
        is_complete = False
        if found.edited:
            raise ConfigurationError(f"{target}: {found}: nothing was written; {found.remedy}")
        try:
            for index, entry in reversed([*enumerate(_journal(target))]):
                _put_back(entry, index, target)
        except OSError as error:
            raise ConfigurationError(
                f"{target} could not be restored ({error}); the next run tries again"
            ) from error
    _remove_work(target, is_complete=is_complete)
    return found


def _found(target: Path) -> Interruption | None:
    """The killed command; None if it had not changed any file."""
    command, entries = _command(target), _journal(target)
    if not entries:
        is_over = command is not None and not (target / _WORK).exists()
        return Interruption(command or "", 0, 0, True, ()) if is_over else None
    progress = [_progress(entry, index, target) for index, entry in enumerate(entries)]
    return Interruption(
        command=command or "",
        written=len(entries) - progress.count("untouched"),
        files=len(entries),
        is_complete=progress[-1] == "written",  # the files are written in this order
        edited=tuple(
            entry.path for entry, at in zip(entries, progress, strict=True) if at == "edited"
        ),
    )


def _command(target: Path) -> str | None:
    """The command that writes, None if a person wrote the file that should name it.

    The file is empty where a command was killed, or a disk full, before it was written.
    """
    content = read(target, _IGNORE)
    text = (content or b"").decode(errors="replace")
    is_ours = content is not None and (text == "" or text.startswith(_WRITES))
    return text.partition("\n")[0].removeprefix(_WRITES) if is_ours else None


def _progress(entry: _Entry, index: int, target: Path) -> Literal["untouched", "written", "edited"]:
    """How far the command came with a file; it may have been edited after that."""
    now = _state(read(target, entry.path), is_executable(target / entry.path))
    if now == entry.after:
        return "written"
    is_new_left = entry.after is None or (target / _WORK / f"{index}.new").exists()
    return "untouched" if now == entry.before or is_new_left else "edited"


def _journal(target: Path) -> list[_Entry]:
    """The files of the journal; none if the command had not changed any yet.

    ConfigurationError for a journal that loafer-kit did not write.
    """
    content = read(target, JOURNAL)
    try:
        return [_Entry(**entry) for entry in json.loads(b"[]" if content is None else content)]
    except (ConfigurationError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"{target / JOURNAL} is not a valid journal ({error}): remove it; a killed command "
            "left it behind, or it came with the project"
        ) from error


def _put_back(entry: _Entry, index: int, target: Path) -> None:
    """Undo one change, if it was made."""
    file, old = target / entry.path, target / _WORK / f"{index}.old"
    if _progress(entry, index, target) == "written":
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
    work = target / _WORK
    if work.exists():
        _empty(work)
        if is_complete:
            work.rmdir()
    (target / JOURNAL).unlink(missing_ok=True)
    if _command(target) is not None:
        (target / _IGNORE).unlink()
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
