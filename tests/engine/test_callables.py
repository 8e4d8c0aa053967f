"""Plain handlers that hang: their threads cannot be stopped."""

import asyncio
import contextlib
import threading

import pytest

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.engine.callables import DaemonThreadPool, handler_threads
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


class Source(AbstractProvider):
    """Delivers what `send` gives it, and records the outcomes."""

    batch_size = 10
    poll_grace = 0.01

    def __init__(self, *messages):
        self.waiting = asyncio.Queue()
        if messages:
            self.send(*messages)
        self.settled = []
        self.changed = asyncio.Event()

    def send(self, *messages):
        self.waiting.put_nowait(messages)

    async def start(self, lost):
        self.lost = lost

    async def fetch_messages(self):
        return list(await self.waiting.get())

    async def confirm_message(self, message):
        raise AssertionError("settle is called")

    async def settle(self, message, outcome):
        self.settled.append((message["id"], message["receipt"], str(outcome)))
        self.changed.set()

    async def until_settled(self, count):
        async with asyncio.timeout(5):
            while len(self.settled) < count:
                self.changed.clear()
                await self.changed.wait()

    def describe(self, message):
        return {"message_id": message["id"]}


def message(name, receipt=1):
    return {"id": name, "receipt": receipt}


class Hanging:
    """A plain handler: messages named "hang…" hang until `end`; the others succeed."""

    def __init__(self):
        self.starts = []
        self.end = threading.Event()
        self.running = threading.Semaphore(0)

    def __call__(self, message, metadata):
        self.starts.append(message["id"])
        self.running.release()
        if message["id"].startswith("hang"):
            self.end.wait(20)
        return True


@pytest.fixture
def hanging():
    handler = Hanging()
    yield handler
    handler.end.set()


@contextlib.asynccontextmanager
async def running(*routes, **options):
    """Run routes until the block ends, then stop them."""
    dispatcher = LoaferDispatcher(routes, **options)
    task = asyncio.create_task(dispatcher.dispatch_providers())
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        await asyncio.wait_for(task, 10)


@contextlib.contextmanager
def threads(limit):
    """Run plain handlers in so many threads."""
    pool = DaemonThreadPool(limit)
    token = handler_threads.set(pool)
    try:
        yield pool
    finally:
        handler_threads.reset(token)
        pool.shutdown()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it happens in a thread
            await asyncio.sleep(0.005)


async def test_a_slot_stays_taken_while_its_thread_runs(hanging, caplog):
    """Nothing starts beside hanging threads; what waits is given back, and one line says so."""
    source = Source(message("hang-1"), message("hang-2"), *map(message, "abc"))
    options = {"concurrency": 2, "prefetch": 20, "handler_timeout": 0.05}
    route = Route(source, hanging, name="orders", **options)
    async with running(route, max_jobs=3):
        await source.until_settled(3)
        assert sorted(source.settled) == [(n, 1, "to be given back") for n in "abc"]
        assert sorted(hanging.starts) == ["hang-1", "hang-2"]
        (stuck,) = [r for r in caplog.records if r.getMessage().startswith("handlers.stuck")]
        assert (stuck.levelname, stuck.route) == ("ERROR", "orders")
        assert sorted(stuck.message_ids) == ["hang-1", "hang-2"]
        source.send(message("late"))  # a fetch is still open
        await source.until_settled(4)
        assert source.settled[3] == ("late", 1, "to be given back")
        source.settled.clear()
        hanging.end.set()
        await source.until_settled(2)
        assert sorted(source.settled) == [("hang-1", 1, "left"), ("hang-2", 1, "left")]
        source.send(message("d"))
        await source.until_settled(3)
        assert source.settled[2] == ("d", 1, "acknowledged")


async def test_a_stuck_route_can_be_told(hanging):
    """A health check reads it from the worker; it passes when a thread ends."""
    source = Source(message("hang"))
    route = Route(source, hanging, concurrency=1, handler_timeout=0.2)
    async with running(route) as dispatcher:
        await until(lambda: hanging.starts)
        (worker,) = dispatcher._tasks
        assert not worker.status().stuck
        await until(lambda: worker.status().stuck)
        hanging.end.set()
        await until(lambda: not worker.status().stuck)


async def test_a_limit_of_all_routes_can_be_stuck_too(hanging, caplog):
    """The route that has no slot left gives back what it holds."""

    async def accept(message, metadata):
        return True

    one, other = Source(message("hang")), Source()
    routes = (
        Route(one, hanging, handler_timeout=0.05),
        Route(other, accept, handler_timeout=0.05),
    )
    async with running(*routes, max_jobs=1):
        await until(lambda: hanging.starts)
        other.send(message("a"))
        await other.until_settled(1)
        assert other.settled == [("a", 1, "to be given back")]
        assert caplog.text.count("handlers.stuck") == 1
        hanging.end.set()
        await one.until_settled(1)


