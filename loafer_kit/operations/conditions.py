"""The condition of a service: whether it lives, whether it is ready, and why not."""

import time
from collections.abc import Callable, Sequence
from typing import Literal

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.events import ObservedRoute, Observer

State = Literal["starting", "ready", "stopping"]

#: Seconds that settling and closing may take after the grace time of handlers.
DRAIN_MARGIN = 20.0


class Condition(Observer):
    """Follows the routes of one run.

    A service that is not alive must be restarted. Nothing that a restart cannot mend counts: failing
    requests or handlers, throttling, an empty queue, a pause, an open breaker, full slots.
    """

    def __init__(
        self, dispatcher: LoaferDispatcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._began = clock()
        self._waiting = {id(route): route.name for route in dispatcher.routes}
        self._running = set(self._waiting)
        self._dead: dict[str, BaseException] = {}

    @property
    def uptime(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._began

    @property
    def state(self) -> State:
        """What the service is doing; it stays ready once it was."""
        if self._dispatcher.stopping_since is not None or not self._running:
            return "stopping"
        return "starting" if self._waiting else "ready"

    def polled(
        self, route: ObservedRoute, received: int, seconds: float, error: BaseException | None
    ) -> None:
        """Note that a route's source answers."""
        if error is None:
            self._waiting.pop(id(route), None)

    def route_ended(self, route: ObservedRoute, error: BaseException | None) -> None:
        """Note the end of a route, which is no fault if its source is exhausted."""
        self._waiting.pop(id(route), None)
        self._running.discard(id(route))
        if error is not None:
            self._dead[route.name] = error

    def faults(self) -> Sequence[str]:
        """Return why the service must be restarted; nothing if it lives."""
        found = [
            f"route {name!r} ended: {type(error).__name__}" for name, error in self._dead.items()
        ]
        found += [
            f"route {status.route.name!r} is stuck: every slot is taken by a handler that is over "
            "its time limit and cannot be stopped"
            for status in self._dispatcher.statuses()
            if status.stuck
        ]
        since = self._dispatcher.stopping_since
        deadline = self._dispatcher.grace_time + DRAIN_MARGIN
        if since is not None and self._clock() - since > deadline:
            found.append(f"the service has been stopping for more than {deadline:g} s")
        return found

    def obstacles(self) -> Sequence[str]:
        """Return why the service is not ready; nothing if it is."""
        if self.state == "stopping":
            return ["the service is stopping"]
        return [f"route {name!r} has not been polled yet" for name in self._waiting.values()]
