"""The templates of loafer-kit: beside the modules where it is installed, else in `templates/`."""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loafer_kit.exceptions import ConfigurationError

_PACKAGE = Path(__file__).resolve().parents[2]
VARIABLES = "cookiecutter.json"
#: The variable that says which command a template is for: `service` or `extension`.
PURPOSE = "_loafer_kit"


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
    """The folder of a template of loafer-kit."""
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
