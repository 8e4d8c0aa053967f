"""`loafer-kit health`: reads the health file of a service.

A container asks every few seconds, so this imports next to nothing.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: The variable of the environment that names the health file. Empty: there is none.
HEALTH_VARIABLE = "LOAFER_HEALTH_FILE"

#: Seconds without a sign of life after which the event loop counts as stalled.
STALLED = 30.0

_USAGE = "usage: loafer-kit health [--live | --ready]"


def main(arguments: Sequence[str]) -> int:
    """Print one line about the service; return 0 if it is well, 1 if not, 2 for wrong arguments."""
    if list(arguments) not in ([], ["--live"], ["--ready"]):
        sys.stderr.write(f"{_USAGE}\n")
        return 2
    path = os.environ.get(HEALTH_VARIABLE)
    if path:
        problem = problem_of(Path(path), ready="--ready" in arguments)
    else:
        problem = f"{HEALTH_VARIABLE} names no file: set it for the service and for this command"
    if problem:
        sys.stderr.write(f"{ascii(problem)[1:-1]}\n")  # a stranger may have written the file
        return 1
    sys.stdout.write("ready\n" if "--ready" in arguments else "live\n")
    return 0


def problem_of(path: Path, *, ready: bool) -> str | None:
    """Return why the service is not live, or not ready; None if it is."""
    try:
        health = json.loads(path.read_bytes())
        silent = time.monotonic() - float(health["at"])
        problems = [str(problem) for problem in health["problems"]]
        unready = [str(reason) for reason in health["unready"]]
        state = str(health["state"])
    except FileNotFoundError:
        return f"there is no {path}: no service runs, or its {HEALTH_VARIABLE} is another"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return f"{path} is not the health file of a service"
    if silent < 0:
        return f"{path} is older than this machine's start: no service runs"
    if silent > STALLED:
        return f"the event loop has not run for {silent:.0f} s"
    if ready and state != "ready":
        problems += unready or [f"the service is {state}"]
    return "; ".join(problems) or None
