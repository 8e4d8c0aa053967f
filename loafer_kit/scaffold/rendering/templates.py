"""Which template: one of loafer-kit, read into memory, or where a custom one comes from."""

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import installed

_PACKAGE = Path(__file__).resolve().parents[2]
VARIABLES = "cookiecutter.json"
#: The variable that says which command a template is for: `service` or `extension`.
PURPOSE = "_loafer_kit"

_GIT = "git+"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*|[\w.-]+@[\w.-]+:.*", re.DOTALL)
# Those of `cookiecutter.config`, which takes long to import.
_ABBREVIATIONS = {
    "bb": "https://bitbucket.org/{0}",
    "gh": "https://github.com/{0}.git",
    "gl": "https://gitlab.com/{0}.git",
}
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_PROTOCOLS = ("file", "https", "ssh")
# As long as a path may be.
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class File:
    """A file of a template."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A template of loafer-kit in memory: it is trusted."""

    files: Mapping[str, File]
    origin: None = None

    @property
    def variables(self) -> Mapping[str, Any]:
        """What its `cookiecutter.json` says."""
        return _variables(self.files[VARIABLES].content)

    @property
    def purpose(self) -> str | None:
        """The command it is for."""
        return purpose(self.variables)

    @property
    def digest(self) -> str:
        """The digest of its files and of their paths."""
        return digest({path: file.content for path, file in self.files.items()})

    @property
    def project(self) -> str:
        """The folder that becomes the project's."""
        return next(path.partition("/")[0] for path in self.files if path.startswith("{{"))

    def below(self, folder: str) -> dict[str, File]:
        """The files of a folder, by their paths in it."""
        start = f"{folder}/"
        return {
            path.removeprefix(start): file
            for path, file in self.files.items()
            if path.startswith(start)
        }


def locate(name: str) -> Path:
    """The folder of a template of loafer-kit: beside the modules where it is installed."""
    for folder in (_PACKAGE / "templates", _PACKAGE.parent / "templates"):
        if (folder / name / VARIABLES).is_file():
            return folder / name
    raise ConfigurationError(f"the template {name!r} is not where loafer-kit is installed")


def builtin(name: str) -> Template:
    """A template of loafer-kit."""
    return read(locate(name))


