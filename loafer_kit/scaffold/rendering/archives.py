"""The files of a template in an archive, a zip or a git repository, which is never unpacked.

A template may be anybody's: no path in it leads out of it, no link is followed, and it is not
larger than it says.
"""

import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project.plans import refuse_outside
from loafer_kit.scaffold.rendering.template_files import File, refuse_large, refuse_undecodable
from loafer_kit.scaffold.spec import names

# Of these zipfile decompresses no more than it is asked for; of others a few bytes may be gigabytes.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive:
    """The files of an archive; None stands for a link."""

    def __init__(self, origin: str, files: Mapping[str, File | None]) -> None:
        self._origin = origin
        self._files = files

    def tops(self) -> list[str]:
        """The names of what lies in the outermost folder."""
        return sorted({path.partition("/")[0] for path in self._files})

    def file(self, path: str) -> File | None:
        """A file; ConfigurationError for a link."""
        if path in self._files and self._files[path] is None:
            raise ConfigurationError(f"{self._origin}: {names.shown(path)} is a link")
        return self._files.get(path)

    def below(self, top: str) -> Iterator[tuple[str, File]]:
        """The files below a name."""
        for path in sorted(self._files):
            if path == top or path.startswith(f"{top}/"):
                found = self.file(path)
                if found is not None:
                    yield path, found

    def folder(self, path: str) -> "Archive":
        """A folder within this one."""
        start = f"{path.strip('/')}/"
        found = {
            name.removeprefix(start): file
            for name, file in self._files.items()
            if name.startswith(start)
        }
        if not found:
            raise ConfigurationError(f"{self._origin} has no folder {names.shown(path)}")
        return Archive(self._origin, found)


def of_zip(path: Path) -> Archive:
    """The files of a zip; ConfigurationError when it is none, too large, or leads out of itself."""
    try:
        # What lists the files is read before it can be counted: it is no larger than they may be.
        refuse_large(str(path), 1, path.stat().st_size // 2)
        return Archive(str(path), _unpacked(path))
    except ConfigurationError:
        raise
    except Exception as error:
        # Of a damaged one zipfile, and what it decompresses with, raise whatever there is.
        if isinstance(error, OSError) and error.strerror:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        why = names.shown(str(error) or type(error).__name__)
        raise ConfigurationError(f"{path} cannot be read as a zip file: {why}") from error


def _unpacked(path: Path) -> dict[str, File | None]:
    files: dict[str, File | None] = {}
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        refuse_large(str(path), len(entries), sum(entry.file_size for entry in entries))
        for entry in entries:
            mode = entry.external_attr >> 16
            refuse_bad_path(str(path), entry.filename, files)
            is_link = stat.S_ISLNK(mode)
            content = b"" if is_link else _unzipped(archive, entry)
            files[entry.filename] = None if is_link else File(content, bool(mode & 0o100))
    return files


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """An entry's content, never more than it says there is."""
    if entry.compress_type not in _METHODS:
        raise NotImplementedError(f"{entry.filename} is neither stored nor deflated")
    with archive.open(entry) as file:
        return file.read(entry.file_size)


def refuse_bad_path(origin: str, path: str, known: Mapping[str, object]) -> None:
    """Make sure that a path stays within an archive, and is there once."""
    try:
        refuse_undecodable(path)
        refuse_outside(path)
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin}: {error}") from error
    if path in known:
        raise ConfigurationError(f"{origin}: {names.shown(path)} is in it twice")
