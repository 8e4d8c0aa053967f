"""Snapshot: what a service does now, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loafer_kit.operations.samples import Histogram
from loafer_kit.operations.states import State


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
    """What one route does. Counts are those since the service began to run.

    Routes of one name are counted together: each of them has the counts of all.
    """

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


#: What is decided about messages. "given_back": the handler did not run to its end; "lost": another
#: consumer may have the message.
OUTCOMES = ("acknowledged", "retried", "left", "rejected", "given_back", "lost")
