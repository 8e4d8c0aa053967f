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

from loafer_kit.operations.probe import HEALTH_VARIABLE
from loafer_kit.operations.states import Vitals

logger = logging.getLogger(__name__)

#: Seconds between two looks at the service, and between two writes while nothing changes.
_LOOK_EVERY, _WRITE_EVERY = 1.0, 5.0


class HealthFile:
    """The health file of one run. A file that cannot be written is logged once for each reason."""

    def __init__(self, path: Path, vitals: Vitals) -> None:
        self._path = path
        self._vitals = vitals
        self._timer: asyncio.TimerHandle | None = None
        self._written: dict[str, object] = {}
        self._written_at = 0.0
        self._failure: str | None = None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Have the event loop replace the file while the block runs; remove it at the end."""
        self._look()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)
        now = time.monotonic()
        health: dict[str, object] = {
            "pid": os.getpid(),
            "state": self._vitals.state,
            "problems": self._vitals.problems(),
            "unready": self._vitals.unready(),
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
        number, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(number, "w") as file:
                json.dump(health, file)
            Path(name).replace(self._path)
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
            "health.unwritable path=%s: %s; set %s to a file that can be written",
            self._path,
            reason,
            HEALTH_VARIABLE,
            extra={"event": "health.unwritable", "path": str(self._path), "reason": reason},
        )
