"""The metrics of a service: a snapshot as families of samples, and these as text."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import add
from typing import Any, Literal

from loafer_kit.operations.snapshot import OUTCOMES, Histogram, Snapshot

Kind = Literal["counter", "gauge", "histogram", "info"]

#: Names with their values, in the order of the text.
Labels = tuple[tuple[str, str], ...]

#: The most values of a label. Beyond them, `OTHERS` stands for all others.
MOST_VALUES = 200
OTHERS = "others"

#: The content types of the two formats.
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Family:
    """The samples of one metric. The name of a counter does not have its suffix `_total`."""

    name: str
    kind: Kind
    help: str
    samples: dict[Labels, float | Histogram] = field(default_factory=dict)

    def add(
        self,
        value: float | Histogram,
        merge: Callable[[Any, Any], Any] = add,
        /,
        **labels: str,
    ) -> None:
        """Add a sample; `merge` makes one of two samples with equal labels."""
        key = tuple(labels.items())
        value = value if isinstance(value, Histogram) else float(value)
        self.samples[key] = merge(self.samples[key], value) if key in self.samples else value


# Rows of metrics: the name, the member with the value, and the text.
_COUNTERS = (
    ("messages_received", "received", "Messages that arrived."),
    ("dead_letters", "dead_letters", "Messages that the service sent to a dead-letter queue."),
    ("settlements_given_up", "given_up", "Messages whose outcome the source did not confirm."),
    ("leases_lost", "lost_leases", "Messages that another consumer may have received meanwhile."),
    ("heartbeats", "heartbeats", "Requests that extend leases."),
    ("heartbeat_failures", "failed_heartbeats", "Requests that could not extend leases."),
    ("poll_failures", "failed_polls", "Fetches that failed."),
)
_WAITS = "From the sending of a message to the start of its handler."
_HISTOGRAMS = (
    ("message_wait_seconds", "wait_seconds", _WAITS),
    ("handler_duration_seconds", "call_seconds", "How long handler calls take."),
)
_GAUGES = (
    ("slots_used", "slots_used", "Handler calls that run now."),
    ("slots_total", "slots", "The most handler calls that run at the same time."),
    ("messages_waiting", "backlog", "Messages that arrived and have not started."),
    ("receivers_open", "receivers", "Fetches that are open now."),
)
_CONDITIONS = (
    ("paused", "paused", "1 while the route is paused."),
    ("breaker_open", "breaker_open", "1 while the circuit breaker is open."),
)
_REQUESTS = (
    ("requests", "count", "Requests to the source, by action."),
    ("request_failures", "failures", "Requests that failed, by action."),
    ("request_seconds", "seconds", "The durations of requests, by action."),
)
_PUBLISHERS = (
    ("messages_published", "published", "Messages that were published."),
    ("publish_failures", "failed", "Messages that could not be published."),
)


def families(snapshot: Snapshot) -> list[Family]:
    """Return all metrics. A label has at most `MOST_VALUES` values; `OTHERS` stands for all others."""
    names = list(dict.fromkeys(route.name for route in snapshot.routes))
    labels = {name: {"route": name} for name in names[:MOST_VALUES]}
    routes = [(route, labels.get(route.name, {"route": OTHERS})) for route in snapshot.routes]
    # Routes of one name have the same counts.
    once = list({route.name: (route, label) for route, label in routes}.values())
    held = [(route, label) for route, label in routes if route.slots]
    requests = [
        (made, {**label, "action": action})
        for route, label in routes
        for action, made in route.requests.items()
    ]
    publishers = [(found, {"destination": found.destination}) for found in snapshot.publishers]
    info = Family("loafer_service", "info", "The service and its versions.")
    info.add(1, **info_of(snapshot))
    handled = Family(
        "loafer_messages_handled", "counter", "Messages by what was decided about them."
    )
    polled = Family(
        "loafer_last_poll_timestamp_seconds", "gauge", "When a fetch was last answered."
    )
    for route, label in once:
        for outcome in OUTCOMES:
            handled.add(route.outcomes.get(outcome, 0), **label, outcome=outcome)
        if route.last_poll is not None:  # of several routes, the one that has waited longest
            polled.add(snapshot.taken_at - route.last_poll, min, **label)
    return [
        info,
        handled,
        *_table("counter", _COUNTERS, once),
        *_table("counter", _PUBLISHERS, publishers),
        *_table("histogram", _HISTOGRAMS, once),
        polled,
        *_table("gauge", _GAUGES, held),
        *_table("gauge", _CONDITIONS, held, max),
        *_table("counter", _REQUESTS, requests),
    ]


def _table(
    kind: Kind,
    rows: Iterable[tuple[str, str, str]],
    entries: Iterable[tuple[object, Mapping[str, str]]],
    merge: Callable[[Any, Any], Any] = add,
) -> Iterator[Family]:
    """Yield a family for each row, with a sample of each entry under its labels."""
    for name, member, text in rows:
        family = Family(f"loafer_{name}", kind, text)
        for entry, labels in entries:
            family.add(getattr(entry, member), merge, **labels)
        yield family


def info_of(snapshot: Snapshot) -> dict[str, str]:
    """Return the name of the service, and the versions that are known."""
    versions = {
        "version": snapshot.versions["service"],
        "loafer_kit": snapshot.versions["runtime"],
    }
    known = {name: version for name, version in versions.items() if version is not None}
    return {"service": snapshot.service, **known}


def content_type(accept: str) -> str:
    """Return the content type that a request's `Accept` header prefers."""
    preferred = {}
    for position, choice in enumerate(accept.split(",")):
        media_type, *parameters = (part.strip().lower() for part in choice.split(";"))
        preferred[media_type] = (_quality(parameters), -position)
    openmetrics = preferred.get("application/openmetrics-text", (0.0, 0))
    plain = max(
        preferred.get(media_type, (0.0, 0)) for media_type in ("text/plain", "text/*", "*/*")
    )
    return OPENMETRICS if openmetrics[0] > 0 and openmetrics >= plain else PROMETHEUS


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def as_text(families: Iterable[Family], content_type: str = PROMETHEUS) -> str:
    """Return families in the format of `content_type`; those without samples are left out."""
    openmetrics = content_type == OPENMETRICS
    lines = [line for family in families if family.samples for line in _lines(family, openmetrics)]
    if openmetrics:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines)


