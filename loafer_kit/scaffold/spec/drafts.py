"""What a source found, before anybody has looked whether it makes sense."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loafer_kit.scaffold.spec.problems import Path, Problem


def _nowhere(_path: Path) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class Draft:
    """Values as they were read, where they came from, and the line of each in its file.

    `origin` is None for what was only typed.
    `problems` are what the source could not read, `notes` what it read and a spec cannot say.
    """

    values: Mapping[str, object]
    origin: str | None = None
    line: Callable[[Path], int | None] = _nowhere
    problems: Sequence[Problem] = ()
    notes: Sequence[Problem] = ()
