"""The problems of a spec: all at once, each with its place."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.scaffold.escaping import escape_line, quoted

Path = tuple[str | int, ...]

_WORD = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem to correct. `line` is known if the spec is from a file."""

    path: Path
    message: str
    line: int | None = None

    @property
    def place(self) -> str:
        """The path as text: `queues[1].name`."""
        text = ""
        for step in self.path:
            if isinstance(step, int):
                text += f"[{step}]"
            else:
                text += f".{_written(step)}" if text else _written(step)
        return text

    def __str__(self) -> str:
        where = f"{self.place}: " if self.path else ""
        line = f" (line {self.line})" if self.line else ""
        return escape_line(f"{where}{self.message}{line}")


def _written(key: str) -> str:
    """A key, quoted in ASCII unless it is a plain word: documents may come from anybody."""
    return key if _WORD.fullmatch(key) else quoted(key)


class SpecError(LoaferKitError):
    """A spec has problems; `problems` holds all of them."""

    def __init__(self, problems: Sequence[Problem], origin: str | None = None) -> None:
        self.problems = tuple(problems)
        self.origin = origin
        super().__init__(self._text())

    def _text(self) -> str:
        source = f"{self.origin}: " if self.origin else ""
        if len(self.problems) == 1:
            return f"{source}{self.problems[0]}"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        return f"{source}{len(self.problems)} problems{lines}"
