"""Routes that are added to a running service, and removed from it."""

import asyncio
import contextlib
import threading

import pytest

from loafer_kit import LoaferManager
from loafer_kit.events import Observer
from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


async def accept(message, metadata):
    return True


def endless(name, handler=accept, messages=(), **options):
    return Route(InMemoryProvider(messages, endless=True), handler, name, **options)


class Broken(InMemoryProvider):
    async def start(self, lost):
        raise ProviderError("there is no such queue")


@contextlib.asynccontextmanager
async def serving(*routes, **options):
    manager = LoaferManager(list(routes), **options)
    started = asyncio.Event()

    class Started(Observer):
        def route_started(self, route):
            started.set()

    manager.observe(Started())
    task = asyncio.create_task(manager.serve())
    await started.wait()
    yield manager
    assert not task.done(), task.exception()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def acknowledged(route, count):
    async with asyncio.timeout(10):
        while len(route.provider.acknowledged) < count:  # noqa: ASYNC110 - the engine settles
            await asyncio.sleep(0.001)


def names(manager):
    return [status.route.name for status in manager.statuses()]


async def test_an_added_route_runs_beside_the_others():
    """With the middleware of the service; it stops with it."""
    seen = []

    async def note(content, metadata, call_next):
        seen.append(content)
        return await call_next(content, metadata)

    first, second = endless("first"), endless("second", messages=["a", "b"])
    async with serving(first, middleware=[note]) as manager:
        await manager.add(second)
        await acknowledged(second, 2)
        first.provider.put("c")
        await acknowledged(first, 1)
        assert names(manager) == ["first", "second"]
        assert manager.routes == [first, second]
    assert seen == ["a", "b", "c"]
    assert second.provider._stopped


async def test_an_added_route_brings_its_slots_and_threads():
    """Plain handlers of both routes fill their concurrency at the same time."""
    barrier = threading.Barrier(7, timeout=20)

    def wait(message, metadata):
        barrier.wait()
        return True

    first = endless("first", wait, range(3), concurrency=3)
    second = endless("second", wait, range(4), concurrency=4)
    async with serving(first) as manager:
        await manager.add(second)
        await acknowledged(second, 4)
        await acknowledged(first, 3)
        assert manager.dispatcher.max_jobs == 7
        assert manager.dispatcher.threads == 7
        await manager.remove(second)
        assert manager.dispatcher.max_jobs == 3
        assert manager.dispatcher.threads == 3


async def test_a_limit_of_all_routes_stays():
    """`_concurrency_limit` is for those that are added too."""
    running, most = 0, 0

    async def count(message, metadata):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return True

    first, second = endless("first", count, range(9)), endless("second", count, range(9))
    async with serving(first, _concurrency_limit=2) as manager:
        await manager.add(second)
        await acknowledged(first, 9)
        await acknowledged(second, 9)
    assert most == 2


async def test_a_removed_route_finishes_what_is_in_hand():
    """The others go on meanwhile, and afterwards."""
    started, release = asyncio.Event(), asyncio.Event()

    async def slow(message, metadata):
        started.set()
        await release.wait()
        return True

    first, second = endless("first"), endless("second", slow, range(20), concurrency=1)
    async with serving(first, second) as manager:
        await started.wait()
        removing = asyncio.create_task(manager.remove(second))
        first.provider.put("meanwhile")
        await acknowledged(first, 1)
        assert not removing.done()
        release.set()
        await removing
        assert second.provider.acknowledged == [0]
        assert second.provider.remaining == 19
        assert names(manager) == ["first"]
        first.provider.put("afterwards")
        await acknowledged(first, 2)


async def test_a_handler_that_outlasts_the_grace_time_is_cancelled():
    """As at the end of the service; its message goes back."""
    started = asyncio.Event()

    async def hang(message, metadata):
        started.set()
        await asyncio.sleep(60)

    route = endless("hanging", hang, ["m"])
    async with serving(endless("first"), route, grace_time=0.05) as manager:
        await started.wait()
        await manager.remove(route)
        assert route.provider.remaining == 1


async def test_a_service_without_routes_waits_for_one():
    """It still stops."""
    first, second = endless("first"), endless("second", messages=["m"])
    async with serving(first) as manager:
        await manager.remove(first)
        assert manager.routes == []
        await asyncio.sleep(0.01)
        await manager.add(second)
        await acknowledged(second, 1)
        await manager.remove(second)


