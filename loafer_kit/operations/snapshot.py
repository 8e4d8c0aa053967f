"""Snapshot: what a service does now, in one process or in several together, as plain data."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from functools import reduce
from operator import add
from typing import Any, TypeVar

from loafer_kit.operations.health import State

_Kind = TypeVar("_Kind")


@dataclass(slots=True)
class Histogram:
    """Counts observations by the bucket that they fall into."""

    #: The upper bounds of the buckets; the bucket of larger values has none.
    bounds: Sequence[float]
    #: The observations of each bucket alone.
    counts: list[int] = field(default_factory=list)
    #: The sum of all observations.
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def __add__(self, other: "Histogram") -> "Histogram":
        counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        return Histogram(self.bounds, counts, self.total + other.total)


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

    def __add__(self, other: "Requests") -> "Requests":
        return Requests(*map(add, astuple(self), astuple(other)))


#: What is decided about messages. "given_back": the handler did not run to its end; "lost": another
#: consumer may have the message.
OUTCOMES = ("acknowledged", "retried", "left", "rejected", "given_back", "lost")


@dataclass(frozen=True, slots=True)
class RouteSnapshot:
    """What one route does. Counts are those since the service began to run.

    Routes of one name are counted together: each of them has the counts of all. A route whose
    processes have ended has counts, but no slots.
    """

    name: str
    queue: str | None
    running: tuple[RunningHandler, ...]
    #: How many handlers run.
    slots_used: int
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
    #: The durations of all handler calls, by bucket.
    call_seconds: Histogram
    #: From the sending of each message to the start of its handler, by bucket.
    wait_seconds: Histogram
    #: How many messages were decided so: the names are those of `OUTCOMES`.
    outcomes: Mapping[str, int]
    retries: int
    dead_letters: int
    given_up: int
    lost_leases: int
    heartbeats: int
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

    def __add__(self, other: "PublisherSnapshot") -> "PublisherSnapshot":
        counts = map(add, astuple(self)[1:], astuple(other)[1:])
        return PublisherSnapshot(self.destination, *counts)


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

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Snapshot":
        """Return the snapshot that `as_dict` has written, also from JSON."""
        routes = [
            {
                **route,
                "running": tuple(
                    RunningHandler(tuple(call["message_ids"]), call["age"])
                    for call in route["running"]
                ),
                "durations": _read(Durations, route["durations"]),
                "call_seconds": _read(Histogram, route["call_seconds"]),
                "wait_seconds": _read(Histogram, route["wait_seconds"]),
                "requests": {
                    action: _read(Requests, made) for action, made in route["requests"].items()
                },
            }
            for route in data["routes"]
        ]
        publishers = tuple(_read(PublisherSnapshot, found) for found in data["publishers"])
        read = {"routes": tuple(_read(RouteSnapshot, route) for route in routes)}
        return _read(cls, {**data, **read, "publishers": publishers})


def _read(kind: type[_Kind], data: Mapping[str, Any]) -> _Kind:
    """Return an instance; a newer version of loafer_kit may have written further members."""
    return kind(**{known.name: data[known.name] for known in fields(kind)})  # type: ignore[arg-type]


def merged(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Return one snapshot of all processes.

    Slots, rates, limits and counts are sums; of quantiles and ages it has the largest, of the last
    poll the latest; service, versions and state are those of the first process.
    """
    taken_at = max(found.taken_at for found in snapshots)
    routes: dict[tuple[str, int], list[RouteSnapshot]] = {}
    publishers: dict[str, list[PublisherSnapshot]] = {}
    for found in snapshots:
        seen: Counter[str] = Counter()  # several routes may have one name
        for route in found.routes:
            age = None if route.last_poll is None else route.last_poll + taken_at - found.taken_at
            aged = replace(route, last_poll=age)
            routes.setdefault((route.name, seen[route.name]), []).append(aged)
            seen[route.name] += 1
        for publisher in found.publishers:
            publishers.setdefault(publisher.destination, []).append(publisher)
    return replace(
        snapshots[0],
        taken_at=taken_at,
        uptime=max(found.uptime for found in snapshots),
        loop_lag=max(found.loop_lag for found in snapshots),
        routes=tuple(_route(parts) for parts in routes.values()),
        publishers=tuple(_total(parts) for parts in publishers.values()),
    )


_HELD = ("slots_used", "slots", "backlog", "unsettled", "receivers", "rate_1m", "rate_5m")
_COUNTED = (
    *("received", "retries", "dead_letters", "given_up", "lost_leases"),
    *("heartbeats", "failed_heartbeats", "failed_polls"),
    *("call_seconds", "wait_seconds"),
)
_CONDITIONS = ("paused", "breaker_open", "stuck")


def _route(parts: Sequence[RouteSnapshot]) -> RouteSnapshot:
    running = [handler for part in parts for handler in part.running]
    limits = [part.rate_limit for part in parts if part.rate_limit is not None]
    quantiles = zip(*(astuple(part.durations) for part in parts), strict=True)
    outcomes: Counter[str] = Counter()
    requests: dict[str, list[Requests]] = {}
    for part in parts:
        outcomes.update(part.outcomes)
        for action, made in part.requests.items():
            requests.setdefault(action, []).append(made)
    sums: dict[str, Any] = {
        name: _total(getattr(part, name) for part in parts) for name in (*_HELD, *_COUNTED)
    }
    conditions: dict[str, Any] = {
        name: any(getattr(part, name) for part in parts) for name in _CONDITIONS
    }
    return replace(
        parts[0],
        **sums,
        **conditions,
        running=tuple(sorted(running, key=lambda handler: -handler.age)),
        last_poll=min((p.last_poll for p in parts if p.last_poll is not None), default=None),
        durations=Durations(
            *(max((v for v in values if v is not None), default=None) for values in quantiles)
        ),
        outcomes=dict(outcomes),
        rate_limit=sum(limits) if len(limits) == len(parts) else None,
        requests={action: _total(made) for action, made in requests.items()},
    )


def _total(parts: Iterable[_Kind]) -> _Kind:
    return reduce(add, parts)


#: What a route has when its process has ended.
_NOTHING_HELD: Mapping[str, Any] = {
    **dict.fromkeys(_HELD, 0),
    **dict.fromkeys(_CONDITIONS, False),
    "running": (),
    "last_poll": None,
    "rate_limit": 0.0,
    "durations": Durations(None, None, None),
}


def lasting(snapshot: Snapshot) -> Snapshot:
    """Return what still counts when a process has ended: its counters and histograms."""
    routes = tuple(replace(route, **_NOTHING_HELD) for route in snapshot.routes)
    return replace(snapshot, routes=routes)