def read(folder: Path) -> Template:
    """The template in a folder, without the modules that an installer compiled there."""
    return Template(
        {
            path.relative_to(folder).as_posix(): File(
                path.read_bytes(), bool(path.stat().st_mode & 0o100)
            )
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
    )


def purpose(variables: Mapping[str, Any]) -> str | None:
    """The command that a template is for; None for a plain cookiecutter template."""
    found = variables.get(PURPOSE)
    return found if isinstance(found, str) else None


def purpose_in(place: Path) -> str | None:
    """The command that the template in a folder is for; a zip file is not opened.

    ConfigurationError where the folder does not hold a template.
    """
    if not place.is_dir():
        return None
    try:
        variables = json.loads((place / VARIABLES).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{place} has no {VARIABLES} that can be read: {error}") from error
    return purpose(variables) if isinstance(variables, dict) else None


def digest(files: Mapping[str, bytes]) -> str:
    """The digest of files and of their paths."""
    total = hashlib.sha256()
    for path, content in sorted(files.items()):
        total.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


@functools.lru_cache
def _variables(content: bytes) -> Mapping[str, Any]:
    return json.loads(content)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Origin:
    """A template by its name, path or URL; `checkout` is a revision of a git repository.

    `directory` is the folder in it that holds the template, `commit` what `checkout` meant when the
    template was fetched. A path contains a separator; a relative one starts at the folder of the
    command, or of the project whose lock holds the origin.
    """

    reference: str
    checkout: str | None = None
    directory: str | None = None
    commit: str | None = None

    @property
    def is_repository(self) -> bool:
        """Whether git has to fetch the template."""
        start, place = self._parts()
        return bool(start) or (self.is_url and not place.lower().endswith(".zip"))

    @property
    def is_url(self) -> bool:
        """Whether the template is fetched by its URL."""
        return bool(_URL.fullmatch(self._parts()[1]))

    @property
    def is_path(self) -> bool:
        """Whether the template is a folder, a zip file or a repository on this machine."""
        return not self.is_url and os.sep in self.reference

    @property
    def place(self) -> str:
        """The path, URL or name, without the mark of a repository."""
        return self._parts()[1]

    def moved(self, before: Path, after: Path) -> "Origin":
        """The same place as seen from another folder; an absolute path stays as it is."""
        start, path = self._parts()
        if not self.is_path or Path(path).is_absolute():
            return self
        moved = os.path.relpath(before / path, after.resolve())
        return replace(self, reference=start + _as_path(moved))

    def _parts(self) -> tuple[str, str]:
        """The mark of a repository, and the place itself."""
        start = _GIT if self.reference.startswith(_GIT) else ""
        return start, self.reference.removeprefix(start)

    def __str__(self) -> str:
        at = f" at {self.checkout}" if self.checkout else ""
        commit = f" ({self.commit[:9]})" if self.commit else ""
        return f"{self.reference}{at}{commit}"


def named(reference: str, checkout: str | None = None, directory: str | None = None) -> Origin:
    """The origin that a person names; ConfigurationError for one that is never fetched.

    A bare word is the name of an installed template, else a path. A folder of which a revision is
    wanted is a git repository.
    """
    start = _GIT if reference.startswith(_GIT) else ""
    place = _expanded(reference.removeprefix(start))
    if not _URL.fullmatch(place) and (start or _is_path(place)):
        place = _as_path(place)
        if checkout is not None and not place.lower().endswith(".zip"):
            start = _GIT
    origin = Origin(start + place, checkout, directory)
    refuse_unsafe(origin)
    return origin


def _expanded(reference: str) -> str:
    """The URL that a cookiecutter abbreviation stands for: `gh:user/repository`."""
    start, _, rest = reference.partition(":")
    is_short = start in _ABBREVIATIONS and rest[:1] not in ("", "/")
    return _ABBREVIATIONS[start].format(rest) if is_short else reference


def _is_path(reference: str) -> bool:
    """Whether a name is that of a folder or a file, and not of an installed template."""
    if os.sep in reference:
        return True
    try:
        is_there = Path(reference).exists()
    except OSError:  # longer than a name may be
        is_there = False
    return is_there and not installed.is_installed("templates", reference)


def refuse_unsafe(origin: Origin) -> None:
    """Make sure that fetching from a place runs nothing, and that a lock keeps no password."""
    if not _is_sane(origin.reference):
        raise ConfigurationError(f"{quoted(origin.reference)} cannot name a template")
    if origin.is_url or origin.is_repository:
        _refuse_unsafe_url(origin)
    if origin.checkout is not None and not origin.is_repository:
        where = quoted(origin.reference)
        raise ConfigurationError(f"{where} has no revisions: --checkout is for a git repository")
    for word in (origin.checkout, origin.directory):
        if word is not None and (not word or word.startswith("-") or not _is_sane(word)):
            raise ConfigurationError(f"{quoted(word)} is neither a revision nor a folder")
    folder = PurePosixPath(origin.directory or "")
    if folder.is_absolute() or ".." in folder.parts:
        raise ConfigurationError(f"{quoted(str(folder))} leads out of the template")
    if origin.commit is not None and not _COMMIT.fullmatch(origin.commit):
        raise ConfigurationError(f"{quoted(origin.commit)} is not a commit")


def _is_sane(word: str) -> bool:
    """Whether a word can be shown to a person, and handed to the operating system."""
    return word.isprintable() and len(word) <= _LONGEST


def _refuse_unsafe_url(origin: Origin) -> None:
    try:
        parts = urlsplit(origin.place)
    except ValueError as error:  # its text is not shown: it may hold a password
        raise ConfigurationError("the URL of the template cannot be read") from error
    # The user of ssh is not secret; a user of https may be a token.
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        raise ConfigurationError(
            "the URL of the template holds a user's name or password, which the project's lock "
            "would keep: leave it to git's credential helper"
        )
    is_other = "::" in origin.place or origin.place.startswith("-")
    if is_other or parts.scheme not in ("", *_PROTOCOLS):
        raise ConfigurationError(
            f"{quoted(origin.reference)}: a template is fetched by https, ssh or from a path, "
            "nothing else"
        )


def _as_path(path: str) -> str:
    """A path that is not taken for a name."""
    return (
        path if Path(path).is_absolute() or path.startswith(("./", "../")) else f".{os.sep}{path}"
    )
