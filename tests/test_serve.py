"""A service within an event loop that runs already."""

import asyncio
import signal
import threading

import pytest

from loafer_kit import Abort, Application, LoaferManager
from loafer_kit.exceptions import ConfigurationError, ConsumerError, ProviderError
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


async def accept(message, metadata):
    return True


async def test_a_manager_serves_until_its_source_ends():
    """Plain handlers get a thread for each slot; callbacks run; signals are left alone."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    events, barrier = [], threading.Barrier(12, timeout=20)

    def handler(message, metadata):
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
        barrier.wait()
        return True

    provider = InMemoryProvider(range(1, 13))
    manager = LoaferManager([Route(provider, handler, concurrency=12)])

    @manager.startup
    async def start(manager):
        events.append("started")

    @manager.teardown
    async def tear_down(manager):
        events.append("torn down")

    await asyncio.wait_for(manager.serve(), 30)
    assert len(provider.acknowledged) == 12
    assert events == ["started", "torn down"]


async def test_cancelling_finishes_what_is_in_hand():
    """A second cancellation gives it back."""
    events, started, release = [], asyncio.Event(), asyncio.Event()

    async def handler(message, metadata):
        started.set()
        await release.wait()
        return True

    for cancellations in (1, 2):
        started.clear()
        release.clear()
        provider = InMemoryProvider(["m"], endless=True)
        manager = LoaferManager([Route(provider, handler)])

        @manager.teardown
        async def tear_down(manager):
            events.append("torn down")

        serving = asyncio.create_task(manager.serve())
        await started.wait()
        for _ in range(cancellations):
            serving.cancel()
            await asyncio.sleep(0.01)
        if cancellations == 1:
            assert not serving.done()
            release.set()
        await asyncio.wait([serving], timeout=5)
        assert serving.cancelled()
        assert provider.acknowledged == (["m"] if cancellations == 1 else [])
        assert provider.remaining == cancellations - 1
    assert events == ["torn down"] * 2


async def test_a_provider_that_fails_raises_its_error():
    """`serve` does not exit: the loop belongs to somebody else."""

    class Broken(InMemoryProvider):
        async def fetch(self, limit):
            raise ProviderError("No such queue: q.")

    with pytest.raises(ProviderError, match="No such queue"):
        await LoaferManager([Route(Broken(), accept)]).serve()


async def test_an_application_serves_too():
    """Its consumer's failure is raised."""

    class Consumer:
        async def read(self):
            if app.seen:
                raise RuntimeError("no more") if app.fails else Abort("messages.ended", None)
            return "m"

    async def callback(app, message):
        app.seen.append(message)

    app = Application("app", consumer=Consumer(), callback=callback)
    app.seen, app.fails = [], False
    await app.serve()
    assert app.seen == ["m"]
    app.fails = True
    with pytest.raises(ConsumerError):
        await app.serve()


@pytest.mark.parametrize("kind", ["manager", "application"])
async def test_run_in_a_running_loop_says_what_to_do(kind):
    """One line, and no coroutine that nobody awaits."""

    async def callback(app, message):
        pass

    class Consumer:
        async def read(self):
            raise AssertionError("nothing may be read")

    service = (
        LoaferManager([Route(InMemoryProvider(), accept)])
        if kind == "manager"
        else Application("app", consumer=Consumer(), callback=callback)
    )
    with pytest.raises(ConfigurationError, match=r"await .*serve\(\) in it instead"):
        service.run()


async def test_the_start_is_logged_with_its_facts(caplog):
    """As fields of the record."""
    caplog.set_level("INFO")
    routes = [Route(InMemoryProvider(), accept, name="orders", concurrency=3)]
    await LoaferManager(routes, name="pytest", grace_time=7).serve()
    (record,) = [r for r in caplog.records if r.getMessage().startswith("service.started")]
    assert (record.event, record.service, record.version) == (
        "service.started",
        "pytest",
        pytest.__version__,
    )
    assert (record.routes, record.max_jobs, record.grace_time) == ({"orders": 3}, 3, 7)
    assert record.runtime


async def test_a_service_has_started_when_the_providers_of_all_routes_are_open(caplog):
    """It is not said of one whose provider cannot be opened."""
    caplog.set_level("INFO")
    opened = []

    class Slow(InMemoryProvider):
        async def start(self, lost):
            await super().start(lost)
            await asyncio.sleep(0.01)
            opened.append(started_lines(caplog))

    class Broken(InMemoryProvider):
        async def start(self, lost):
            raise ProviderError("no queue")

    await LoaferManager([Route(Slow(), accept), Route(InMemoryProvider(), accept)]).serve()
    assert opened == [[]]
    assert len(started_lines(caplog)) == 1

    caplog.clear()
    with pytest.raises(ProviderError):
        await LoaferManager([Route(InMemoryProvider(), accept), Route(Broken(), accept)]).serve()
    assert started_lines(caplog) == []


def started_lines(caplog):
    return [record for record in caplog.records if record.event == "service.started"]