async def test_the_clock_starts_when_the_thread_starts():
    """Three calls of 0.2 s in one thread: each is within its limit of 0.4 s."""
    provider = InMemoryProvider(["a", "b", "c"])

    def handler(message, metadata):
        threading.Event().wait(0.2)
        return True

    with threads(1):
        route = Route(provider, handler, concurrency=3, handler_timeout=0.4)
        await LoaferDispatcher([route]).dispatch_providers()
    assert sorted(provider.acknowledged) == ["a", "b", "c"]
    assert provider.left == []


async def test_a_call_that_never_began_is_given_back(hanging, caplog):
    """The service ends: the queued call is withdrawn, and it is not a failure."""
    source = Source(message("hang"), *map(message, "abcdef"))
    with threads(1):
        async with running(Route(source, hanging), grace_time=0.05):
            await until(lambda: hanging.starts)
    assert hanging.starts == ["hang"]
    assert sorted(source.settled) == [
        *((name, 1, "to be given back") for name in "abcdef"),
        ("hang", 1, "left"),
    ]
    assert "message.failed" not in caplog.text
    hanging.end.set()
    await asyncio.sleep(0.01)
    assert hanging.starts == ["hang"]


async def test_healthy_messages_pass_threads_that_hang(hanging):
    """A thread beyond its time limit no longer counts: the slots are the limit."""
    source = Source(message("hang-1"), message("hang-2"), message("a"), message("b"))
    with threads(2) as pool:
        route = Route(source, hanging, concurrency=4, handler_timeout=0.05)
        async with running(route):
            await source.until_settled(2)
            assert sorted(source.settled) == [("a", 1, "acknowledged"), ("b", 1, "acknowledged")]
            hanging.end.set()
            await source.until_settled(4)
        await until(lambda: pool._threads <= 2)


async def test_a_plain_error_handler_runs_while_every_thread_hangs(hanging):
    """It decides at once; its decision is carried out when the thread ends."""
    source = Source(message("hang"))
    reported = threading.Event()

    def error_handler(exc_info, message):
        assert exc_info[0] is TimeoutError
        reported.set()
        return True

    with threads(1):
        options = {"concurrency": 1, "handler_timeout": 0.05}
        async with running(Route(source, hanging, error_handler=error_handler, **options)):
            await until(reported.is_set)
            assert source.settled == []
            hanging.end.set()
            await source.until_settled(1)
    assert source.settled == [("hang", 1, "acknowledged")]


async def test_a_lost_message_is_not_started_beside_its_own_thread(hanging, caplog):
    """It comes back with a new receipt: that one is settled when the thread ends."""
    first = message("hang")
    source = Source(first)
    async with running(Route(source, hanging, concurrency=3)):
        await until(lambda: hanging.starts)
        source.lost(first)
        await until(lambda: "handler.runs_on" in caplog.text)
        source.send(message("hang", 2), message("a"))
        await source.until_settled(1)
        assert source.settled == [("a", 1, "acknowledged")]
        assert hanging.starts == ["hang", "a"]
        hanging.end.set()
        await source.until_settled(2)
    assert source.settled[1] == ("hang", 2, "left")


async def test_the_end_does_not_wait_for_a_thread_beyond_the_grace_time(hanging):
    """Its message is left: given back, it could be handled beside the thread."""
    source = Source(message("hang"))
    async with running(Route(source, hanging, handler_timeout=0.05), grace_time=0.1):
        await until(lambda: hanging.starts)
    assert source.settled == [("hang", 1, "left")]


async def test_a_single_fetch_ends_though_a_thread_hangs(hanging):
    """`forever=False` waits for threads no longer than `grace_time`."""
    provider = InMemoryProvider([message("hang"), message("a")])
    route = Route(provider, hanging, handler_timeout=0.05)
    dispatcher = LoaferDispatcher([route], grace_time=0.1)
    await asyncio.wait_for(dispatcher.dispatch_providers(forever=False), 5)
    assert [m["id"] for m in provider.acknowledged] == ["a"]
    assert [m["id"] for m in provider.left] == ["hang"]


async def test_the_breaker_counts_a_failure_at_its_time_limit(hanging):
    """It does not wait for the thread."""
    source = Source(message("hang"))
    route = Route(source, hanging, handler_timeout=0.05, breaker_threshold=1)
    async with running(route):
        await until(lambda: route.flow.breaker.is_open)
        assert source.settled == []
        hanging.end.set()
        await source.until_settled(1)