async def test_a_route_can_be_added_again():
    """It starts anew."""
    route = endless("again", messages=["a"])
    async with serving(endless("first"), route) as manager:
        await acknowledged(route, 1)
        await manager.remove(route)
        route.provider.put("b")
        await manager.add(route)
        await acknowledged(route, 2)


async def test_a_route_that_cannot_open_is_not_added():
    """`add` raises why; the service goes on."""
    first, broken = endless("first"), Route(Broken(), accept, "broken")
    async with serving(first) as manager:
        with pytest.raises(ProviderError, match="no such queue"):
            await manager.add(broken)
        assert names(manager) == ["first"]
        assert manager.routes == [first]
        first.provider.put("m")
        await acknowledged(first, 1)


async def test_an_added_route_that_fails_later_ends_the_service():
    """As any route does."""

    class FailsLater(InMemoryProvider):
        async def fetch(self, limit):
            await self.failing.wait()
            raise ProviderError("the queue was deleted")

    provider = FailsLater()
    provider.failing = asyncio.Event()
    manager = LoaferManager([endless("first")])
    task = asyncio.create_task(manager.serve())
    await asyncio.sleep(0.01)
    await manager.add(Route(provider, accept, "second"))
    provider.failing.set()
    with pytest.raises(ProviderError, match="the queue was deleted"):
        await asyncio.wait_for(task, 10)


async def test_an_add_that_is_cancelled_leaves_nothing_running():
    """The provider that was opening is closed."""

    class Slow(InMemoryProvider):
        closed = False

        async def start(self, lost):
            await asyncio.sleep(60)

        async def close(self):
            self.closed = True

    slow = Route(Slow(), accept, "slow")
    async with serving(endless("first")) as manager:
        adding = asyncio.create_task(manager.add(slow))
        await asyncio.sleep(0.01)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert names(manager) == ["first"]
        assert slow.provider.closed


async def test_before_the_service_runs_routes_are_only_noted():
    """By a startup callback too; there is a thread for each handler of theirs."""
    barrier = threading.Barrier(12, timeout=20)

    def wait(message, metadata):
        barrier.wait()
        return True

    first, third = endless("first"), endless("third")
    second = endless("second", wait, range(12), concurrency=12)
    manager = LoaferManager([first])
    await manager.add(third)
    await manager.remove(third)

    @manager.startup
    async def add(manager):
        await manager.add(second)

    task = asyncio.create_task(manager.serve())
    await acknowledged(second, 12)
    assert names(manager) == ["first", "second"]
    task.cancel()
    await asyncio.wait([task])


async def test_what_is_no_route_of_the_service_is_refused():
    """One line each."""
    async with serving(endless("first")) as manager:
        with pytest.raises(ConfigurationError, match="runs routes, not 'orders'"):
            await manager.add("orders")
        with pytest.raises(ValueError, match="<Route: other> is not among the routes"):
            await manager.remove(endless("other"))


async def test_a_service_that_failed_runs_again_without_the_route():
    """Neither the error nor the removed route is left of the first run."""
    broken = Route(Broken(), accept, "broken")
    manager = LoaferManager([broken, Route(InMemoryProvider(["a"]), accept, "orders")])
    with pytest.raises(ProviderError):
        await manager.serve(forever=False)

    await manager.remove(broken)
    await manager.serve(forever=False)

    assert names(manager) == ["orders"]


async def test_the_end_of_the_service_ends_a_removal_as_well():
    """Nothing waits for ever."""
    started = asyncio.Event()

    async def hang(message, metadata):
        started.set()
        await asyncio.sleep(60)

    route = endless("hanging", hang, ["m"])
    async with serving(endless("first"), route, grace_time=0.1) as manager:
        await started.wait()
        removing = asyncio.create_task(manager.remove(route))
        await asyncio.sleep(0)
    await asyncio.wait_for(removing, 5)


async def test_observers_hear_the_start_and_the_end():
    """Of routes that come and go."""
    heard = []

    class Listener(Observer):
        def route_started(self, route):
            heard.append(("started", route.name))

        def route_ended(self, route, error):
            heard.append(("ended", route.name, error))

    second = endless("second")
    async with serving(endless("first")) as manager:
        manager.observe(Listener())
        await manager.add(second)
        await manager.remove(second)
        assert second not in [route for route, _ in manager._observers._routes]
    assert heard == [("started", "second"), ("ended", "second", None), ("ended", "first", None)]
