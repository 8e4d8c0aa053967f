"""A drift: one thing on which a project's spec, code and lock do not agree."""

from dataclasses import dataclass

from loafer_kit.scaffold.escaping import escape_line


@dataclass(frozen=True, slots=True)
class Drift:
    """Where it shows, what it is, and what to do about it."""

    path: str
    line: int | None
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return escape_line(f"{where}: {self.message}; {self.remedy}")
