"""What a look at something found, and what to do about it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. A problem has a remedy; a note may have one."""

    level: Literal["ok", "note", "problem"]
    subject: str
    message: str
    remedy: str | None = None

    def __str__(self) -> str:
        remedy = f"\n{'':9}-> {self.remedy}" if self.remedy else ""
        return f"{self.level:>7}  {self.subject}: {self.message}{remedy}"
