"""The files of a git repository at a revision, without a working tree."""

import tempfile
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold import archives, git, names
from loafer_kit.scaffold.archives import Archive

# A repository may be anybody's: no other protocol, no filter, no submodule of it is used.
_PROTOCOLS = "file:https:ssh"


def read(url: str, checkout: str | None) -> tuple[Archive, str]:
    """The files at a revision (a branch, tag or commit; by default the newest), and the commit.

    ConfigurationError with git's own words when it cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="loafer-kit-") as folder:
        clone = str(Path(folder, "clone"))
        origin = names.shown(url)
        _git("clone", "--bare", "--quiet", "--template=", "--", url, clone, origin=origin)
        commit = _commit(clone, "HEAD" if checkout is None else checkout, origin)
        content = _git("-C", clone, "archive", "--format=tar", commit, origin=origin)
    return archives.of_tar(content, origin), commit


def _commit(clone: str, revision: str, origin: str) -> str:
    wanted = f"{revision}^{{commit}}"
    arguments = ["-C", clone, "rev-parse", "--verify", "--quiet", "--end-of-options", wanted]
    try:
        return _git(*arguments, origin=origin).decode().strip()
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin} has no revision {names.shown(revision)}") from error


def _git(*arguments: str, origin: str) -> bytes:
    settings = (*git.WITHOUT_HOOKS, "-c", "core.autocrlf=false")
    try:
        return git.run(*settings, *arguments, GIT_ALLOW_PROTOCOL=_PROTOCOLS)
    except git.GitError as error:
        raise ConfigurationError(f"{origin}: {error}") from error
