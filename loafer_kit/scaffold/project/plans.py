"""A plan: the files to write, and the changes to a folder that follow from it."""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sources import documents

#: The folder that loafer-kit keeps in a project.
FOLDER = ".loafer-kit"
#: The ending of the template's version of a binary file that was edited.
VERSION = ".new"
# A template's file may not be in these folders, even if a lock or a journal names it.
_RESERVED = (FOLDER, ".git")

# What git finds beside the HEAD of a repository.
_OF_REPOSITORIES = {"commondir", "config", "objects", "refs"}
# The largest file that is read; a project's own files are far smaller.
_LARGEST = 64 * 1024 * 1024

Action = Literal[
    "create", "overwrite", "update", "merge", "conflict", "remove", "keep", "unchanged"
]


@dataclass(frozen=True, slots=True)
class Plan:
    """Files by relative path, with `/` as separator; some of them are executable."""

    files: Mapping[str, bytes]
    executables: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for path in self.files:
            refuse_outside(path)
        refuse_clashes(self.files)
        _refuse_repositories(self.files)
        object.__setattr__(self, "files", dict(sorted(self.files.items())))


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one file; None means that the file does not exist, before or after.

    The same changes are shown to a person and written. `keep` leaves an edited or deleted file as
    it is although the template changed it. `executable` says what becomes of the executable bits;
    None leaves them. `note` tells a person more.
    """

    path: str
    action: Action
    before: bytes | None
    after: bytes | None
    conflicts: int = 0
    executable: bool | None = None
    note: str = ""

    @property
    def writes(self) -> bool:
        """Whether the file differs afterwards."""
        return self.before != self.after or self.executable is not None


def changes(plan: Plan, target: Path) -> tuple[Change, ...]:
    """The changes that writing a plan into a folder would make; nothing is written.

    ConfigurationError where a symbolic link, or a folder in place of a file, is in the way.
    """
    return tuple(change(path, read(target, path), content) for path, content in plan.files.items())


def change(path: str, before: bytes | None, after: bytes) -> Change:
    """The change that gives a file a content."""
    if before is None:
        return Change(path, "create", None, after)
    return Change(path, "unchanged" if before == after else "overwrite", before, after)


def digest(content: bytes) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def read(target: Path, path: str) -> bytes | None:
    """The content of a project's file, None if it is missing; symbolic links are not followed."""
    refuse_links(target, path)
    try:
        return read_file(target / path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_file(file: Path) -> bytes:
    """The content of a file of a project; a link is followed.

    ConfigurationError if it cannot be read, is not a regular file or is too large.
    """
    try:
        return documents.content(file, _LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error


def is_executable(file: Path) -> bool:
    """Whether the owner may execute a file; a missing file is not executable."""
    try:
        return bool(os.lstat(file).st_mode & stat.S_IXUSR)
    except OSError:
        return False


def is_linked(target: Path, path: str) -> bool:
    """Whether a file of a project, or a folder on the way to it, is a symbolic link."""
    place = target
    for part in PurePosixPath(path).parts:
        place = place / part
        if place.is_symlink():
            return True
    return False


def refuse_links(target: Path, path: str) -> None:
    """Refuse a path whose writing would follow a symbolic link or replace a folder."""
    place = target
    parts = ("", *PurePosixPath(path).parts)
    for index, part in enumerate(parts):
        place = place / part
        try:
            mode = os.lstat(place).st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigurationError(f"{place}: {error.strerror}") from error
        if stat.S_ISLNK(mode):
            raise ConfigurationError(f"{place} is a symbolic link: nothing is written through it")
        is_last = index == len(parts) - 1
        if stat.S_ISDIR(mode) == is_last or not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            kind = "a file" if is_last else "a folder"
            raise ConfigurationError(f"{place} is in the way: it is not {kind}")


def refuse_outside(path: str) -> None:
    """Refuse a path that is outside the project, on any file system.

    Some file systems forbid control characters, or drop the dots and blanks at a name's end.
    """
    is_plain = not any(unicodedata.category(character) in ("Cc", "Cs") for character in path)
    if "\\" in path or not is_plain or any(part[-1:] in ("", ".", " ") for part in path.split("/")):
        raise ConfigurationError(f"{path!a} is not a path within a project")


def refuse_clashes(paths: Iterable[str]) -> None:
    """Refuse paths of which one is a folder of another."""
    known = sorted(paths)
    files = set(known)
    for path in known:
        for place, character in enumerate(path):
            if character == "/" and path[:place] in files:
                above = path[:place]
                raise ConfigurationError(
                    f"{above!a}, which contains {path!a}, cannot be both a file and a folder"
                )


def _refuse_repositories(paths: Iterable[str]) -> None:
    """Refuse a folder that git would take for a repository: its configuration runs commands."""
    names: dict[str, set[str]] = {}
    for path in paths:
        parts = path.lower().split("/")
        for end, name in enumerate(parts):
            names.setdefault("/".join(parts[:end]), set()).add(name)
    for folder, found in names.items():
        if "head" in found and found & _OF_REPOSITORIES:
            raise ConfigurationError(
                f"git would take the folder {folder or '.'!a} for a repository, because it has a "
                "file HEAD: rename that file in the template"
            )


def refuse_reserved(path: str) -> None:
    """Refuse a path at which a template's file may not be, on any file system."""
    refuse_outside(path)
    if any(part.lower() in _RESERVED for part in path.split("/")):
        raise ConfigurationError(f"{path!a} is not a path for a template's file")
