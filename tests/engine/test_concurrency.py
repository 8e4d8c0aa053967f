"""The concurrency of a route changes while it runs."""

import asyncio
import threading

import pytest

from loafer_kit.config import RouteOptions
from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.engine.callables import DaemonThreadPool
from loafer_kit.engine.flow import Flow
from loafer_kit.events import Observer
from loafer_kit.managers import LoaferManager
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

COUNT = 60


class Held:
    """Handlers that wait for `release`, as coroutines or in threads."""

    def __init__(self, *, threaded):
        self.started, self.permits = [], threading.Semaphore(0)
        self.running, self.most = 0, 0
        self.handler = self.handle_in_thread if threaded else self.handle

    def begin(self, content):
        self.started.append(content)
        self.running += 1
        self.most = max(self.most, self.running)

    async def handle(self, content, metadata):
        self.begin(content)
        while not self.permits.acquire(blocking=False):  # noqa: ASYNC110 - it serves both kinds
            await asyncio.sleep(0.001)
        self.running -= 1
        return True

    def handle_in_thread(self, content, metadata):
        self.begin(content)
        assert self.permits.acquire(timeout=20)
        self.running -= 1
        return True

    def release(self, count=1):
        for _ in range(count):
            self.permits.release()

    async def until(self, started):
        async with asyncio.timeout(10):
            while len(self.started) < started:  # noqa: ASYNC110 - threads set no event
                await asyncio.sleep(0.001)

    async def stays_at(self, started):
        await self.until(started)
        await asyncio.sleep(0.03)
        assert len(self.started) == started


def ordered(provider):
    """All its messages are of two groups."""
    provider.order_key = lambda message: message % 2
    return provider


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "threaded"])
async def test_handlers_start_at_once_when_it_grows_and_fewer_follow_when_it_shrinks(threaded):
    """Every message is handled once; slots, threads and the limit of all routes follow."""
    provider, held = InMemoryProvider(range(COUNT)), Held(threaded=threaded)
    route = Route(provider, held.handler, "orders", concurrency=2)
    manager = LoaferManager([route])
    serving = asyncio.create_task(manager.serve())
    await held.stays_at(2)
    route.flow.concurrency = 7
    await held.stays_at(7)
    assert manager.dispatcher.max_jobs == 7
    route.flow.concurrency = 3
    held.release(4)
    await held.stays_at(7)
    held.release(2)
    await held.stays_at(9)
    held.most = held.running
    held.release(COUNT)
    await serving
    assert sorted(held.started) == sorted(provider.acknowledged) == list(range(COUNT))
    assert held.most == 3


async def test_messages_of_a_group_stay_in_order():
    """More slots start more groups, not two messages of one."""
    provider, held = ordered(InMemoryProvider(range(COUNT))), Held(threaded=False)
    route = Route(provider, held.handler, "orders.fifo", concurrency=1)
    serving = asyncio.create_task(LoaferManager([route]).serve())
    await held.stays_at(1)
    route.flow.concurrency = 20
    await held.stays_at(2)
    held.release(10)
    await held.until(12)
    route.flow.concurrency = 1
    held.release(COUNT)
    await serving
    for group in (0, 1):
        assert [n for n in held.started if n % 2 == group] == list(range(group, COUNT, 2))


async def test_a_limit_of_all_routes_stays():
    """Of the user's: `_concurrency_limit` bounds what a route can be given."""
    held = Held(threaded=False)
    route = Route(InMemoryProvider(range(COUNT)), held.handler, "orders", concurrency=2)
    manager = LoaferManager([route], _concurrency_limit=3)
    serving = asyncio.create_task(manager.serve())
    await held.until(2)
    route.flow.concurrency = 10
    await held.stays_at(3)
    held.release(COUNT)
    await serving
    assert held.most == manager.dispatcher.max_jobs == 3


