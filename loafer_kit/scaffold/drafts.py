"""What a source found, before anybody has looked whether it makes sense."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loafer_kit.scaffold.problems import Path


def _nowhere(_path: Path) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class Draft:
    """Values as they were read, where they came from, and the line of each in its file."""

    values: Mapping[str, object]
    origin: str | None = None
    line: Callable[[Path], int | None] = _nowhere
