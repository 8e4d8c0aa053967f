"""Runs git, the user's own, without asking anybody, and without any hook."""

import os
import subprocess

from loafer_kit.exceptions import ConfigurationError

#: What would make git look at another repository than the one that is named.
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
# What a repository, or a template for repositories, brings is for its owner's own commands.
_NOTHING_RUNS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


class GitError(ConfigurationError):
    """git could not do what it was asked for; the message has its own words."""


def run(*arguments: str, content: bytes = b"") -> bytes:
    """What git prints; `content` is its standard input."""
    kept = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        done = subprocess.run(  # noqa: S603 - the words are checked by whoever gives them
            ["git", *_NOTHING_RUNS, *arguments],  # noqa: S607 - the user's own git
            env=kept | {"LC_ALL": "C"},
            input=content,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed") from error
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())
        raise GitError(f"git: {words or f'exit {done.returncode}'}")
    return done.stdout
