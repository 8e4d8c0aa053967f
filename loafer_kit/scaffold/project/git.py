"""A project's git: runs it without prompts and hooks, begins a repository, reads `.gitignore`."""

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project.plans import is_linked, read

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

#: These variables point git at another repository than the named one.
ELSEWHERE = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
_IGNORE = ".gitignore"
# Hooks and monitors of a repository, or of git's template for one, do not run.
_NOTHING_RUNS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


class GitError(ConfigurationError):
    """git failed; the message quotes it."""


def run(*arguments: str, content: bytes = b"") -> bytes:
    """Run git and return its output; `content` is its standard input."""
    kept = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        done = subprocess.run(  # noqa: S603 - callers check the arguments
            ["git", *_NOTHING_RUNS, *arguments],  # noqa: S607 - the user's own git
            env=kept | {"LC_ALL": "C"},
            input=content,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed: install it") from error
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())
        raise GitError(f"git: {words or f'exit {done.returncode}'}")
    return done.stdout


def around(folder: Path) -> Path | None:
    """The work tree that contains a folder, or will contain it; None if there is none."""
    existing = next(place for place in (folder, *folder.resolve().parents) if place.is_dir())
    try:
        found = run("-C", str(existing), "rev-parse", "--show-toplevel")
    except GitError:
        return None
    return Path(found.decode().rstrip("\n"))


def has_commit(project: Path) -> bool:
    """Whether a repository has a commit; one that was interrupted while it began has none."""
    return _succeeds("-C", str(project), "rev-parse", "--quiet", "--verify", "HEAD")


def begin(project: Path, paths: Iterable[str], message: str) -> bool:
    """Begin a repository with a commit of these files, except those its .gitignore covers.

    Returns whether the commit was made: if git does not know the author, the files are only
    staged. ConfigurationError quotes git when it fails; the project is written by then.
    """
    here = ("-C", str(project), "--literal-pathspecs")
    try:
        run("init", "--quiet", "--", str(project))
        found = run(*here, "ls-files", "-z", "--others", "--exclude-standard")
        wanted = b"\0".join(sorted(set(found.split(b"\0")) & set(map(os.fsencode, paths))))
        run(*here, "add", "--pathspec-from-file=-", "--pathspec-file-nul", content=wanted)
        # git would otherwise derive an author from the host.
        if not _succeeds(*here, "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"):
            return False
        run(*here, "commit", "--quiet", "--message", message)
    except GitError as error:
        raise ConfigurationError(
            f"{project} is written, but has no first commit: {error}"
        ) from error
    return True


def _succeeds(*arguments: str) -> bool:
    try:
        run(*arguments)
    except GitError:
        return False
    return True


def covered(paths: Iterable[str], project: Path, rendered: Mapping[str, bytes]) -> frozenset[str]:
    """The paths that a `.gitignore` covers, one in the project or one among the rendered files.

    A new project has none on disk yet, and an update may bring the line that covers a new file.
    Like git, it does not follow a symbolic link.
    """
    on_disk = _judge(lambda path: None if is_linked(project, path) else read(project, path))
    in_plan = _judge(rendered.get)
    return frozenset(path for path in paths if on_disk(path) or in_plan(path))


def _judge(content: Callable[[str], bytes | None]) -> Callable[[str], bool]:
    """Decides about a path as git does: an excluded folder excludes all that is in it."""

    @cache
    def spec(folder: str) -> "GitIgnoreSpec | None":
        found = content((PurePosixPath(folder) / _IGNORE).as_posix())
        return None if found is None else _parsed(found)

    def is_covered(path: str) -> bool:
        parts = path.split("/")
        folders = ["/".join(parts[:end]) for end in range(1, len(parts))]
        return any(_matches(place, spec) for place in (*(f"{f}/" for f in folders), path))

    return is_covered


def _matches(place: str, spec: Callable[[str], "GitIgnoreSpec | None"]) -> bool:
    """Whether the last pattern that matches a file or folder excludes it; deeper files win."""
    decision: bool | None = None
    for folder in reversed(PurePosixPath(place).parents):
        patterns = spec(folder.as_posix())
        if patterns is not None:
            found = patterns.check_file(place.removeprefix(f"{folder}/")).include
            decision = decision if found is None else found
    return decision is True


def _parsed(content: bytes) -> "GitIgnoreSpec":
    """The patterns of a file; like git, it skips invalid ones."""
    from pathspec import GitIgnoreSpec  # of the extra `scaffold`

    patterns = GitIgnoreSpec([])
    for line in content.decode(errors="replace").removeprefix("\ufeff").splitlines():
        with suppress(ValueError):
            patterns += GitIgnoreSpec.from_lines([line])
    return patterns
