"""Fetches custom templates into a temporary folder: folders, zip files and git repositories.

cookiecutter clones and unpacks; nothing of a template runs here.
"""

import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cookiecutter.exceptions import RepositoryCloneFailed
from cookiecutter.vcs import clone
from cookiecutter.zipfile import unzip

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.project import git
from loafer_kit.scaffold.rendering.templates import Origin
from loafer_kit.scaffold.sources import installed

CACHE = "__pycache__"
# What lies beside a template and is not copied with it.
_BESIDE = frozenset({".git", ".nox", ".tox", ".venv", "node_modules", "venv"})


@dataclass(frozen=True, slots=True)
class Fetched:
    """A template's folder, its origin with the commit, and its place in full: a URL or a path.

    `notes` name what could not be fetched.
    """

    folder: Path
    origin: Origin
    address: str
    notes: tuple[str, ...]


def address(origin: Origin, base: Path) -> str:
    """The place in full: a URL or an absolute path; a relative one starts at `base`."""
    if origin.is_url:
        return origin.place
    if origin.is_path:
        return os.path.realpath(base / origin.place)
    return str(installed.folder(installed.one("templates", origin.reference)))


def fetch(origin: Origin, address: str, place: Path) -> Fetched:
    """Fetch a template into the folder `place`, which is made.

    ConfigurationError where there is no such template.
    """
    place.mkdir()
    root = _fetched(origin, address, place)
    notes: list[str] = []
    if origin.is_repository:
        origin = replace(origin, commit=_commit(root, origin))
        notes += _submodules(root)
    notes += resolve_links(root)
    folder = root / (origin.directory or "")
    if not folder.is_dir():
        raise ConfigurationError(f"it has no folder {quoted(str(origin.directory))}")
    return Fetched(folder, origin, address, tuple(notes))


def _fetched(origin: Origin, address: str, place: Path) -> Path:
    """The folder, repository or unpacked zip, in a folder of ours."""
    source = Path(address)
    if origin.is_repository:
        if not origin.is_url:
            _refuse_plain_folder(source)
            address = source.as_uri()
        # cookiecutter takes a URL without "git" in it for another kind of repository.
        marked = address if "+" in address or "://" not in address else f"git+{address}"
        try:
            return Path(clone(marked, origin.checkout, place, no_input=True))
        except RepositoryCloneFailed as error:
            raise _no_revision(origin) from error
    if not origin.is_url and source.is_dir():
        copied = place / source.resolve().name
        shutil.copytree(source, copied, symlinks=True, ignore=_ignored(source))
        return copied
    if not origin.is_url and not (source.suffix.lower() == ".zip" and source.is_file()):
        raise ConfigurationError("there is neither such a folder nor such a zip file")
    unpacked = Path(unzip(address, origin.is_url, place, no_input=True))
    _restore_modes(place / source.name if origin.is_url else source, unpacked.parent)
    return unpacked


def _refuse_plain_folder(path: Path) -> None:
    """Make sure that a folder is a repository: git says it in other words."""
    if path.is_dir() and not any((path / name).exists() for name in (".git", "HEAD")):
        why = "not a git repository: a plain folder is named without git+ and --checkout"
        raise ConfigurationError(f"it is {why}")


def _ignored(source: Path) -> Callable[[str, list[str]], set[str]]:
    def ignored(folder: str, found: list[str]) -> set[str]:
        return {CACHE, *(_BESIDE if Path(folder) == source else ())}.intersection(found)

    return ignored


def _restore_modes(archive: Path, place: Path) -> None:
    """Restore executable files and links, which cookiecutter unpacks as plain files."""
    with zipfile.ZipFile(archive) as unpacked:
        for entry in unpacked.infolist():
            file, mode = place / entry.filename, entry.external_attr >> 16
            if ".." in file.parts or not file.is_relative_to(place):
                continue
            if file.is_symlink() or not file.is_file():
                continue
            if stat.S_ISLNK(mode):
                target = file.read_text(encoding="utf-8")
                file.unlink()
                file.symlink_to(target)
            elif mode & stat.S_IXUSR:
                file.chmod(0o700)


def _commit(repository: Path, origin: Origin) -> str:
    """The commit that is checked out; ConfigurationError where `checkout` is not a revision."""
    here = ("-C", str(repository), "rev-parse", "--verify", "--quiet", "--end-of-options")
    if origin.checkout is not None:
        try:  # git takes a word that is not a revision for the path of a file
            git.run(*here, f"{origin.checkout}^{{commit}}")
        except git.GitError as error:
            raise _no_revision(origin) from error
    return git.run(*here, "HEAD").decode().strip()


def _no_revision(origin: Origin) -> ConfigurationError:
    return ConfigurationError(f"it has no revision {quoted(str(origin.checkout))}")


def _submodules(repository: Path) -> Iterator[str]:
    listed = git.run("-C", str(repository), "ls-files", "--stage", "-z")
    for entry in listed.decode(errors="replace").split("\0"):
        if entry.startswith("160000 "):
            yield f"{entry.partition(chr(9))[2]}, a submodule, which is not fetched"


def resolve_links(root: Path) -> Iterator[str]:
    """Put what a link leads to in its place; a link that leads out or nowhere goes, with a note."""
    folders = []
    for place in places(root):
        if not place.is_symlink():
            continue
        target = Path(os.path.realpath(place))
        path = place.relative_to(root).as_posix()
        if not target.exists() or target == place:
            place.unlink()
            yield f"{path}, a link that leads nowhere"
        elif not target.is_relative_to(root) or place.is_relative_to(target):
            place.unlink()
            yield f"{path}, a link that leads out of its folder"
        elif target.is_dir():
            folders.append((place, target))
        else:
            place.unlink()
            shutil.copy2(target, place)
    for place, target in folders:
        place.unlink()
        shutil.copytree(target, place, ignore=shutil.ignore_patterns(".git"))


def places(root: Path) -> Iterator[Path]:
    """Everything in a folder but what belongs to git; links are not followed."""
    for here, folders, files in os.walk(root, onerror=refuse_unreadable):
        found = sorted({*folders, *files} - {".git"})
        folders[:] = [
            name for name in folders if name != ".git" and not Path(here, name).is_symlink()
        ]
        yield from (Path(here, name) for name in found)


def refuse_unreadable(error: OSError) -> None:
    """Stop a walk that would otherwise leave a folder out."""
    raise error
