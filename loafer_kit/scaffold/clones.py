"""The files of a git repository at a revision, without a working tree."""

import os
import subprocess
import tempfile
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold import archives, names
from loafer_kit.scaffold.archives import Archive

# A repository may be anybody's: no other protocol, no hook, no filter, no submodule of it runs.
_ENVIRONMENT = {"GIT_ALLOW_PROTOCOL": "file:https:ssh", "LC_ALL": "C"}
_SETTINGS = ("-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false")


def read(url: str, checkout: str | None) -> tuple[Archive, str]:
    """The files at a revision (a branch, tag or commit; by default the newest), and the commit.

    ConfigurationError with git's own words when it cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="loafer-kit-") as folder:
        clone = Path(folder, "clone")
        origin = names.shown(url)
        _git("clone", "--bare", "--quiet", "--template=", "--", url, str(clone), origin=origin)
        commit = _commit(clone, "HEAD" if checkout is None else checkout, origin)
        content = _git("-C", str(clone), "archive", "--format=tar", commit, origin=origin)
    return archives.of_tar(content, origin), commit


def _commit(clone: Path, revision: str, origin: str) -> str:
    wanted = f"{revision}^{{commit}}"
    arguments = ["-C", str(clone), "rev-parse", "--verify", "--quiet", "--end-of-options", wanted]
    try:
        return _git(*arguments, origin=origin).decode().strip()
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin} has no revision {names.shown(revision)}") from error


def _git(*arguments: str, origin: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - the words are checked by `origins`
            ["git", *_SETTINGS, *arguments],  # noqa: S607 - the user's own git
            env=_environment(),
            check=False,
            capture_output=True,
        )
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{origin}: git is not installed, and it fetches templates"
        ) from error
    if done.returncode:
        told = " ".join(done.stderr.decode(errors="replace").split()) or f"exit {done.returncode}"
        raise ConfigurationError(f"{origin}: git: {told}")
    return done.stdout


def _environment() -> dict[str, str]:
    """The person's own, less what would make git look at another repository."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")
    }
    return kept | _ENVIRONMENT