async def test_a_number_of_threads_stays():
    """Of the user's: handlers beyond it wait for a thread."""
    held = Held(threaded=True)
    route = Route(InMemoryProvider(range(COUNT)), held.handler, "orders", concurrency=2)
    serving = asyncio.create_task(LoaferManager([route], _max_threads=2).serve())
    await held.until(2)
    route.flow.concurrency = 10
    await held.stays_at(2)
    held.release(COUNT)
    await serving
    assert held.most == 2


async def test_a_route_that_shrinks_leaves_the_others_their_slots():
    """Its handlers that still run are more than it may have now; the other starts all the same."""
    held, other = Held(threaded=False), Held(threaded=False)
    late = InMemoryProvider(endless=True, wait_time=0.01)
    routes = [
        Route(InMemoryProvider(range(5)), held.handler, "a", concurrency=5),
        Route(late, other.handler, "b", concurrency=2),
    ]
    serving = asyncio.create_task(LoaferManager(routes).serve())
    await held.until(5)
    routes[0].flow.concurrency = 1
    await asyncio.sleep(0.01)
    late.put("x")
    late.put("y")
    await other.until(2)
    assert held.running == 5
    held.release(5)
    other.release(2)
    serving.cancel()
    await asyncio.wait([serving])


@pytest.mark.parametrize("when", ["before", "startup"])
async def test_a_change_before_the_first_fetch_counts(when):
    """The change of a new process that takes the place of another."""
    held = Held(threaded=True)
    route = Route(InMemoryProvider(range(COUNT)), held.handler, "orders", concurrency=1)
    manager = LoaferManager([route])

    async def change(_):
        route.flow.concurrency = 4

    if when == "before":
        await change(manager)
    else:
        manager.startup(change)
    serving = asyncio.create_task(manager.serve())
    await held.stays_at(4)
    held.release(COUNT)
    await serving


async def test_batches_count_as_one_handler():
    """As with the option, the number is that of calls."""
    held = Held(threaded=False)
    route = Route(
        InMemoryProvider(range(COUNT)),
        held.handler,
        "orders",
        concurrency=1,
        batch_handler_size=10,
        batch_handler_wait=0.01,
    )
    serving = asyncio.create_task(LoaferManager([route]).serve())
    await held.stays_at(1)
    route.flow.concurrency = 3
    await held.stays_at(3)
    held.release(COUNT)
    await serving
    assert sorted(n for batch in held.started for n in batch) == list(range(COUNT))


async def test_observers_hear_of_it_and_the_setting_lasts_for_the_next_run():
    changes, held = [], Held(threaded=False)
    route = Route(InMemoryProvider(range(5)), held.handler, "orders", concurrency=1)

    class Changes(Observer):
        def flow_changed(self, route, change):
            changes.append((route.flow.concurrency, change))

    manager = LoaferManager([route])
    manager.observe(Changes())
    serving = asyncio.create_task(manager.serve())
    await held.until(1)
    route.flow.concurrency = 2
    await held.until(2)
    held.release(5)
    await serving
    assert changes == [(2, "concurrency changed")]
    dispatcher = LoaferDispatcher([route])
    assert dispatcher.max_jobs == 2


@pytest.mark.parametrize("number", [0, -1])
def test_it_is_at_least_one(number):
    """Zero would be a pause, which has its own name."""
    flow = Flow(RouteOptions(concurrency=3))
    with pytest.raises(ValueError, match="at least 1; use pause"):
        flow.concurrency = number
    assert flow.concurrency == 3


def test_a_pool_gets_threads_for_what_waits_already():
    """Calls that were submitted before there was room start when there is."""
    pool, both = DaemonThreadPool(1), threading.Barrier(3, timeout=10)
    calls = [pool.submit(both.wait) for _ in range(2)]
    pool.resize(1)
    both.wait()
    assert sorted(call.result(10) for call in calls) != []
    pool.resize(-1)
    assert pool.submit(threading.get_ident).result(10)
    pool.shutdown()
