"""A service in a process of its own, beside a local server."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

#: A service drains at the first SIGTERM and ends at once at the second; then it is killed.
_POLITE_REQUESTS = 2


class ServiceProcess:
    """Runs `python -m package` in `folder`; ends with this process, however that ends.

    It is in a session of its own: a Ctrl-C on the terminal does not reach it.
    """

    def __init__(self, process: asyncio.subprocess.Process, lifeline: int) -> None:
        self._process = process
        self._lifeline = lifeline
        self._requests = 0

    @classmethod
    async def start(
        cls,
        package: str,
        folder: Path,
        environment: Mapping[str, str],
        output: IO[str] | None = None,
    ) -> Self:
        """Start the service; what it prints goes to `output`, or where this process prints."""
        child_end, own_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "loafer_kit.local.launcher",
                package,
                str(child_end),
                cwd=folder,
                env={"PYTHONUNBUFFERED": "1", **environment},
                stdout=output,
                pass_fds=[child_end],
                start_new_session=True,
            )
        finally:
            os.close(child_end)
        return cls(process, own_end)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def told_to_end(self) -> bool:
        """Whether `end` was called."""
        return self._requests > 0

    def end(self) -> None:
        """Have the service finish what is in hand; the second time end at once, then kill it."""
        self._requests += 1
        if self._process.returncode is None:
            patient = self._requests <= _POLITE_REQUESTS
            self._process.send_signal(signal.SIGTERM if patient else signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit code; minus the number of the signal that killed it."""
        try:
            return await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
            os.close(self._lifeline)
