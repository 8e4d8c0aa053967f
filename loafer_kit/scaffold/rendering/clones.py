"""The files of a git repository at a revision, without a working tree.

A repository may be anybody's: git only fetches, lists and prints what is in it. Its attributes are not
looked at, which would fill in texts, call filters, convert, or leave files out.
"""

import io
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import git
from loafer_kit.scaffold.rendering import archives
from loafer_kit.scaffold.rendering.archives import Archive
from loafer_kit.scaffold.rendering.template_files import File, refuse_large
from loafer_kit.scaffold.spec import names

# No other protocol is used. Nor is anybody asked for a password, which a helper of git's may know, and
# nothing is fetched later that a repository only promises to have.
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "file:https:ssh",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
# How much git may print of names: folders that are in each other many times take no space at all.
_MOST_LISTED = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file as git lists it; its content is `size` bytes that git knows as `blob`."""

    path: str
    mode: int
    blob: bytes
    size: int

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


def read(url: str, checkout: str | None) -> tuple[Archive, str]:
    """The files at a revision (a branch, tag or commit; by default the newest), and the commit.

    ConfigurationError with git's own words when it cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="loafer-kit-") as folder:
        clone = str(Path(folder, "clone"))
        origin = names.shown(url)
        # Of a repository on this machine, too, only what its branches and tags lead to is taken, and
        # each object is looked at: its files may be links, or name another repository's objects.
        options = ("--bare", "--no-local", "--quiet", "--template=")
        _git("clone", *options, "--", url, clone, origin=origin)
        commit = _commit(clone, "HEAD" if checkout is None else checkout, origin)
        entries = _entries(clone, commit, origin)
        refuse_large(origin, len(entries), sum(entry.size for entry in entries))
        return Archive(origin, _files(clone, entries, origin)), commit


def _commit(clone: str, revision: str, origin: str) -> str:
    wanted = f"{revision}^{{commit}}"
    arguments = ["-C", clone, "rev-parse", "--verify", "--quiet", "--end-of-options", wanted]
    try:
        return _git(*arguments, origin=origin).decode().strip()
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin} has no revision {names.shown(revision)}") from error


def _entries(clone: str, commit: str, origin: str) -> list[_Entry]:
    """The files of a revision and their sizes, before any is in memory; submodules are none."""
    arguments = ["-C", clone, "ls-tree", "-r", "-l", "-z", commit]
    listed = _git(*arguments, origin=origin, most=_MOST_LISTED)
    entries = []
    for line in listed.split(b"\0")[:-1]:
        described, _, path = line.partition(b"\t")
        mode, kind, blob, size = described.split()
        if kind == b"blob":
            text = path.decode(errors="surrogateescape")
            entries.append(_Entry(text, int(mode, 8), blob, int(size)))
    return entries


def _files(clone: str, entries: Sequence[_Entry], origin: str) -> dict[str, File | None]:
    contents = _contents(clone, [entry for entry in entries if not entry.is_link], origin)
    files: dict[str, File | None] = {}
    for entry in entries:
        archives.refuse_bad_path(origin, entry.path, files)
        is_executable = bool(entry.mode & stat.S_IXUSR)
        files[entry.path] = None if entry.is_link else File(next(contents), is_executable)
    return files


def _contents(clone: str, entries: Sequence[_Entry], origin: str) -> Iterator[bytes]:
    """The contents one after the other, as git prints them: a line about each before it."""
    blobs = b"".join(entry.blob + b"\n" for entry in entries)
    printed = io.BytesIO(_git("-C", clone, "cat-file", "--batch", origin=origin, content=blobs))
    for entry in entries:
        printed.readline()
        yield printed.read(entry.size)
        printed.readline()


def _git(*arguments: str, origin: str, content: bytes = b"", most: int | None = None) -> bytes:
    try:
        return git.run(*arguments, content=content, environment=_ENVIRONMENT, most=most)
    except git.TooMuchError as error:
        raise ConfigurationError(f"{origin} is too large for a template") from error
    except git.GitError as error:
        raise ConfigurationError(f"{origin}: {error}") from error
