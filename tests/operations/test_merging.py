"""The picture of several processes: what is summed, and what is not."""

import json

from loafer_kit import LoaferManager
from loafer_kit.operations import merging
from loafer_kit.operations.metrics import families
from loafer_kit.operations.recorder import Recorder
from loafer_kit.operations.samples import Family, Histogram, as_text
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


async def accept(content, metadata):
    return True


def family(name, kind, *values, **labels):
    made = Family(name, kind, "Text.")
    for value in values:
        made.add(value, **labels)
    return made


def test_metrics_survive_json():
    """They travel from the children to the parent."""
    recorder, orders = recorded()
    recorder.polled(orders, 0, 1.0, None)
    found = families(recorder.snapshot())
    again = merging.from_data(json.loads(json.dumps(merging.as_data(found))))
    assert as_text(again) == as_text(found)


def test_counters_are_added_and_states_and_points_in_time_are_not():
    def of(number):
        histogram = Histogram((1.0,))
        histogram.observe(number)
        durations = Family("loafer_handler_duration_seconds", "histogram", "Text.")
        durations.add_histogram(histogram, route="a")
        return [
            family("loafer_messages_received", "counter", number, route="a"),
            family("loafer_slots_used", "gauge", number, route="a"),
            family("loafer_last_poll_timestamp_seconds", "gauge", number, route="a"),
            family("loafer_paused", "gauge", number % 2, route="a"),
            family("loafer_service", "info", 1, service="foobar"),
            durations,
        ]

    merged = {f.name: f for f in merging.together([of(1), of(3), of(2)])}
    values = {name: sum(f.samples.values()) for name, f in merged.items() if f.samples}
    assert values == {
        "loafer_messages_received": 6,
        "loafer_slots_used": 6,
        "loafer_last_poll_timestamp_seconds": 3,
        "loafer_paused": 1,
        "loafer_service": 1,
    }
    [histogram] = merged["loafer_handler_duration_seconds"].histograms.values()
    assert (histogram.counts, histogram.total) == ([1, 2], 6)
    assert [f.name for f in merging.lasting(merged.values())] == [
        "loafer_messages_received",
        "loafer_handler_duration_seconds",
    ]


def recorded(*names):
    routes = [Route(InMemoryProvider(), accept, name) for name in names or ["orders"]]
    manager = LoaferManager(routes, name="foobar")
    manager._dispatcher_at_work = manager.dispatcher
    return Recorder(manager), routes[0]


def snapshot(**route):
    found = recorded()[0].snapshot().as_dict()
    found["routes"][0].update(route)
    return json.loads(json.dumps(found))


def test_a_snapshot_of_all_has_the_members_of_one():
    """Each member is a sum, the largest, the latest, or that of the first."""
    handlers = [{"message_ids": [name], "age": age} for name, age in (("a", 1), ("b", 9))]
    one = snapshot(
        running=[handlers[0]],
        received=5,
        last_poll=7.0,
        rate_limit=10.0,
        outcomes={"acknowledged": 4},
        durations={"p50": 0.1, "p95": None, "p99": None},
        call_seconds={"bounds": [1.0], "counts": [2, 1], "total": 5.0},
        requests={"DeleteMessageBatch": {"count": 2, "failures": 1, "seconds": 0.5}},
    )
    two = snapshot(
        running=[handlers[1]],
        received=6,
        last_poll=None,
        rate_limit=15.0,
        paused=True,
        outcomes={"acknowledged": 1, "left": 2},
        durations={"p50": 0.3, "p95": None, "p99": None},
        call_seconds={"bounds": [1.0], "counts": [0, 4], "total": 9.0},
        requests={"DeleteMessageBatch": {"count": 3, "failures": 0, "seconds": 0.5}},
    )
    one["publishers"] = [{"destination": "q", "published": 1, "failed": 0, "seconds": 1.0}]
    two["publishers"] = [{"destination": "q", "published": 2, "failed": 1, "seconds": 1.0}]
    two["loop_lag"] = 3.0
    found = merging.merged([one, two])
    assert found.keys() == one.keys()
    assert found["loop_lag"] == 3
    assert found["publishers"] == [
        {"destination": "q", "published": 3, "failed": 1, "seconds": 2.0}
    ]
    [route] = found["routes"]
    assert route.keys() == one["routes"][0].keys()
    assert [handler["message_ids"] for handler in route["running"]] == [["b"], ["a"]]
    assert (route["received"], route["slots"], route["rate_limit"]) == (11, 20, 25)
    assert (route["last_poll"], route["paused"]) == (7, True)
    assert route["outcomes"] == {"acknowledged": 5, "left": 2}
    assert route["call_seconds"] == {"bounds": [1.0], "counts": [2, 5], "total": 14.0}
    assert route["durations"] == {"p50": 0.3, "p95": None, "p99": None}
    assert route["requests"] == {"DeleteMessageBatch": {"count": 5, "failures": 1, "seconds": 1.0}}


def test_one_process_alone_is_what_it_says():
    found = snapshot(received=1)
    assert merging.merged([found]) == found


def test_a_process_without_a_rate_limit_has_no_limit_for_all():
    """Between two changes, one may have it and another not."""
    assert merging.merged([snapshot(rate_limit=1.0), snapshot()])["routes"][0]["rate_limit"] is None


def test_routes_of_one_name_stay_apart():
    """Each of them has the counts of all: their sum would count twice."""
    recorder, route = recorded("orders", "orders")
    recorder.received(route, ["a", "b"])
    found = json.loads(json.dumps(recorder.snapshot().as_dict()))
    merged = merging.merged([found, found])
    assert [(route["name"], route["received"]) for route in merged["routes"]] == [("orders", 4)] * 2
