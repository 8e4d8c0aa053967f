"""A plan: the files that are to be written, and what that changes in a folder."""

import os
import stat
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from loafer_kit.exceptions import ConfigurationError

#: What we keep in a project.
FOLDER = ".loafer-kit"
LOCK = f"{FOLDER}/lock.json"
#: Where no file of a template goes, whatever a lock or a journal says.
_RESERVED = (FOLDER, ".git", "git~1")
# What HFS+ leaves out of a name when it looks for one.
_IGNORED = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)

Action = Literal["create", "overwrite", "merge", "conflict", "remove", "keep", "unchanged"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Relative paths, written with `/`, and the bytes of each; some are to be executable."""

    files: Mapping[str, bytes]
    executables: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for path in self.files:
            refuse_outside(path)
        refuse_clashes(self.files)
        object.__setattr__(self, "files", dict(sorted(self.files.items())))


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one file; None stands for no file, before or after.

    What is shown to a person and what is committed is one tuple of these. `keep` is a file that
    the template would change and the project has its own way. A file that is there keeps its mode:
    `executable` is for one that is created.
    """

    path: str
    action: Action
    before: bytes | None
    after: bytes | None
    conflicts: int = 0
    executable: bool = False

    @property
    def writes(self) -> bool:
        """Whether anything is different afterwards."""
        return self.before != self.after


def changes(plan: Plan, target: Path) -> tuple[Change, ...]:
    """What writing a plan into a folder would change; nothing is written.

    ConfigurationError where a symbolic link, or a folder in a file's place, is in the way.
    """
    return tuple(change(path, read(target, path), content) for path, content in plan.files.items())


def marked(changed: Iterable[Change], plan: Plan) -> list[Change]:
    """The changes, with those marked that create an executable file of the plan."""
    return [
        replace(item, executable=item.before is None and item.path in plan.executables)
        for item in changed
    ]


def change(path: str, before: bytes | None, after: bytes) -> Change:
    """Put a content in a file's place, whatever it was."""
    if before is None:
        return Change(path, "create", None, after)
    return Change(path, "unchanged" if before == after else "overwrite", before, after)


def read(target: Path, path: str) -> bytes | None:
    """A file of a project, None where there is none; never by way of a symbolic link."""
    refuse_links(target, path)
    file = target / path
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error


def refuse_links(target: Path, path: str) -> None:
    """Make sure that writing a path ends up within the target, whatever lies there already."""
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
    """Make sure that a path stays within the project it is relative to, whatever file system it is on.

    On some a name may hold no control character, or loses the dots and blanks at its end.
    """
    is_plain = not any(unicodedata.category(character) in ("Cc", "Cs") for character in path)
    if "\\" in path or not is_plain or any(part[-1:] in ("", ".", " ") for part in path.split("/")):
        raise ConfigurationError(f"{path!a} is no path within a project")


def refuse_clashes(paths: Iterable[str]) -> None:
    """Make sure that no path is one in which another is."""
    known = sorted(paths)
    files = set(known)
    for path in known:
        for place, character in enumerate(path):
            if character == "/" and path[:place] in files:
                above = path[:place]
                raise ConfigurationError(
                    f"{above!a}, in which {path!a} is, cannot be a file and a folder"
                )


def refuse_reserved(path: str) -> None:
    """Make sure that a path is one at which a template's file may be."""
    refuse_outside(path)
    if any(_as_found(part) in _RESERVED for part in path.split("/")):
        raise ConfigurationError(f"{path!a} is no path of a template's file")


def _as_found(part: str) -> str:
    """A name as the file systems have it that are not particular: HFS+ and NTFS."""
    return part.translate(_IGNORED).lower().partition(":")[0].rstrip(". ")
