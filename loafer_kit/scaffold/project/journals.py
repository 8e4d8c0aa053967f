"""The journal of a command that writes: what it does to each file, and how far it came.

A journal may come with a foreign repository: its paths are checked.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import escape_line
from loafer_kit.scaffold.project import locks
from loafer_kit.scaffold.project.plans import (
    FOLDER,
    digest,
    is_executable,
    read,
    refuse_links,
    refuse_reserved,
)

JOURNAL = f"{FOLDER}/journal.json"
WORK = f"{FOLDER}/work"
# Keeps the work of a killed command out of git, and names the command.
IGNORE = f"{FOLDER}/.gitignore"
WRITES = "# Written here by loafer-kit "
IGNORED = "\n/.gitignore\n/journal.json\n/work/\n"


@dataclass(frozen=True, slots=True)
class Entry:
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
                f"{WORK} has the files as they were"
            )
        return "run it again; it first undoes what it left"

    def __str__(self) -> str:
        command = f"`{escape_line(f'loafer-kit {self.command}'.rstrip())}`"
        if self.is_complete:
            return f"{command} was interrupted after its last file"
        return f"{command} was interrupted after {self.written} of {self.files} files"


def interruption(target: Path) -> Interruption | None:
    """The command that was killed in a folder and is not settled yet; nothing is written."""
    refuse_linked(target)
    if not (target / JOURNAL).exists():
        return None
    with locked(target / FOLDER, target):
        return found(target)


def found(target: Path) -> Interruption | None:
    """The killed command; None if it had not changed any file."""
    name, files = command(target), entries(target)
    if not files:
        is_over = name is not None and not (target / WORK).exists()
        return Interruption(name or "", 0, 0, True, ()) if is_over else None
    come = [progress(entry, index, target) for index, entry in enumerate(files)]
    return Interruption(
        command=name or "",
        written=len(files) - come.count("untouched"),
        files=len(files),
        is_complete=come[-1] == "written",  # the files are written in this order
        edited=tuple(entry.path for entry, at in zip(files, come, strict=True) if at == "edited"),
    )


def command(target: Path) -> str | None:
    """The command that writes, None if a person wrote the file that should name it.

    The file is empty where a command was killed, or a disk full, before it was written.
    """
    content = read(target, IGNORE)
    text = (content or b"").decode(errors="replace")
    is_ours = content is not None and (text == "" or text.startswith(WRITES))
    return text.partition("\n")[0].removeprefix(WRITES) if is_ours else None


def progress(entry: Entry, index: int, target: Path) -> Literal["untouched", "written", "edited"]:
    """How far the command came with a file; it may have been edited after that."""
    now = state(read(target, entry.path), is_executable(target / entry.path))
    if now == entry.after:
        return "written"
    is_new_left = entry.after is None or (target / WORK / f"{index}.new").exists()
    return "untouched" if now == entry.before or is_new_left else "edited"


def entries(target: Path) -> list[Entry]:
    """The files of the journal; none if the command had not changed any yet.

    ConfigurationError for a journal that loafer-kit did not write.
    """
    content = read(target, JOURNAL)
    try:
        return [Entry(**entry) for entry in json.loads(b"[]" if content is None else content)]
    except (ConfigurationError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"{target / JOURNAL} is not a valid journal ({error}): remove it; a killed command "
            "left it behind, or it came with the project"
        ) from error


def refuse_linked(target: Path) -> None:
    """Refuse a journal or work that is, or lies behind, a symbolic link."""
    for place in (JOURNAL, f"{WORK}/journal.draft"):
        refuse_links(target, place)


def state(content: bytes | None, executable: bool) -> str | None:
    """A file's state in a journal, None for a missing file."""
    return None if content is None else f"{digest(content)}{'+x' if executable else ''}"


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
