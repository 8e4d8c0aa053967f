"""One picture of the processes of a service: their snapshots and their metrics together."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from loafer_kit.operations.samples import Family, Histogram, Labels

#: Of several processes, the one with the largest value speaks for these.
_LARGEST = ("loafer_last_poll_timestamp_seconds", "loafer_paused", "loafer_breaker_open")

_Data = dict[str, Any]


def as_data(families: Iterable[Family]) -> list[_Data]:
    """Return families as JSON has them."""
    return [
        {
            "name": family.name,
            "kind": family.kind,
            "help": family.help,
            "samples": [[labels, value] for labels, value in family.samples.items()],
            "histograms": [
                [labels, histogram.bounds, histogram.counts, histogram.total]
                for labels, histogram in family.histograms.items()
            ],
        }
        for family in families
    ]


def from_data(data: Iterable[_Data]) -> list[Family]:
    """Return the families that `as_data` has written."""
    families = []
    for found in data:
        family = Family(found["name"], found["kind"], found["help"])
        for labels, value in found["samples"]:
            family.samples[_labels(labels)] = value
        for labels, bounds, counts, total in found["histograms"]:
            histogram = Histogram(tuple(bounds))
            histogram.counts, histogram.total = counts, total
            family.histograms[_labels(labels)] = histogram
        families.append(family)
    return families


def _labels(pairs: Iterable[Sequence[str]]) -> Labels:
    return tuple((name, value) for name, value in pairs)


def together(processes: Iterable[Iterable[Family]]) -> list[Family]:
    """Return the metrics of all processes: sums, but for points in time, states and versions."""
    merged: dict[str, Family] = {}
    for families in processes:
        for family in families:
            known = merged.setdefault(family.name, Family(family.name, family.kind, family.help))
            takes_largest = family.kind == "info" or family.name in _LARGEST
            merge: Callable[[float, float], float] = max if takes_largest else float.__add__
            for labels, value in family.samples.items():
                known.add(value, merge, **dict(labels))
            for labels, histogram in family.histograms.items():
                known.add_histogram(histogram, **dict(labels))
    return list(merged.values())


def lasting(families: Iterable[Family]) -> list[Family]:
    """Return what still counts when a process has ended: its counters and histograms."""
    return [family for family in families if family.kind in ("counter", "histogram")]


def merged(snapshots: Sequence[_Data]) -> _Data:
    """Return one snapshot of all processes.

    Slots, rates, limits and counts are sums; of quantiles and ages it has the largest, of the last
    poll the latest.
    """
    first = snapshots[0]
    routes: dict[tuple[str, int], list[_Data]] = {}
    for found in snapshots:
        seen: Counter[str] = Counter()  # several routes may have one name
        for route in found["routes"]:
            routes.setdefault((route["name"], seen[route["name"]]), []).append(route)
            seen[route["name"]] += 1
    publishers: dict[str, Counter[str]] = {}
    for found in snapshots:
        for publisher in found["publishers"]:
            counts = {key: value for key, value in publisher.items() if key != "destination"}
            publishers.setdefault(publisher["destination"], Counter()).update(counts)
    return {
        **first,
        "taken_at": max(found["taken_at"] for found in snapshots),
        "uptime": max(found["uptime"] for found in snapshots),
        "loop_lag": max(found["loop_lag"] for found in snapshots),
        "routes": [_route(parts) for parts in routes.values()],
        "publishers": [{"destination": name, **counts} for name, counts in publishers.items()],
    }


_SUMS = (
    *("slots", "backlog", "unsettled", "receivers", "received", "rate_1m", "rate_5m", "retries"),
    *("dead_letters", "given_up", "lost_leases", "heartbeats", "failed_heartbeats", "failed_polls"),
)


def _route(parts: Sequence[_Data]) -> _Data:
    running = sorted(
        (handler for part in parts for handler in part["running"]), key=lambda h: -h["age"]
    )
    limits = [part["rate_limit"] for part in parts]
    polls = [part["last_poll"] for part in parts if part["last_poll"] is not None]
    durations = {
        name: max(
            (part["durations"][name] for part in parts if part["durations"][name] is not None),
            default=None,
        )
        for name in parts[0]["durations"]
    }
    requests: dict[str, Counter[str]] = {}
    for part in parts:
        for action, made in part["requests"].items():
            requests.setdefault(action, Counter()).update(made)
    return {
        **parts[0],
        **{name: sum(part[name] for part in parts) for name in _SUMS},
        **{name: any(part[name] for part in parts) for name in ("paused", "breaker_open", "stuck")},
        "running": running,
        "last_poll": min(polls, default=None),
        "durations": durations,
        **{
            name: _histogram([part[name] for part in parts])
            for name in ("call_seconds", "wait_seconds")
        },
        "outcomes": _sum_of_each(part["outcomes"] for part in parts),
        "rate_limit": None if None in limits else sum(limits),
        "requests": {action: dict(made) for action, made in requests.items()},
    }


def _histogram(parts: Sequence[_Data]) -> _Data:
    columns = zip(*(part["counts"] for part in parts), strict=True)
    return {
        **parts[0],
        "counts": [sum(column) for column in columns],
        "total": sum(part["total"] for part in parts),
    }


def _sum_of_each(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for found in counts:
        total.update(found)
    return dict(total)
