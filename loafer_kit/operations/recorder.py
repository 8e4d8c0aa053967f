"""Recorder: counts what happens inside a service, and takes snapshots of it."""

import asyncio
import logging
import math
import platform
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from loafer_kit.engine.workers import RouteStatus
from loafer_kit.events import ObservedCall, ObservedRoute, Observer, Settlement
from loafer_kit.logs import log_event
from loafer_kit.operations.health import States
from loafer_kit.operations.metrics import MOST_VALUES, OTHERS
from loafer_kit.operations.snapshot import (
    Durations,
    Histogram,
    PublisherSnapshot,
    Requests,
    RouteSnapshot,
    RunningHandler,
    Snapshot,
)
from loafer_kit.outcomes import Acknowledge, DeadLetter, Outcome, Release, Retry
from loafer_kit.services import Service, version_of
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

Clock = Callable[[], float]

#: Of OpenTelemetry's conventions for durations.
DURATION_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)

#: A message waits from milliseconds to hours.
WAIT_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

#: The durations that are kept for each route.
_DURATIONS = 200

#: Seconds whose handled messages are counted together, and how many of these are kept: five minutes.
_INTERVAL, _KEPT = 5.0, 60

#: Seconds between two measurements of the loop's lag, and the measurements kept: one minute.
_LAG_EVERY, _LAGS = 1.0, 60


class Recorder(Observer):
    """Observes a service, so that `snapshot` can say what it does and did.

    Costs a few counters per message. `clock` is that of handlers' `began`.
    """

    def __init__(self, service: Service, clock: Clock = time.monotonic) -> None:
        self.states = States(service, clock)
        self._service = service
        self._clock = clock
        self._versions = {
            "service": version_of(service.name),
            "runtime": version_of("loafer-kit"),
            "python": platform.python_version(),
        }
        self._routes: dict[str, _Record] = {}
        #: By destination: the messages published, the failures, and the seconds of both.
        self._published: dict[str, list[float]] = {}
        self._began: float | None = None
        self._lag = _LoopLag(clock)
        self._told_of_limit = False
        service.observe(self)

    def snapshot(self) -> Snapshot:
        """Return what the service does now; called in the loop's thread, or before it runs."""
        now = self._clock()
        return Snapshot(
            service=self._service.name,
            versions=self._versions,
            taken_at=time.time(),
            uptime=0.0 if self._began is None else now - self._began,
            state=self.states.state,
            loop_lag=self._lag.seconds,
            routes=tuple(self._route(status, now) for status in self._service.statuses()),
            publishers=tuple(
                PublisherSnapshot(destination, int(count), int(failed), seconds)
                for destination, (count, failed, seconds) in self._published.items()
            ),
        )

    def _route(self, status: RouteStatus, now: float) -> RouteSnapshot:
        route = status.route
        record = self._record(route)
        return RouteSnapshot(
            name=route.name,
            queue=getattr(route.provider, "name", None),
            running=tuple(running(route, call, now) for call in status.calls),
            slots_used=len(status.calls),
            slots=route.flow.concurrency,
            backlog=status.backlog,
            unsettled=route.provider.unsettled,
            receivers=status.receivers,
            last_poll=None if record.polled_at is None else now - record.polled_at,
            received=record.received,
            rate_1m=record.handled.per_second(60),
            rate_5m=record.handled.per_second(300),
            durations=Durations(*quantiles(record.last_calls, (0.5, 0.95, 0.99))),
            call_seconds=_copied(record.call_seconds),
            wait_seconds=_copied(record.wait_seconds),
            outcomes=dict(record.outcomes),
            retries=record.outcomes["retried"],
            dead_letters=record.settled["dead-lettered"],
            given_up=record.settled["given up"],
            lost_leases=record.lost,
            heartbeats=record.heartbeats,
            failed_heartbeats=record.failed_heartbeats,
            failed_polls=record.failed_polls,
            paused=route.flow.paused,
            rate_limit=route.flow.rate_limit,
            breaker_open=route.flow.breaker.is_open,
            stuck=status.stuck,
            requests=_requests(route.provider),
        )

    def _record(self, route: ObservedRoute) -> "_Record":
        record = self._routes.get(route.name)
        if record is None:
            self._note_limit(len(self._routes))
            record = self._routes[route.name] = _Record(Rate(self._clock))
        return record

    def _note_limit(self, known: int) -> None:
        if known >= MOST_VALUES and not self._told_of_limit:
            self._told_of_limit = True
            text = f"there are more routes or destinations; {OTHERS!r} counts the rest"
            log_event(logger, logging.WARNING, "metrics.limited", {"most": MOST_VALUES}, text)

    # The observed events

    def route_started(self, route: ObservedRoute) -> None:
        if self._began is None:
            self._began = self._clock()
        self._record(route)
        self._lag.start()

    def route_ended(self, route: ObservedRoute, error: BaseException | None) -> None:
        self._lag.stop()

    def polled(
        self, route: ObservedRoute, received: int, seconds: float, error: BaseException | None
    ) -> None:
        record = self._record(route)
        if error is None:
            record.polled_at = self._clock()
        else:
            record.failed_polls += 1

    def received(self, route: ObservedRoute, messages: Sequence[Message]) -> None:
        self._record(route).received += len(messages)

    def started(self, call: ObservedCall) -> None:
        route = call.route
        waits = self._record(route).wait_seconds
        sent_at, now = route.provider.sent_at, time.time()
        for message in call.messages:
            if (sent := sent_at(message)) is not None:
                waits.observe(max(0.0, now - sent))

    def finished(self, call: ObservedCall) -> None:
        record = self._record(call.route)
        record.handled.add(len(call.deliveries))
        record.last_calls.append(call.seconds)
        record.call_seconds.observe(call.seconds)
        for position, delivery in enumerate(call.deliveries):
            lost = position in call.lost
            record.outcomes["lost" if lost else outcome_name(delivery.outcome)] += 1

    def settled(
        self, route: ObservedRoute, messages: Sequence[Message], result: Settlement, seconds: float
    ) -> None:
        self._record(route).settled[result] += len(messages)

    def lost(self, route: ObservedRoute, message: Message) -> None:
        self._record(route).lost += 1

    def heartbeat_sent(
        self, route: ObservedRoute, messages: Sequence[Message], error: BaseException | None
    ) -> None:
        record = self._record(route)
        record.heartbeats += 1
        record.failed_heartbeats += error is not None

    def published(self, destination: str, seconds: float, error: BaseException | None) -> None:
        counts = self._published.get(destination)
        if counts is None:
            if len(self._published) >= MOST_VALUES:  # handlers may compute destinations
                self._note_limit(MOST_VALUES)
                destination = OTHERS
            counts = self._published.setdefault(destination, [0, 0, 0.0])
        counts[error is not None] += 1
        counts[2] += seconds


