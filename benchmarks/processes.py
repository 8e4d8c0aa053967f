"""What a consumer and its children cost, as Linux accounts for it in /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# Positions in /proc/PID/stat, counted after the command's closing parenthesis.
_SESSION, _TIMES = 3, slice(11, 15)


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far, and memory in MiB: now and at the highest."""

    cpu_seconds: float
    memory: float
    peak_memory: float


def usage_of_session(session: int) -> Usage:
    """Add up every process of a session, children that have ended included."""
    ticks, memory, peak = 0, 0.0, 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            status = (folder / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[_SESSION]) == session:
            ticks += sum(map(int, fields[_TIMES]))
            memory += _mebibytes(status, "VmRSS:")
            peak += _mebibytes(status, "VmHWM:")
    return Usage(ticks / _TICKS, memory, peak)


def pin(process: int, core: int) -> None:
    """Keep a process on one core where there are enough, so that figures are per core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > core:
        os.sched_setaffinity(process, {cores[core]})


def _mebibytes(status: str, field: str) -> float:
    _, _, rest = status.partition(field)
    return int(rest.split()[0]) / 1024 if rest else 0.0
