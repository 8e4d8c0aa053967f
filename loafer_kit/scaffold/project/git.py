"""Runs git, the user's own, without asking anybody, and without any hook."""

import os
import subprocess
import tempfile
from collections.abc import Mapping

from loafer_kit.exceptions import ConfigurationError

# What would make git look at another repository than the one that is named.
_ELSEWHERE = (
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


class TooMuchError(GitError):
    """git printed more than was asked for."""


def run(
    *arguments: str,
    content: bytes = b"",
    environment: Mapping[str, str] | None = None,
    most: int | None = None,
) -> bytes:
    """What git prints; `content` is its standard input.

    TooMuchError, once it has printed more than `most` bytes.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    kept |= {"LC_ALL": "C", **(environment or {})}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as told:
        given.write(content)
        given.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 - the words are checked by whoever gives them
                ["git", *_NOTHING_RUNS, *arguments],  # noqa: S607 - the user's own git
                env=kept,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=told,
            )
        except FileNotFoundError as error:
            raise GitError("git is not installed") from error
        printed = _printed(process, most)
        if process.returncode:
            told.seek(0)
            words = " ".join(told.read().decode(errors="replace").split())
            raise GitError(f"git: {words or f'exit {process.returncode}'}")
    return printed


def _printed(process: subprocess.Popen[bytes], most: int | None) -> bytes:
    """All that a process prints, which has ended then, in whatever way."""
    with process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            printed = process.stdout.read(-1 if most is None else most + 1)
        except BaseException:
            process.kill()
            raise
        if most is not None and len(printed) > most:
            process.kill()
            raise TooMuchError(f"git: it printed more than {most} bytes")
    return printed
