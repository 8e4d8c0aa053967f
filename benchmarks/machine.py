"""What the figures were measured on: the machine, and the versions of everything."""

import platform
from collections.abc import Iterable
from pathlib import Path

from benchmarks.environments import Environment


def machine() -> str:
    return f"{_processor()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def versions(environments: Iterable[Environment]) -> str:
    found: dict[str, str] = {}
    for environment in environments:
        found |= environment.versions()
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
