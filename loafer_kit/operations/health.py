"""HealthFile: a file that a service replaces while it is alive, for `loafer-kit health`."""

import asyncio
import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from loafer_kit.operations.probe import health_file
from loafer_kit.operations.states import States, Vitals
from loafer_kit.services import Service

logger = logging.getLogger(__name__)

#: Seconds between two looks at the service, and between two writes while nothing changes.
_LOOK_EVERY, _WRITE_EVERY = 1.0, 5.0


class HealthFile:
    """Has the event loop of a service replace the health file, and remove it at the end.

    The path is LOAFER_HEALTH_FILE, or one in shared memory. A file that cannot be written is logged
    once, and the service goes on.
    """

    def __init__(self, service: Service) -> None:
        self.path = health_file()
        self._vitals: Vitals = States(service)
        self._timer: asyncio.TimerHandle | None = None
        self._written: dict[str, object] = {}
        self._written_at = 0.0
        self._failure: str | None = None
        service.startup(self._start)
        service.teardown(self._stop)
        service.health_file = self

    @contextlib.contextmanager
    def showing(self, vitals: Vitals) -> Iterator[None]:
        """Write about `vitals` while the block runs, of a parent for instance."""
        self._vitals = vitals
        self._begin()
        try:
            yield
        finally:
            self._end()

    async def _start(self, service: Service) -> None:
        self._begin()

    async def _stop(self, service: Service) -> None:
        self._end()

    def _begin(self) -> None:
        self._written = {}
        self._look()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)
        now = time.monotonic()
        health: dict[str, object] = {
            "pid": os.getpid(),
            "state": self._vitals.state,
            "problems": self._vitals.problems(),
        }
        if health == self._written and now - self._written_at < _WRITE_EVERY:
            return
        try:
            self._write({**health, "at": now})
        except OSError as error:
            self._report(error)
        else:
            self._written, self._written_at, self._failure = health, now, None

    def _write(self, health: dict[str, object]) -> None:
        """Replace the file as a whole; a link that a stranger has put there is not followed."""
        number, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(number, "w") as file:
                json.dump(health, file)
            Path(name).replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise

    def _report(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if reason == self._failure:
            return
        self._failure = reason
        logger.error(
            "health.unwritable path=%s: %s; set LOAFER_HEALTH_FILE to a file that can be written",
            self.path,
            reason,
            extra={"event": "health.unwritable", "path": str(self.path), "reason": reason},
        )
