"""Exports: files of letters, one JSON object a line."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from loafer_kit.dead_letters.letters import Letter
from loafer_kit.exceptions import LoaferKitError


@dataclass(frozen=True, slots=True)
class Export:
    """The letters of a file; `key` is a digest of its content."""

    letters: tuple[Letter, ...]
    key: str


def line(letter: Letter) -> str:
    """Return the line of a letter: both kinds of attributes, binary values in base64."""
    return f"{json.dumps(letter.exported())}\n"


def read(path: Path) -> Export:
    """Return the letters of a file; raise `LoaferKitError` that names the first line that is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LoaferKitError(f"{path}: {error.strerror}") from error
    letters = []
    for number, text in enumerate(content.split(b"\n"), 1):
        try:
            if text.strip():
                letters.append(Letter.imported(json.loads(text)))
        except (ValueError, RecursionError) as error:
            raise LoaferKitError(f"{path}:{number}: not a line of `dlq export`: {error}") from error
    return Export(tuple(letters), hashlib.sha256(content).hexdigest()[:16])
