"""The checks of `loafer-kit doctor`, one module per subject, and the findings that they yield.

They print nothing and change nothing.
"""

import shlex
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. A problem has a remedy; a note may have one."""

    level: Level
    subject: str
    message: str
    remedy: str | None = None

    def __str__(self) -> str:
        remedy = f"\n{'':9}-> {self.remedy}" if self.remedy else ""
        return f"{self.level:>7}  {self.subject}: {self.message}{remedy}"


def denied(level: Level, subject: str, error: Exception) -> Finding:
    """Return the finding of an `AccessDeniedError`; its remedy is to allow the action."""
    found, _, rest = str(error).partition("; ")
    remedy, _, answer = rest.partition(". ")
    message = found.partition(": ")[2] + (f" ({answer})" if answer else "")
    return Finding(level, subject, message, remedy)


def aws_command(endpoint_url: str | None, *words: str, region: str | None = None) -> str:
    """Return a command of AWS's own command line, quoted for a shell."""
    options = ["--endpoint-url", endpoint_url] if endpoint_url else []
    options += ["--region", region] if region else []
    return shlex.join(["aws", *options, *words])
