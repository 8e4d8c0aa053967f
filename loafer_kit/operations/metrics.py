"""The metrics of a service: a snapshot as families of samples."""

from collections.abc import Callable, Iterable

from loafer_kit.operations.samples import MOST_VALUES, OTHERS, Family
from loafer_kit.operations.snapshot import OUTCOMES, RouteSnapshot, Snapshot


def families(snapshot: Snapshot) -> list[Family]:
    """Return all metrics. A label has at most `MOST_VALUES` values; `OTHERS` stands for all others."""
    info = Family("loafer_service", "info", "The service and its versions.")
    info.add(1, **info_of(snapshot))
    label_of = _labels(route.name for route in snapshot.routes)
    return [
        info,
        *_counted(snapshot, label_of),
        *_published(snapshot),
        *_timed(snapshot, label_of),
        *_held(snapshot.routes, label_of),
    ]


def info_of(snapshot: Snapshot) -> dict[str, str]:
    """Return the name of the service, and the versions that are known."""
    versions = {
        "version": snapshot.versions["service"],
        "loafer_kit": snapshot.versions["runtime"],
    }
    known = {name: version for name, version in versions.items() if version is not None}
    return {"service": snapshot.service, **known}


def _labels(names: Iterable[str]) -> Callable[[str], str]:
    kept = set(list(dict.fromkeys(names))[:MOST_VALUES])
    return lambda name: name if name in kept else OTHERS


def _once(snapshot: Snapshot) -> Iterable[RouteSnapshot]:
    """Return one route of each name: all of them have the same counts."""
    return {route.name: route for route in snapshot.routes}.values()


def _counted(snapshot: Snapshot, label_of: Callable[[str], str]) -> list[Family]:
    received = _counter("messages_received", "Messages that arrived.")
    handled = _counter("messages_handled", "Messages by what was decided about them.")
    dead_letters = _counter(
        "dead_letters", "Messages that the service sent to a dead-letter queue."
    )
    given_up = _counter(
        "settlements_given_up", "Messages whose outcome the source did not confirm."
    )
    leases = _counter("leases_lost", "Messages that another consumer may have received meanwhile.")
    heartbeats = _counter("heartbeats", "Requests that extend leases.")
    failures = _counter("heartbeat_failures", "Requests that could not extend leases.")
    polls = _counter("poll_failures", "Fetches that failed.")
    for route in _once(snapshot):
        name = label_of(route.name)
        received.add(route.received, route=name)
        for outcome in OUTCOMES:
            handled.add(route.outcomes.get(outcome, 0), route=name, outcome=outcome)
        dead_letters.add(route.dead_letters, route=name)
        given_up.add(route.given_up, route=name)
        leases.add(route.lost_leases, route=name)
        heartbeats.add(route.heartbeats, route=name)
        failures.add(route.failed_heartbeats, route=name)
        polls.add(route.failed_polls, route=name)
    return [received, handled, dead_letters, given_up, leases, heartbeats, failures, polls]


def _published(snapshot: Snapshot) -> list[Family]:
    published = _counter("messages_published", "Messages that were published.")
    failures = _counter("publish_failures", "Messages that could not be published.")
    for publisher in snapshot.publishers:
        published.add(publisher.published, destination=publisher.destination)
        failures.add(publisher.failed, destination=publisher.destination)
    return [published, failures]


def _timed(snapshot: Snapshot, label_of: Callable[[str], str]) -> list[Family]:
    waits = Family(
        "loafer_message_wait_seconds",
        "histogram",
        "From the sending of a message to the start of its handler.",
    )
    durations = Family(
        "loafer_handler_duration_seconds", "histogram", "How long handler calls take."
    )
    polled = _gauge("last_poll_timestamp_seconds", "When a fetch was last answered.")
    for route in _once(snapshot):
        name = label_of(route.name)
        waits.add_histogram(route.wait_seconds, route=name)
        durations.add_histogram(route.call_seconds, route=name)
        if route.last_poll is not None:  # of several routes, the one that has waited longest
            polled.add(snapshot.taken_at - route.last_poll, min, route=name)
    return [waits, durations, polled]


def _held(routes: Iterable[RouteSnapshot], label_of: Callable[[str], str]) -> list[Family]:
    """Return what routes hold now, and their requests."""
    used = _gauge("slots_used", "Handler calls that run now.")
    slots = _gauge("slots_total", "The most handler calls that run at the same time.")
    waiting = _gauge("messages_waiting", "Messages that arrived and have not started.")
    receivers = _gauge("receivers_open", "Fetches that are open now.")
    paused = _gauge("paused", "1 while the route is paused.")
    breaker = _gauge("breaker_open", "1 while the circuit breaker is open.")
    requests = _counter("requests", "Requests to the source, by action.")
    failures = _counter("request_failures", "Requests that failed, by action.")
    seconds = _counter("request_seconds", "The durations of requests, by action.")
    for route in routes:
        name = label_of(route.name)
        used.add(len(route.running), route=name)
        slots.add(route.slots, route=name)
        waiting.add(route.backlog, route=name)
        receivers.add(route.receivers, route=name)
        paused.add(route.paused, max, route=name)
        breaker.add(route.breaker_open, max, route=name)
        for action, made in route.requests.items():
            requests.add(made.count, route=name, action=action)
            failures.add(made.failures, route=name, action=action)
            seconds.add(made.seconds, route=name, action=action)
    return [used, slots, waiting, receivers, paused, breaker, requests, failures, seconds]


def _counter(name: str, text: str) -> Family:
    return Family(f"loafer_{name}", "counter", text)


def _gauge(name: str, text: str) -> Family:
    return Family(f"loafer_{name}", "gauge", text)
