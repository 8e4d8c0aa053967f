"""A snapshot says what a service does, in each of its states."""

import asyncio
import json

import pytest
from operations.running import accept, serving, until

from loafer_kit import Application, LoaferManager
from loafer_kit.exceptions import (
    RejectMessage,
    RetryMessage,
    TransientProviderError,
)
from loafer_kit.ext.aws.consumers import SQSConsumer
from loafer_kit.ext.aws.handlers import SQSHandler
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.operations.recorder import Rate, Recorder, _LoopLag, quantiles, recorder_of
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider, run_until_empty


async def test_a_service_is_ready_when_every_provider_has_answered_a_fetch():
    """Starting before that, stopping from the stop on; without a provider it never is ready."""
    answer = asyncio.Event()

    class Silent(InMemoryProvider):
        async def fetch(self, limit):
            await answer.wait()
            return await super().fetch(limit)

    states = []

    class Closing(InMemoryProvider):
        async def close(self):
            states.append(recorder.snapshot().state)

    quick, slow = Closing(endless=True, wait_time=0.01), Silent(endless=True, wait_time=0.01)
    manager = LoaferManager([Route(quick, accept, "quick"), Route(slow, accept, "slow")])
    recorder = Recorder(manager)
    assert (recorder.snapshot().state, recorder.snapshot().uptime) == ("starting", 0)

    async with serving(manager):
        await until(
            lambda: [r.last_poll is None for r in recorder.snapshot().routes] == [False, True]
        )
        assert recorder.snapshot().state == "starting"
        answer.set()
        await until(lambda: recorder.snapshot().state == "ready")
        assert recorder.snapshot().uptime > 0

    assert states == ["stopping"]
    assert recorder.snapshot().state == "stopping"


async def test_a_service_that_starts_paused_is_ready_when_its_provider_is_open():
    """It fetches nothing; resuming it does not make it less ready."""
    route = Route(InMemoryProvider(endless=True), accept, "orders")
    route.flow.pause()
    manager = LoaferManager([route])
    recorder = Recorder(manager)
    assert recorder.snapshot().state == "starting"
    async with serving(manager):
        await until(lambda: recorder.snapshot().state == "ready")
        route.flow.resume()
        assert recorder.snapshot().state == "ready"


async def test_a_failed_fetch_is_no_answer():
    class Away(InMemoryProvider):
        async def fetch(self, limit):
            raise TransientProviderError("away")

    manager = LoaferManager([Route(Away(), accept)])
    recorder = Recorder(manager)

    async with serving(manager):
        await until(
            lambda: recorder.snapshot().routes and recorder.snapshot().routes[0].failed_polls
        )
        snapshot = recorder.snapshot()

    assert (snapshot.state, snapshot.routes[0].last_poll) == ("starting", None)


async def test_running_handlers_are_named_with_their_age():
    """And what waits behind them."""
    release = asyncio.Event()

    async def hang(content, metadata):
        await release.wait()
        return True

    now = [0.0]
    provider = InMemoryProvider(["a", "b", "c"], endless=True)
    manager = LoaferManager([Route(provider, hang, "orders", concurrency=1, prefetch=20)])
    recorder = Recorder(manager, clock=lambda: now[0])

    async with serving(manager):
        await until(lambda: recorder.snapshot().routes and recorder.snapshot().routes[0].running)
        (running,) = recorder.snapshot().routes[0].running
        now[0] = next(iter(manager.dispatcher.statuses()[0].calls)).began + 7
        route = recorder.snapshot().routes[0]
        release.set()

    assert running.message_ids == ("1",)
    assert route.running[0].age == 7
    assert (route.name, route.slots, route.backlog, route.received) == ("orders", 1, 2, 3)
    assert route.receivers == 1


async def test_outcomes_are_counted_by_kind():
    async def decide(content, metadata):
        match content:
            case "reject":
                raise RejectMessage("no")
            case "retry" if not retried:
                retried.append(content)
                raise RetryMessage(delay=0)
            case "fail":
                raise ValueError
        return True

    retried = []
    provider = InMemoryProvider(["ok", "ok", "reject", "retry", "fail"])
    manager = LoaferManager([Route(provider, decide, "orders")])
    recorder = Recorder(manager)
    await manager.serve()

    (route,) = recorder.snapshot().routes
    assert route.outcomes == {"acknowledged": 3, "rejected": 1, "retried": 1, "left": 1}
    assert (route.retries, route.dead_letters, route.received) == (1, 1, 6)
    assert route.rate_1m == route.rate_5m == 6
    assert 0 <= route.durations.p50 <= route.durations.p95 <= route.durations.p99
    assert route.running == ()