def _lines(family: Family, openmetrics: bool) -> Iterator[str]:
    suffix = {"counter": "_total", "info": "_info"}.get(family.kind, "")
    # OpenMetrics names the family, Prometheus the samples.
    name = family.name if openmetrics else family.name + suffix
    kind = "gauge" if family.kind == "info" and not openmetrics else family.kind
    yield f"# HELP {name} {_escaped(family.help)}"
    yield f"# TYPE {name} {kind}"
    for labels, value in family.samples.items():
        if isinstance(value, Histogram):
            yield from _histogram_lines(family.name, _braces(labels), value)
        else:
            yield f"{family.name}{suffix}{_braces(labels)} {number(value)}"


def _histogram_lines(name: str, braces: str, histogram: Histogram) -> Iterator[str]:
    count = 0
    others = f"{braces[1:-1]}," if braces else ""
    for bound, own in zip((*histogram.bounds, math.inf), histogram.counts, strict=True):
        count += own
        yield f'{name}_bucket{{{others}le="{number(bound)}"}} {count}'
    yield f"{name}_sum{braces} {number(histogram.total)}"
    yield f"{name}_count{braces} {count}"


def number(value: float) -> str:
    """Return a number as both formats write it."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return repr(float(value))


def _braces(labels: Iterable[tuple[str, str]]) -> str:
    pairs = ",".join(_pair(name, value) for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


@lru_cache(maxsize=2_000)  # a label occurs in most families
def _pair(name: str, value: str) -> str:
    return f'{name}="{_escaped(value, quote=True)}"'


def _escaped(text: str, *, quote: bool = False) -> str:
    # A lone surrogate cannot be encoded; the formats are UTF-8.
    text = text.encode("utf-8", "backslashreplace").decode().replace("\\", r"\\")
    text = text.replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text


_TIMESTAMP, _AGE = "_timestamp_seconds", "_age_seconds"


class Reports:
    """Turns families into lines of CloudWatch's embedded metric format (EMF).

    Counters become their increase since the last lines.
    """

    def __init__(self, namespace: str, service: str) -> None:
        self._namespace = namespace
        self._service = service
        self._before: dict[tuple[Labels, str], float] = {}

    def lines(self, families: list[Family], now: float) -> Iterator[str]:
        """Return a line for each label set; points in time become ages."""
        for labels, samples in by_labels(families).items():
            values = {}
            for name, (kind, value) in samples.items():
                if kind == "counter":
                    values[name] = value - self._before.get((labels, name), 0.0)
                    self._before[labels, name] = value
                elif name.endswith(_TIMESTAMP):
                    values[name.removesuffix(_TIMESTAMP) + _AGE] = now - value
                elif kind == "gauge":
                    values[name] = value
            if values:
                yield self._line({"service": self._service, **dict(labels)}, values, now)

    def _line(self, dimensions: dict[str, str], values: dict[str, float], now: float) -> str:
        metrics = [{"Name": name, "Unit": _unit(name)} for name in values]
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [list(dimensions)],
            "Metrics": metrics,
        }
        head = {"Timestamp": int(now * 1000), "CloudWatchMetrics": [directive]}
        return json.dumps({"_aws": head, **dimensions, **values})


def by_labels(families: Iterable[Family]) -> Mapping[Labels, dict[str, tuple[Kind, float]]]:
    """Return the samples of each label set by name; of a histogram, its sum and its count."""
    found: dict[Labels, dict[str, tuple[Kind, float]]] = {}
    for family in families:
        suffix = "_total" if family.kind == "counter" else ""
        for labels, value in family.samples.items():
            samples = found.setdefault(labels, {})
            if isinstance(value, Histogram):
                samples[f"{family.name}_sum"] = ("counter", value.total)
                samples[f"{family.name}_count"] = ("counter", float(sum(value.counts)))
            else:
                samples[family.name + suffix] = (family.kind, value)
    return found


def _unit(name: str) -> str:
    return "Seconds" if "_seconds" in name and not name.endswith("_count") else "Count"