def recorder_of(service: Service) -> Recorder:
    """Return the recorder of a service: all that shows it reads the same one."""
    if service.recorder is None:
        service.recorder = Recorder(service)
    return service.recorder


class Rate:
    """Counts what happens, and says how often per second it did lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock()
        #: The current interval and its count, and those before it.
        self._interval, self._count = -1, 0
        self._counts: deque[tuple[int, int]] = deque(maxlen=_KEPT)

    def add(self, count: int = 1) -> None:
        """Count something that happens now."""
        interval = int(self._clock() // _INTERVAL)
        if interval != self._interval:
            self._counts.append((self._interval, self._count))
            self._interval, self._count = interval, 0
        self._count += count

    def per_second(self, seconds: float) -> float:
        """Return the rate over the last `seconds`, or since the beginning if that is later."""
        now = self._clock()
        oldest = (now - seconds) // _INTERVAL
        counts = (*self._counts, (self._interval, self._count))
        counted = sum(count for interval, count in counts if interval > oldest)
        over = min(seconds, max(now - self._began, 1.0))
        return counted / over


@dataclass(slots=True)
class _Record:
    """What a recorder has counted of the routes of one name."""

    handled: Rate
    received: int = 0
    polled_at: float | None = None
    failed_polls: int = 0
    lost: int = 0
    heartbeats: int = 0
    failed_heartbeats: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    settled: Counter[Settlement] = field(default_factory=Counter)
    #: The durations of the last handler calls.
    last_calls: deque[float] = field(default_factory=lambda: deque(maxlen=_DURATIONS))
    call_seconds: Histogram = field(default_factory=lambda: Histogram(DURATION_BOUNDS))
    wait_seconds: Histogram = field(default_factory=lambda: Histogram(WAIT_BOUNDS))


def quantiles(values: Iterable[float], parts: Sequence[float]) -> list[float | None]:
    """Return, for each part, the value below which this part of them lies; None without values."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return [
        ordered[min(last, math.ceil(part * len(ordered)) - 1)] if ordered else None
        for part in parts
    ]


class _LoopLag:
    """Measures how late the event loop calls a timer, while routes run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._users = 0
        self._due = 0.0
        self._lags: deque[float] = deque(maxlen=_LAGS)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def seconds(self) -> float:
        """The longest lag within the last minute, one that still lasts included."""
        lasting = self._clock() - self._due if self._timer is not None else 0.0
        return max(0.0, lasting, *self._lags)

    def start(self) -> None:
        self._users += 1
        if self._timer is None:
            self._wait()

    def stop(self) -> None:
        self._users = max(0, self._users - 1)
        if not self._users and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._due = self._clock() + _LAG_EVERY
        self._timer = asyncio.get_running_loop().call_later(_LAG_EVERY, self._measure)

    def _measure(self) -> None:
        self._lags.append(self._clock() - self._due)
        self._wait()


@runtime_checkable
class _RequestStatistics(Protocol):
    """The requests of one action, as providers count them."""

    requests: int
    failures: int
    seconds: float


def _requests(provider: object) -> Mapping[str, Requests]:
    """Return the requests of a provider by action; none if it does not count them."""
    found = getattr(provider, "statistics", None)
    if not isinstance(found, Mapping):
        return {}
    return {
        str(action): Requests(made.requests, made.failures, made.seconds)
        for action, made in found.items()
        if isinstance(made, _RequestStatistics)
    }


def running(route: ObservedRoute, call: ObservedCall, now: float) -> RunningHandler:
    """Describe a handler call; `now` is by `time.monotonic`."""
    ids = (route.provider.describe(message).get("message_id") for message in call.messages)
    return RunningHandler(tuple(str(found) for found in ids if found is not None), now - call.began)


def _copied(histogram: Histogram) -> Histogram:
    return Histogram(histogram.bounds, histogram.counts.copy(), histogram.total)


def outcome_name(outcome: Outcome) -> str:
    """Return the name of an outcome among `OUTCOMES`."""
    if isinstance(outcome, Acknowledge):
        return "acknowledged"
    if isinstance(outcome, Release):
        return "given_back"
    if isinstance(outcome, Retry):
        return "retried"
    return "rejected" if isinstance(outcome, DeadLetter) else "left"
