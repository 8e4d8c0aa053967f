"""Reads regular files: a device or a pipe might never end."""

import os
import stat
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError


def read(file: Path, largest: int) -> bytes:
    """The content of a regular file of at most `largest` bytes; a symbolic link is followed.

    ConfigurationError for any other file; OSError if it cannot be read.
    """
    # A pipe would otherwise be waited for.
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
        found = os.fstat(opened.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"{file} is not a regular file: replace it by one")
        content = opened.read(largest + 1) if found.st_size <= largest else None
    if content is None or len(content) > largest:
        raise ConfigurationError(f"{file} is larger than {largest} bytes: make it smaller")
    return content
