"""The snapshot of several processes: what is summed, and what is not."""

import json

from loafer_kit import LoaferManager
from loafer_kit.operations.recorder import Recorder
from loafer_kit.operations.snapshot import Snapshot, lasting, merged
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


async def accept(content, metadata):
    return True


def test_a_snapshot_survives_json_and_members_that_this_version_does_not_know():
    """It travels from the children to the parent, which may be of an older version."""
    recorder, orders = recorded()
    recorder.polled(orders, 0, 1.0, None)
    recorder.published("q", 1.0, None)
    found = recorder.snapshot()
    data = json.loads(json.dumps(found.as_dict()))
    data["later"] = data["routes"][0]["later"] = data["publishers"][0]["later"] = 1
    assert json.dumps(Snapshot.of(data).as_dict()) == json.dumps(found.as_dict())


def recorded(*names):
    routes = [Route(InMemoryProvider(), accept, name) for name in names or ["orders"]]
    manager = LoaferManager(routes, name="foobar")
    manager._dispatcher_at_work = manager.dispatcher
    return Recorder(manager), routes[0]


def snapshot(**route):
    found = recorded()[0].snapshot().as_dict()
    found["routes"][0].update(route)
    return json.loads(json.dumps(found))


def together(*processes):
    """What JSON has of the snapshots of processes, merged."""
    return json.loads(json.dumps(merged([Snapshot.of(each) for each in processes]).as_dict()))


def test_a_snapshot_of_all_has_the_members_of_one():
    """Each member is a sum, the largest, the latest, or that of the first."""
    handlers = [{"message_ids": [name], "age": age} for name, age in (("a", 1), ("b", 9))]
    one = snapshot(
        running=[handlers[0]],
        slots_used=1,
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
        slots_used=2,
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
    one["taken_at"], two["taken_at"] = 100.0, 102.0
    found = together(one, two)
    assert found.keys() == one.keys()
    assert found["loop_lag"] == 3
    assert found["publishers"] == [
        {"destination": "q", "published": 3, "failed": 1, "seconds": 2.0}
    ]
    [route] = found["routes"]
    assert route.keys() == one["routes"][0].keys()
    assert [handler["message_ids"] for handler in route["running"]] == [["b"], ["a"]]
    assert (route["received"], route["slots"], route["rate_limit"]) == (11, 20, 25)
    assert route["slots_used"] == 3
    assert (route["last_poll"], route["paused"]) == (9, True)  # at 102 s
    assert route["outcomes"] == {"acknowledged": 5, "left": 2}
    assert route["call_seconds"] == {"bounds": [1.0], "counts": [2, 5], "total": 14.0}
    assert route["durations"] == {"p50": 0.3, "p95": None, "p99": None}
    assert route["requests"] == {"DeleteMessageBatch": {"count": 5, "failures": 1, "seconds": 1.0}}


def test_one_process_alone_is_what_it_says():
    found = snapshot(received=1)
    assert together(found) == found


def test_a_process_without_a_rate_limit_has_no_limit_for_all():
    """Between two changes, one may have it and another not."""
    assert together(snapshot(rate_limit=1.0), snapshot())["routes"][0]["rate_limit"] is None


def test_routes_of_one_name_stay_apart():
    """Each of them has the counts of all: their sum would count twice."""
    recorder, route = recorded("orders", "orders")
    recorder.received(route, ["a", "b"])
    found = json.loads(json.dumps(recorder.snapshot().as_dict()))
    both = together(found, found)
    assert [(route["name"], route["received"]) for route in both["routes"]] == [("orders", 4)] * 2


def test_what_lasts_are_counters_and_histograms():
    """A process that has ended holds nothing."""
    shown = snapshot(
        received=5,
        backlog=1,
        paused=True,
        last_poll=3.0,
        running=[{"message_ids": ["a"], "age": 1}],
        slots_used=1,
        call_seconds={"bounds": [1.0], "counts": [2, 1], "total": 5.0},
    )
    [route] = lasting(Snapshot.of(shown)).routes
    assert (route.received, route.call_seconds.counts) == (5, [2, 1])
    assert not any(
        (route.slots_used, route.slots, route.backlog, route.paused, route.last_poll, route.running)
    )
