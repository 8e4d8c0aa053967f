"""Runs git, the user's own, without asking anybody."""

import os
import subprocess
from collections.abc import Mapping

from loafer_kit.exceptions import ConfigurationError

# What would make git look at another repository than the one that is named.
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
#: Nothing that a repository, or a template for repositories, brings is run.
WITHOUT_HOOKS = ("-c", "core.hooksPath=/dev/null")


class GitError(ConfigurationError):
    """git could not do what it was asked for; the message has its own words."""


def run(
    *arguments: str, content: bytes = b"", environment: Mapping[str, str] | None = None
) -> bytes:
    """What git prints; `content` is its standard input."""
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    kept |= {"LC_ALL": "C", **(environment or {})}
    try:
        done = subprocess.run(  # noqa: S603 - the words are checked by whoever gives them
            ["git", *arguments],  # noqa: S607 - the user's own git
            env=kept,
            input=content,
            check=False,
            capture_output=True,
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed") from error
    if done.returncode:
        told = " ".join(done.stderr.decode(errors="replace").split()) or f"exit {done.returncode}"
        raise GitError(f"git: {told}")
    return done.stdout
