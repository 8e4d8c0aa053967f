"""What a look at something found, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. A problem has a remedy; a note may have one."""

    level: Level
    subject: str
    message: str
    remedy: str | None = None

    def __str__(self) -> str:
        remedy = f"\n{'':9}-> {self.remedy}" if self.remedy else ""
        return f"{self.level:>7}  {self.subject}: {self.message}{remedy}"


def denied(level: Level, subject: str, error: Exception) -> Finding:
    """What an `AccessDeniedError` says; its remedy is to allow the action."""
    found, _, said = str(error).partition("; ")
    remedy, _, answer = said.partition(". ")
    told = found.partition(": ")[2] + (f" ({answer})" if answer else "")
    return Finding(level, subject, told, remedy)
