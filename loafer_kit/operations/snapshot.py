"""Snapshot: what a service does now, as plain data."""

import asyncio
import platform
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from loafer_kit.engine.workers import RouteStatus
from loafer_kit.events import ObservedCall, ObservedRoute, Observer, Settlement
from loafer_kit.operations.metrics import outcome_label, request_statistics
from loafer_kit.operations.rates import Clock, Rate, quantile
from loafer_kit.operations.states import State, States
from loafer_kit.services import Service, version_of
from loafer_kit.types import Message

#: The durations that are kept for each route.
_DURATIONS = 1_000

#: Seconds between two measurements of the loop's lag, and the measurements kept: one minute.
_LAG_EVERY, _LAGS = 1.0, 60


@dataclass(frozen=True, slots=True)
class RunningHandler:
    """A handler call that has not ended."""

    message_ids: tuple[str, ...]
    #: Seconds since the handler began.
    age: float


@dataclass(frozen=True, slots=True)
class Durations:
    """Quantiles of the last handler calls, in seconds; None before the first one ends."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of one action; `seconds` is how long all of them took."""

    count: int
    failures: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RouteSnapshot:
    """What one route does. Counts are those since the service began to run."""

    name: str
    queue: str | None
    running: tuple[RunningHandler, ...]
    #: How many handlers may run.
    slots: int
    #: Messages that are fetched and wait for a handler.
    backlog: int
    #: Messages whose outcome the source has yet to carry out.
    unsettled: int
    #: Fetches that are open.
    receivers: int
    #: Seconds since a fetch last succeeded; None before the first one.
    last_poll: float | None
    received: int
    #: Messages handled per second, over the last minute and the last five.
    rate_1m: float
    rate_5m: float
    durations: Durations
    #: How many messages were decided so: acknowledged, left, retried, rejected, given back.
    outcomes: Mapping[str, int]
    retries: int
    dead_letters: int
    given_up: int
    lost_leases: int
    failed_heartbeats: int
    failed_polls: int
    paused: bool
    rate_limit: float | None
    breaker_open: bool
    #: True while threads that cannot be stopped use every slot.
    stuck: bool
    #: By the name of the action.
    requests: Mapping[str, Requests]


@dataclass(frozen=True, slots=True)
class PublisherSnapshot:
    """What was published to one queue or topic; `seconds` is how long all of it took."""

    destination: str
    published: int
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a service does at one moment."""

    service: str
    #: Of the service, of loafer_kit (`runtime`) and of Python; None if it is not installed.
    versions: Mapping[str, str | None]
    #: Unix time.
    taken_at: float
    #: Seconds since the service began to run; 0 before that.
    uptime: float
    state: State
    #: Seconds that the event loop was late: the most within the last minute.
    loop_lag: float
    routes: tuple[RouteSnapshot, ...]
    publishers: tuple[PublisherSnapshot, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return dicts, tuples, texts and numbers, as JSON has them."""
        return asdict(self)


class Recorder(Observer):
    """Observes a service, so that `snapshot` can say what it does and did.

    Costs a few counters per message. `clock` is that of handlers' `began`.
    """

    def __init__(self, service: Service, clock: Clock = time.monotonic) -> None:
        self._service = service
        self._clock = clock
        self._routes: dict[str, _Record] = {}
        self._published: dict[str, list[float]] = {}
        self._began: float | None = None
        self._lag = _LoopLag(clock)
        self._states = States(service, clock)
        service.observe(self)

    def snapshot(self) -> Snapshot:
        """Return what the service does now; called in the loop's thread, or before it runs."""
        now = self._clock()
        statuses = self._service.statuses()
        routes = tuple(self._route(status, now) for status in statuses)
        return Snapshot(
            service=self._service.name,
            versions={
                "service": version_of(self._service.name),
                "runtime": version_of("loafer-kit"),
                "python": platform.python_version(),
            },
            taken_at=time.time(),
            uptime=0.0 if self._began is None else now - self._began,
            state=self._states.state,
            loop_lag=self._lag.seconds,
            routes=routes,
            publishers=tuple(
                PublisherSnapshot(destination, int(count), int(failed), seconds)
                for destination, (count, failed, seconds) in self._published.items()
            ),
        )

    def _route(self, status: RouteStatus, now: float) -> RouteSnapshot:
        route = status.route
        record = self._record(route)
        durations = list(record.durations)
        return RouteSnapshot(
            name=route.name,
            queue=getattr(route.provider, "name", None),
            running=tuple(running(route, call, now) for call in status.calls),
            slots=route.flow.concurrency,
            backlog=status.backlog,
            unsettled=route.provider.unsettled,
            receivers=status.receivers,
            last_poll=None if record.polled_at is None else now - record.polled_at,
            received=record.received,
            rate_1m=record.handled.per_second(60),
            rate_5m=record.handled.per_second(300),
            durations=Durations(*(quantile(durations, part) for part in (0.5, 0.95, 0.99))),
            outcomes={name.replace("_", " "): count for name, count in record.outcomes.items()},
            retries=record.outcomes["retried"],
            dead_letters=record.settled["dead-lettered"],
            given_up=record.settled["given up"],
            lost_leases=record.lost,
            failed_heartbeats=record.failed_heartbeats,
            failed_polls=record.failed_polls,
            paused=route.flow.paused,
            rate_limit=route.flow.rate_limit,
            breaker_open=route.flow.breaker.is_open,
            stuck=status.stuck,
            requests={
                action: Requests(counted.requests, counted.failures, counted.seconds)
                for action, counted in request_statistics(route.provider).items()
            },
        )

    def _record(self, route: ObservedRoute) -> "_Record":
        record = self._routes.get(route.name)
        if record is None:
            record = self._routes[route.name] = _Record(Rate(self._clock))
        return record

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

    def finished(self, call: ObservedCall) -> None:
        record = self._record(call.route)
        record.handled.add(len(call.deliveries))
        record.durations.append(call.seconds)
        for delivery in call.deliveries:
            record.outcomes[outcome_label(delivery.outcome)] += 1

    def settled(
        self, route: ObservedRoute, messages: Sequence[Message], result: Settlement, seconds: float
    ) -> None:
        self._record(route).settled[result] += len(messages)

    def lost(self, route: ObservedRoute, message: Message) -> None:
        self._record(route).lost += 1

    def heartbeat_sent(
        self, route: ObservedRoute, messages: Sequence[Message], error: BaseException | None
    ) -> None:
        self._record(route).failed_heartbeats += error is not None

    def published(self, destination: str, seconds: float, error: BaseException | None) -> None:
        counts = self._published.setdefault(destination, [0, 0, 0.0])
        counts[error is not None] += 1
        counts[2] += seconds


@dataclass(slots=True)
class _Record:
    """What a recorder has counted of one route."""

    handled: Rate
    received: int = 0
    polled_at: float | None = None
    failed_polls: int = 0
    lost: int = 0
    failed_heartbeats: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    settled: Counter[Settlement] = field(default_factory=Counter)
    durations: deque[float] = field(default_factory=lambda: deque(maxlen=_DURATIONS))


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


def running(route: ObservedRoute, call: ObservedCall, now: float) -> RunningHandler:
    """Describe a handler call; `now` is by `time.monotonic`."""
    ids = (route.provider.describe(message).get("message_id") for message in call.messages)
    return RunningHandler(tuple(str(found) for found in ids if found is not None), now - call.began)