async def test_the_flow_of_a_route_is_shown():
    async def fail(content, metadata):
        raise ValueError

    provider = InMemoryProvider(["a"], endless=True)
    route = Route(provider, fail, breaker_threshold=1, rate_limit=5)
    manager = LoaferManager([route])
    recorder = Recorder(manager)

    async with serving(manager):
        await until(
            lambda: recorder.snapshot().routes and recorder.snapshot().routes[0].breaker_open
        )
        route.flow.pause()
        shown = recorder.snapshot().routes[0]

    assert (shown.paused, shown.rate_limit, shown.breaker_open) == (True, 5, True)


async def test_the_lag_of_the_loop_is_shown_while_it_lasts_and_afterwards():
    now = [0.0]
    lag = _LoopLag(lambda: now[0])
    lag.start()
    assert lag.seconds == 0
    now[0] = 4.0
    assert lag.seconds == 3
    lag._measure()
    now[0] = 5.0
    assert lag.seconds == 3
    lag.stop()


async def test_a_second_run_is_recorded_too():
    provider = InMemoryProvider(["a"])
    manager = LoaferManager([Route(provider, accept)])
    recorder = Recorder(manager)

    await manager.serve()
    provider.put("b")
    await manager.serve()

    assert recorder.snapshot().routes[0].outcomes == {"acknowledged": 2}


def test_requests_and_publishers_of_a_service_on_sqs(local_queues):
    """As plain data, which JSON can hold."""
    source, target = local_queues.fresh(), local_queues.fresh()
    local_queues.send(source, {"order": 1})
    manager = LoaferManager([SQSRoute(source, handler=SQSHandler(target), name="orders")])
    recorder = Recorder(manager)

    run_until_empty(manager, local_queues)

    shown = json.loads(json.dumps(recorder.snapshot().as_dict()))
    (route,) = shown["routes"]
    (publisher,) = shown["publishers"]
    assert route["queue"] == source
    assert route["requests"]["DeleteMessageBatch"]["count"] == 1
    assert route["requests"]["DeleteMessageBatch"]["failures"] == 0
    assert (publisher["destination"], publisher["published"], publisher["failed"]) == (target, 1, 0)
    assert shown["versions"]["runtime"]


async def test_an_application_on_a_queue_is_recorded_as_a_route(local_queues):
    queue = local_queues.fresh()
    local_queues.send(queue, {"order": 1})

    async def callback(app, message):
        return []

    app = Application("shop", callback=callback)
    app.consumer = SQSConsumer(app, queue, {"WaitTimeSeconds": 1})
    recorder = Recorder(app)

    async with serving(app):
        await until(lambda: recorder._routes and recorder._routes["shop"].settled["acknowledged"])
        (route,) = recorder.snapshot().routes

    assert route.outcomes == {"acknowledged": 1}
    assert route.requests["DeleteMessageBatch"].count == 1


async def test_what_shows_a_service_reads_one_recorder():
    """Each event is counted once."""
    manager = LoaferManager([Route(InMemoryProvider(["a"]), accept)])

    assert recorder_of(manager) is recorder_of(manager)
    await manager.serve()

    assert recorder_of(manager).snapshot().routes[0].received == 1


@pytest.mark.parametrize("lost", [True, False])
async def test_lost_leases_are_counted(lost):
    class Losing(InMemoryProvider):
        def holds(self, message):
            if lost:
                self._in_flight.clear()
            return not lost

    manager = LoaferManager([Route(Losing(["a"]), accept)])
    recorder = Recorder(manager)
    await manager.serve()

    (route,) = recorder.snapshot().routes
    assert route.lost_leases == lost
    assert route.outcomes == ({} if lost else {"acknowledged": 1})


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


def test_a_rate_is_over_the_last_seconds():
    clock = Clock()
    rate = Rate(clock)

    for _ in range(600):
        rate.add(2)
        clock.now += 1

    assert rate.per_second(60) == pytest.approx(2, rel=0.1)
    assert rate.per_second(300) == pytest.approx(2, rel=0.1)
    clock.now += 61
    assert rate.per_second(60) == 0
    assert rate.per_second(300) == pytest.approx(2 * 239 / 300, rel=0.05)
    clock.now += 300
    assert rate.per_second(300) == 0


def test_a_young_rate_is_over_the_time_since_its_beginning():
    clock = Clock()
    rate = Rate(clock)

    rate.add(50)
    assert rate.per_second(60) == 50
    clock.now += 10
    assert rate.per_second(60) == rate.per_second(300) == 5


def test_a_rate_keeps_five_minutes_only():
    clock = Clock()
    rate = Rate(clock)

    for _ in range(10_000):
        rate.add()
        clock.now += 1

    assert len(rate._counts) <= 61


@pytest.mark.parametrize(
    ("values", "part", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.5, 3.0),
        ([3.0], 0.99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        (range(1, 101), 0.95, 95),
        (range(1, 101), 0.99, 99),
        (range(1, 101), 1.0, 100),
    ],
)
def test_a_quantile_is_one_of_the_values(values, part, expected):
    assert quantiles(values, [part]) == [expected]
