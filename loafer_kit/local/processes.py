"""ServiceProcess: a process that runs a service, and reports what becomes of its messages."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from loafer_kit.local.tallies import Delivery

#: A service drains at the first SIGTERM and ends at once at the second; then it is killed.
_POLITE_REQUESTS = 2

#: Seconds to read the last reports of a process that has ended: a child of it may hold them open.
_LAST_REPORTS = 1.0


@dataclass(frozen=True, slots=True)
class Style:
    """How the lines of services appear; `output` gets what they print.

    A labelled log names its package in each line.
    """

    labelled: bool = False
    output: IO[str] | None = None


class ServiceProcess:
    """A process that runs `python -m package` in a folder; it ends when this process ends.

    It has its own session, so that a Ctrl-C on the terminal does not reach it.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        lifeline: asyncio.StreamWriter,
        reports: asyncio.Task[None],
    ) -> None:
        self._process = process
        self._lifeline = lifeline
        self._reports = reports
        self._requests = 0

    @classmethod
    async def start(
        cls,
        package: str,
        folder: Path,
        environment: Mapping[str, str],
        style: Style,
        on_delivery: Callable[[Delivery], None],
    ) -> Self:
        """Start the service; call `on_delivery` for each message that it delivers to a handler."""
        own_end, child_end = socket.socketpair()
        with child_end:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "loafer_kit.local.launcher",
                package,
                str(child_end.fileno()),
                package if style.labelled else "",
                cwd=folder,
                # A person reads the log, through a pipe too.
                env={"PYTHONUNBUFFERED": "1", "LOAFER_LOG": "text", **environment},
                stdout=style.output,
                pass_fds=[child_end.fileno()],
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=own_end)
        return cls(process, writer, asyncio.create_task(_read(reader, on_delivery)))

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def told_to_end(self) -> bool:
        """Whether `end` was called."""
        return self._requests > 0

    def end(self) -> None:
        """Tell the service to drain; at the second call to end at once; at the third kill it."""
        self._requests += 1
        if self._process.returncode is None:
            patient = self._requests <= _POLITE_REQUESTS
            self._process.send_signal(signal.SIGTERM if patient else signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit code, or the negative number of the signal that killed the process."""
        try:
            code = await self._process.wait()
            await asyncio.wait([self._reports], timeout=_LAST_REPORTS)
        finally:
            if self._process.returncode is None:
                self._process.kill()
            self._reports.cancel()
            self._lifeline.close()
        return code


async def _read(reader: asyncio.StreamReader, on_delivery: Callable[[Delivery], None]) -> None:
    async for line in reader:
        on_delivery(Delivery(*json.loads(line)))
