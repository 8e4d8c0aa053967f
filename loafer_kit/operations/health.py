"""Health: the state of a service, the problems that only a restart cures, and the file of both."""

import asyncio
import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol

from loafer_kit.events import ObservedRoute, Observer
from loafer_kit.logs import log_event
from loafer_kit.operations.probe import HEALTH_VARIABLE
from loafer_kit.services import Service

logger = logging.getLogger(__name__)

State = Literal["starting", "ready", "stopping"]

#: Seconds that a service may take to stop beyond the grace time of its handlers: cancelled handlers,
#: open fetches and the last settlements have time limits of their own.
STOP_MARGIN = 30.0

#: Seconds between two looks at the service, and between two writes while nothing changes.
_LOOK_EVERY, _WRITE_EVERY = 1.0, 5.0


class Vitals(Protocol):
    """The condition of a service, as probes ask for it."""

    @property
    def state(self) -> State:
        """Whether it starts, is ready or stops."""

    def problems(self) -> list[str]:
        """Return why only a restart helps, a line each."""

    def unready(self) -> list[str]:
        """Return what the service waits for before it is ready, a line each."""


class States(Observer):
    """Observes a service, and says which state it is in and why it must be restarted, if so.

    Nothing that a restart does not cure is a problem: no failure of AWS, no pause, no open breaker,
    no failing handlers, no full slots.
    """

    def __init__(self, service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._clock = clock
        self._open: set[str] = set()
        self._answered: set[str] = set()
        self._dead: dict[str, BaseException] = {}
        self._stopping_since: float | None = None
        service.observe(self)

    @property
    def state(self) -> State:
        """Ready when every route has answered a fetch and nothing is `unready`.

        A route that is paused before its first fetch does not fetch, so it only has to be open.
        """
        if self._service.is_stopping:
            return "stopping"
        routes = {
            status.route.name: status.route.flow.paused for status in self._service.statuses()
        }
        self._answered |= {name for name in self._open if routes.get(name)}
        is_ready = routes and routes.keys() <= self._answered and not self.unready()
        return "ready" if is_ready else "starting"

    def problems(self) -> list[str]:
        """Return why only a restart helps, a line each; call it every few seconds."""
        found = [f"route {name!r} has failed: {error}" for name, error in self._dead.items()]
        found += [
            f"threads that cannot be stopped use every slot of route {status.route.name!r}"
            for status in self._service.statuses()
            if status.stuck
        ]
        if not self._service.is_stopping:
            self._stopping_since = None
            return found
        now = self._clock()
        if self._stopping_since is None:
            self._stopping_since = now
        limit = self._service.stop_limit + STOP_MARGIN
        if now - self._stopping_since > limit:
            found.append(f"the service has not stopped within {limit:g} s")
        return found

    def unready(self) -> list[str]:
        """Return what the service's `readiness` waits for."""
        if self._service.is_stopping:
            return []
        return [reason for check in self._service.readiness if (reason := check()) is not None]

    def route_started(self, route: ObservedRoute) -> None:
        self._answered.discard(route.name)  # of an earlier run
        self._open.add(route.name)
        self._dead.pop(route.name, None)

    def route_ended(self, route: ObservedRoute, error: BaseException | None) -> None:
        self._open.discard(route.name)
        if error is not None:
            self._dead[route.name] = error

    def polled(
        self, route: ObservedRoute, received: int, seconds: float, error: BaseException | None
    ) -> None:
        if error is None:
            self._answered.add(route.name)


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
        facts = {"path": str(self._path), "reason": reason}
        text = f"{reason}; set {HEALTH_VARIABLE} to a file that can be written"
        log_event(logger, logging.ERROR, "health.unwritable", facts, text)
