"""Begins a git repository in a project that was written."""

import os
from collections.abc import Iterable
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project import git


def refuse_missing_git() -> None:
    """Make sure, before anything is written, that there is git."""
    git.run("--version")


def around(folder: Path) -> Path | None:
    """The work tree in which a folder is, or will be; None where it is in none."""
    existing = next(place for place in (folder, *folder.resolve().parents) if place.is_dir())
    try:
        found = git.run("-C", str(existing), "rev-parse", "--show-toplevel")
    except git.GitError:
        return None
    return Path(found.decode().rstrip("\n"))


def begin(project: Path, paths: Iterable[str], message: str) -> bool:
    """Begin a repository with a commit of these files, less those that its .gitignore leaves out.

    Returns whether the commit was made: where git does not know its author, the files are only
    staged. ConfigurationError with git's own words when it fails; the project is then there.
    """
    here = ("-C", str(project), "--literal-pathspecs")
    try:
        git.run("init", "--quiet", "--", str(project))
        found = git.run(*here, "ls-files", "-z", "--others", "--exclude-standard")
        wanted = b"\0".join(sorted(set(found.split(b"\0")) & set(map(os.fsencode, paths))))
        git.run(*here, "add", "--pathspec-from-file=-", "--pathspec-file-nul", content=wanted)
        if not _knows_author(project):
            return False
        git.run(*here, "commit", "--quiet", "--message", message)
    except git.GitError as error:
        raise ConfigurationError(
            f"{project} is written, but has no first commit: {error}"
        ) from error
    return True


def _knows_author(project: Path) -> bool:
    """Whether git has been told who commits, instead of making it up."""
    try:
        git.run("-C", str(project), "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT")
    except git.GitError:
        return False
    return True
