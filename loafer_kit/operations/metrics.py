"""Metrics: counts what happens inside a service, by route."""

import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from loafer_kit.engine.workers import RouteStatus
from loafer_kit.events import ObservedCall, ObservedRoute, Observer, Settlement
from loafer_kit.operations.samples import Family, Histogram
from loafer_kit.outcomes import Acknowledge, DeadLetter, Outcome, Release, Retry
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Of OpenTelemetry's conventions for durations.
DURATION_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)

#: A message waits from milliseconds to hours.
WAIT_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

#: The most values of a label. Beyond them, `OTHERS` stands for all others.
MOST_VALUES = 200
OTHERS = "others"


@runtime_checkable
class RequestStatistics(Protocol):
    """The requests of one action, as providers count them."""

    requests: int
    failures: int
    seconds: float


class RouteMetrics:
    """What happened on the routes of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.received = 0
        self.running = 0
        self.handled: Counter[str] = Counter()
        self.waits = Histogram(WAIT_BOUNDS)
        self.durations = Histogram(DURATION_BOUNDS)
        self.settled: Counter[Settlement] = Counter()
        self.lost = 0
        self.heartbeats = 0
        self.heartbeat_failures = 0
        self.poll_failures = 0
        #: Unix time of the last fetch that was answered; None until the first.
        self.polled_at: float | None = None


class Metrics(Observer):
    """Counts the events of one service. `families(statuses)` returns all that it counted."""

    def __init__(self, service: str, versions: Mapping[str, str]) -> None:
        #: The service and its versions.
        self.info = {"service": service, **versions}
        self._routes: dict[str, RouteMetrics] = {}
        #: By the route's identity: equal routes may be different ones.
        self._by_id: dict[int, tuple[ObservedRoute, RouteMetrics]] = {}
        #: By destination: the messages published, and the failures.
        self._published: dict[str, list[int]] = {}
        self._told_of_limit = False

    def _of(self, route: ObservedRoute) -> RouteMetrics:
        known = self._by_id.get(id(route))
        if known is None:
            name = self._label(route.name, self._routes)
            known = route, self._routes.setdefault(name, RouteMetrics(name))
            self._by_id[id(route)] = known
        return known[1]

    def _label(self, value: str, known: Collection[str]) -> str:
        if value in known or len(known) < MOST_VALUES:
            return value
        if not self._told_of_limit:
            self._told_of_limit = True
            logger.warning(
                "metrics.limited: there are more than %d routes or destinations; %r counts the rest",
                MOST_VALUES,
                OTHERS,
                extra={"event": "metrics.limited", "most": MOST_VALUES},
            )
        return OTHERS

    def route_started(self, route: ObservedRoute) -> None:
        """Show the route before anything happens on it."""
        self._of(route)

    def polled(
        self, route: ObservedRoute, received: int, seconds: float, error: BaseException | None
    ) -> None:
        """Note the time of a fetch that was answered."""
        metrics = self._of(route)
        if error is None:
            metrics.polled_at = time.time()
        else:
            metrics.poll_failures += 1

    def received(self, route: ObservedRoute, messages: Sequence[Message]) -> None:
        """Count messages."""
        self._of(route).received += len(messages)

    def started(self, call: ObservedCall) -> None:
        """Measure how long the messages have waited."""
        route = call.route
        metrics = self._of(route)
        metrics.running += 1
        sent_at, now = route.provider.sent_at, time.time()
        for message in call.messages:
            if (sent := sent_at(message)) is not None:
                metrics.waits.observe(max(0.0, now - sent))

    def finished(self, call: ObservedCall) -> None:
        """Count the outcomes, and measure the call."""
        metrics = self._of(call.route)
        metrics.running -= 1
        metrics.durations.observe(call.seconds)
        for position, delivery in enumerate(call.deliveries):
            outcome = "lost" if position in call.lost else outcome_label(delivery.outcome)
            metrics.handled[outcome] += 1

    def settled(
        self, route: ObservedRoute, messages: Sequence[Message], result: Settlement, seconds: float
    ) -> None:
        """Count what became of messages."""
        self._of(route).settled[result] += len(messages)

    def lost(self, route: ObservedRoute, message: Message) -> None:
        """Count a lost lease."""
        self._of(route).lost += 1

    def heartbeat_sent(
        self, route: ObservedRoute, messages: Sequence[Message], error: BaseException | None
    ) -> None:
        """Count a heartbeat."""
        metrics = self._of(route)
        metrics.heartbeats += 1
        metrics.heartbeat_failures += error is not None

    def published(self, destination: str, seconds: float, error: BaseException | None) -> None:
        """Count a published message."""
        name = self._label(destination, self._published)
        counts = self._published.setdefault(name, [0, 0])
        counts[error is not None] += 1

    def families(self, statuses: Iterable[RouteStatus] = ()) -> list[Family]:
        """Return all metrics; `statuses` say what routes hold now."""
        info = Family("loafer_service", "info", "The service and its versions.")
        info.add(1, **self.info)
        return [info, *self._counted(), *self._of_routes(), *self._of_statuses(statuses)]

    def _counted(self) -> list[Family]:
        received = _counter("messages_received", "Messages that arrived.")
        handled = _counter("messages_handled", "Messages by what was decided about them.")
        dead_letters = _counter(
            "dead_letters", "Messages that the service sent to a dead-letter queue."
        )
        given_up = _counter(
            "settlements_given_up", "Messages whose outcome the source did not confirm."
        )
        leases = _counter(
            "leases_lost", "Messages that another consumer may have received meanwhile."
        )
        heartbeats = _counter("heartbeats", "Requests that extend leases.")
        failures = _counter("heartbeat_failures", "Requests that could not extend leases.")
        polls = _counter("poll_failures", "Fetches that failed.")
        published = _counter("messages_published", "Messages that were published.")
        unpublished = _counter("publish_failures", "Messages that could not be published.")
        for name, route in self._routes.items():
            received.add(route.received, route=name)
            for outcome in OUTCOME_LABELS:
                handled.add(route.handled[outcome], route=name, outcome=outcome)
            dead_letters.add(route.settled["dead-lettered"], route=name)
            given_up.add(route.settled["given up"], route=name)
            leases.add(route.lost, route=name)
            heartbeats.add(route.heartbeats, route=name)
            failures.add(route.heartbeat_failures, route=name)
            polls.add(route.poll_failures, route=name)
        for destination, (done, failed) in self._published.items():
            published.add(done, destination=destination)
            unpublished.add(failed, destination=destination)
        return [
            *(received, handled, dead_letters, given_up, leases),
            *(heartbeats, failures, polls, published, unpublished),
        ]

    def _of_routes(self) -> list[Family]:
        waits = Family(
            "loafer_message_wait_seconds",
            "histogram",
            "From the sending of a message to the start of its handler.",
        )
        durations = Family(
            "loafer_handler_duration_seconds", "histogram", "How long handler calls take."
        )
        used = _gauge("slots_used", "Handler calls that run now.")
        polled = _gauge("last_poll_timestamp_seconds", "When a fetch was last answered.")
        for name, metrics in self._routes.items():
            waits.add_histogram(metrics.waits, route=name)
            durations.add_histogram(metrics.durations, route=name)
            used.add(metrics.running, route=name)
            if metrics.polled_at is not None:
                polled.add(metrics.polled_at, route=name)
        return [waits, durations, used, polled]

    def _of_statuses(self, statuses: Iterable[RouteStatus]) -> list[Family]:
        """Return what the routes of a running service hold now, and their requests."""
        slots = _gauge("slots_total", "The most handler calls that run at the same time.")
        waiting = _gauge("messages_waiting", "Messages that arrived and have not started.")
        receivers = _gauge("receivers_open", "Fetches that are open now.")
        paused = _gauge("paused", "1 while the route is paused.")
        breaker = _gauge("breaker_open", "1 while the circuit breaker is open.")
        requests = _counter("requests", "Requests to the source, by action.")
        failures = _counter("request_failures", "Requests that failed, by action.")
        seconds = _counter("request_seconds", "The durations of requests, by action.")
        for status in statuses:
            route = status.route
            name = self._of(route).name
            slots.add(route.flow.concurrency, route=name)
            waiting.add(status.backlog, route=name)
            receivers.add(status.receivers, route=name)
            paused.add(route.flow.paused, max, route=name)
            breaker.add(route.flow.breaker.is_open, max, route=name)
            for action, made in request_statistics(route.provider).items():
                requests.add(made.requests, route=name, action=action)
                failures.add(made.failures, route=name, action=action)
                seconds.add(made.seconds, route=name, action=action)
        return [slots, waiting, receivers, paused, breaker, requests, failures, seconds]


#: The values of the label `outcome`. "lost": another consumer may have the message.
OUTCOME_LABELS = ("acknowledged", "retried", "left", "rejected", "given_back", "lost")


def outcome_label(outcome: Outcome) -> str:
    """Return the value of the label `outcome`."""
    if isinstance(outcome, Acknowledge):
        return "acknowledged"
    if isinstance(outcome, Release):
        return "given_back"
    if isinstance(outcome, Retry):
        return "retried"
    return "rejected" if isinstance(outcome, DeadLetter) else "left"


def request_statistics(provider: object) -> Mapping[str, RequestStatistics]:
    """Return the requests of a provider by action; none if it does not count them."""
    found = getattr(provider, "statistics", None)
    if not isinstance(found, Mapping):
        return {}
    return {
        str(action): made for action, made in found.items() if isinstance(made, RequestStatistics)
    }


def _counter(name: str, text: str) -> Family:
    return Family(f"loafer_{name}", "counter", text)


def _gauge(name: str, text: str) -> Family:
    return Family(f"loafer_{name}", "gauge", text)
