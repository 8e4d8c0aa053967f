"""The files of a template, read into memory from a folder.

A template may be anybody's: nothing is read by way of a link that leads out of it, and no file that
is too large, or is none but a pipe or a device.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.spec import names

MOST_FILES = 10_000
MOST_BYTES = 64 * 1024 * 1024

# What is made beside a template's files, or a project's, and is none of them.
_LEFT_OUT = {"__pycache__", ".git"}


@dataclass(frozen=True, slots=True)
class File:
    """A file of a template."""

    content: bytes
    executable: bool = False

    @property
    def text(self) -> str | None:
        """The content as text, None where it is none."""
        try:
            text = self.content.decode()
        except UnicodeDecodeError:
            return None
        return None if "\0" in text else text


class Tree(Protocol):
    """Files by their paths, looked at as far as somebody asks; ConfigurationError for bad ones."""

    def tops(self) -> list[str]:
        """The names of what lies in the outermost folder."""

    def file(self, path: str) -> File | None:
        """A file, None where there is none."""

    def below(self, top: str) -> Iterator[tuple[str, File]]:
        """The files of a folder of the outermost folder, with their whole paths; or the file."""

    def folder(self, path: str) -> "Tree":
        """A folder as a tree of its own."""


class Folder:
    """A folder on disk. Compiled modules and what belongs to git are no part of it."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def tops(self) -> list[str]:
        """The names of what lies in the folder."""
        with _failures_in_one_line(self._root):
            return sorted(place.name for place in self._root.iterdir())

    def file(self, path: str) -> File | None:
        """A file; ConfigurationError for a link that leads out of the folder, or one too large."""
        place = self._root / path
        with _failures_in_one_line(place):
            if not place.resolve().is_relative_to(self._root):
                raise ConfigurationError(f"{place} is a link that leads out of the template")
            try:
                found = place.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            if not stat.S_ISREG(found.st_mode):
                return None
            refuse_large(str(place), 1, found.st_size)
            return File(_content(place), bool(found.st_mode & stat.S_IXUSR))

    def below(self, top: str) -> Iterator[tuple[str, File]]:
        """The files below a name, each read when it is its turn.

        ConfigurationError for a link to a folder.
        """
        if (found := self.file(top)) is not None:
            yield top, found
        elif (self._root / top).is_dir():
            with _failures_in_one_line(self._root / top):
                yield from self._walked(self._root / top)

    def _walked(self, start: Path) -> Iterator[tuple[str, File]]:
        for here, folders, files in os.walk(start, onerror=_refuse_unreadable):
            folders[:] = sorted(set(folders) - _LEFT_OUT)
            for name in (*folders, *files):
                place = Path(here, name)
                path = place.relative_to(self._root).as_posix()
                refuse_undecodable(path)
                if place.is_symlink() and place.is_dir():
                    raise ConfigurationError(f"{place} is a link to a folder")
                if name not in folders and (found := self.file(path)) is not None:
                    yield path, found

    def folder(self, path: str) -> "Folder":
        """A folder within this one."""
        with _failures_in_one_line(self._root / path):
            if not (self._root / path).resolve().is_relative_to(self._root):
                raise ConfigurationError(f"{names.shown(path)} leads out of the template")
            if not (self._root / path).is_dir():
                raise ConfigurationError(f"{self._root} has no folder {names.shown(path)}")
            return Folder(self._root / path)


def refuse_large(origin: str, files: int, size: int) -> None:
    """Make sure that so many files of so many bytes can be a template."""
    if files > MOST_FILES or size > MOST_BYTES:
        raise ConfigurationError(
            f"{origin} is too large for a template: {MOST_FILES} files and "
            f"{MOST_BYTES // 1024 // 1024} MiB at most"
        )


def refuse_undecodable(path: str) -> None:
    """Make sure that a path is text, as whatever is made of it has to be."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"the name of {names.shown(path)} is not in UTF-8") from error


def _content(place: Path) -> bytes:
    """A file's content, which may be more than was said: it may grow, or be no file on a disk."""
    with place.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    refuse_large(str(place), 1, len(content))
    return content


def _refuse_unreadable(error: OSError) -> None:
    """Stop a walk that would otherwise leave a folder out."""
    raise error


@contextmanager
def _failures_in_one_line(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or place
        raise ConfigurationError(f"{where}: {error.strerror or error}") from error
    except RuntimeError as error:  # a link to itself, or too many folders in each other
        raise ConfigurationError(f"{place} cannot be read: {error}") from error


def everything(root: Path) -> dict[str, File]:
    """Every file of a folder that was written here; ConfigurationError for a link."""
    folder = Folder(root)
    tops = [top for top in folder.tops() if top not in _LEFT_OUT]
    return {path: file for top in tops for path, file in folder.below(top)}
