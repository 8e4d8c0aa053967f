"""The files of a git repository at a revision, without a working tree."""

import tempfile
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold import archives, git, names
from loafer_kit.scaffold.archives import Archive

# A repository may be anybody's: no other protocol is used. Nor is anybody asked for a password, which
# a helper of git's may know.
_ENVIRONMENT = {"GIT_ALLOW_PROTOCOL": "file:https:ssh", "GIT_TERMINAL_PROMPT": "0"}


def read(url: str, checkout: str | None) -> tuple[Archive, str]:
    """The files at a revision (a branch, tag or commit; by default the newest), and the commit.

    ConfigurationError with git's own words when it cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="loafer-kit-") as folder:
        clone = str(Path(folder, "clone"))
        origin = names.shown(url)
        _git("clone", "--bare", "--quiet", "--template=", "--", url, clone, origin=origin)
        commit = _commit(clone, "HEAD" if checkout is None else checkout, origin)
        _refuse_large(_git("-C", clone, "ls-tree", "-r", "-l", "-z", commit, origin=origin), origin)
        content = _git("-C", clone, "archive", "--format=tar", commit, origin=origin)
    return archives.of_tar(content, origin), commit


def _commit(clone: str, revision: str, origin: str) -> str:
    wanted = f"{revision}^{{commit}}"
    arguments = ["-C", clone, "rev-parse", "--verify", "--quiet", "--end-of-options", wanted]
    try:
        return _git(*arguments, origin=origin).decode().strip()
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin} has no revision {names.shown(revision)}") from error


def _refuse_large(listed: bytes, origin: str) -> None:
    """Look at what the repository says it holds, before it is in memory."""
    sizes = [line.partition(b"\t")[0].split()[-1] for line in listed.split(b"\0") if line]
    archives.refuse_large(origin, len(sizes), sum(int(size) for size in sizes if size != b"-"))


def _git(*arguments: str, origin: str) -> bytes:
    settings = (*git.WITHOUT_HOOKS, "-c", "core.autocrlf=false")
    try:
        return git.run(*settings, *arguments, environment=_ENVIRONMENT)
    except git.GitError as error:
        raise ConfigurationError(f"{origin}: {error}") from error
