"""Running routes: failures, and events at awkward times."""

import asyncio
import contextvars

import pytest
from virtual_time import run as run_in_virtual_time

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.engine.backlog import Backlog, Slots
from loafer_kit.engine.jobs import Job, Jobs
from loafer_kit.engine.workers import RouteWorker
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


async def accept(message, metadata):
    return True


async def test_a_free_slot_reaches_who_has_messages():
    """A slot that a waiting route cannot use goes on to the next one that waits."""
    busy, idle, waiting = (InMemoryProvider(endless=True) for _ in range(3))
    release, handled = asyncio.Event(), asyncio.Event()

    async def block(message, metadata):
        await release.wait()
        return True

    async def handle(message, metadata):
        handled.set()
        return True

    dispatcher = LoaferDispatcher(
        [Route(busy, block), Route(idle, accept), Route(waiting, handle)], max_jobs=1
    )
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await asyncio.sleep(0)
    idle.put("first")
    await asyncio.sleep(0.01)
    busy.put("blocks")
    await asyncio.sleep(0.01)
    for flow in (route.flow for route in dispatcher.routes[1:]):
        flow.resume()  # both ask for the slot, the idle one first
    idle.stop()
    await asyncio.sleep(0.01)
    waiting.put("waits")
    await asyncio.sleep(0.01)
    release.set()
    try:
        await asyncio.wait_for(handled.wait(), 2)
    finally:
        dispatcher.stop()
        await running


async def test_a_message_never_sees_the_context_of_another():
    """What a handler sets in context variables ends with its message."""
    variable = contextvars.ContextVar("variable", default="clean")
    seen = []

    async def handler(message, metadata):
        seen.append(variable.get())
        variable.set(message)
        await asyncio.sleep(0)
        return True

    provider = InMemoryProvider(["a", "b", "c"])
    await LoaferDispatcher([Route(provider, handler, concurrency=1)]).dispatch_providers()
    assert seen == ["clean"] * 3


async def test_a_provider_whose_stop_fails_ends_all_the_same():
    """Every route ends and settles; the error comes out of the run."""

    class Stubborn(InMemoryProvider):
        poll_grace = 0.01

        def stop(self):
            raise RuntimeError("no stop")

    other = InMemoryProvider(["a"], endless=True)
    dispatcher = LoaferDispatcher([Route(Stubborn(endless=True), accept), Route(other, accept)])
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await asyncio.sleep(0.01)
    dispatcher.stop()
    with pytest.raises(RuntimeError, match="no stop"):
        await asyncio.wait_for(running, 2)
    assert other.acknowledged == ["a"]


@pytest.mark.parametrize("forever", [True, False])
async def test_a_stop_during_the_start_opens_no_fetch(forever):
    """A provider that does not get ready is given up, and nothing is fetched."""
    fetches = []

    class Slow(InMemoryProvider):
        async def start(self, lost):
            await asyncio.Event().wait()

        async def fetch(self, limit):
            fetches.append(limit)
            return await super().fetch(limit)

    dispatcher = LoaferDispatcher([Route(Slow(["a"]), accept)])
    running = asyncio.create_task(dispatcher.dispatch_providers(forever))
    await asyncio.sleep(0.01)
    dispatcher.stop()
    await asyncio.wait_for(running, 2)
    assert fetches == []


async def test_a_stop_before_the_start_opens_nothing():
    """A service that is told to end while it starts up does not open its providers."""
    started = []

    class Recording(InMemoryProvider):
        async def start(self, lost):
            started.append(self)

        async def fetch(self, limit):
            raise AssertionError("nothing may be fetched")

    dispatcher = LoaferDispatcher([Route(Recording(["a"]), accept)])
    dispatcher.stop()
    await asyncio.wait_for(dispatcher.dispatch_providers(forever=False), 2)
    assert started == []


async def test_a_provider_that_fails_on_what_it_fetched_stops_the_route():
    """An error after the fetch itself is raised too."""

    class Broken(InMemoryProvider):
        def order_key(self, message):
            raise RuntimeError("no key")

    dispatcher = LoaferDispatcher([Route(Broken(["a"], endless=True), accept)])
    with pytest.raises(RuntimeError, match="no key"):
        await asyncio.wait_for(dispatcher.dispatch_providers(), 2)


async def test_a_fetch_that_was_cancelled_by_somebody_else_stops_the_route():
    """A route whose only fetch is gone says so, and does not fall silent."""

    class Cancelled(InMemoryProvider):
        async def fetch(self, limit):
            raise asyncio.CancelledError

    dispatcher = LoaferDispatcher([Route(Cancelled(endless=True), accept, name="orders")])
    with pytest.raises(ProviderError, match="orders"):
        await asyncio.wait_for(dispatcher.dispatch_providers(), 2)


async def test_stop_now_does_not_wait_for_a_handler_that_ignores_it(monkeypatch):
    """A second signal shortens even a long grace time."""
    monkeypatch.setattr("loafer_kit.engine.jobs._CANCEL_GRACE", 0.05)
    release = asyncio.Event()

    async def stubborn(message, metadata):
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return True

    provider = InMemoryProvider(["a"], endless=True)
    dispatcher = LoaferDispatcher([Route(provider, stubborn)], grace_time=86_400)
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await asyncio.sleep(0.01)
    dispatcher.stop()
    await asyncio.sleep(0.01)
    dispatcher.stop_now()
    try:
        await asyncio.wait_for(asyncio.shield(running), 2)
    finally:
        release.set()
        await running


async def test_a_fetch_that_ignores_its_cancellation_is_left_behind(monkeypatch, caplog):
    """The service ends without it."""
    monkeypatch.setattr("loafer_kit.engine.fetchers._CANCEL_GRACE", 0.05, raising=False)
    release = asyncio.Event()

    class Stubborn(InMemoryProvider):
        poll_grace = 0.01

        async def fetch(self, limit):
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
            return []

    dispatcher = LoaferDispatcher([Route(Stubborn(endless=True), accept)])
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await asyncio.sleep(0.01)
    dispatcher.stop()
    try:
        await asyncio.wait_for(asyncio.shield(running), 2)
    finally:
        release.set()
        await running
    assert "fetch.stuck" in caplog.text


async def test_a_handler_that_never_began_frees_its_slot_too():
    """A message may be lost between the start of its task and the task's first step."""
    freed, failures = asyncio.Event(), []

    async def hang(message, metadata):
        await asyncio.Event().wait()

    jobs = Jobs(
        Route(InMemoryProvider(), hang),
        Backlog(),
        Slots(2),
        None,
        freed=freed.set,
        failed=failures.append,
    )
    jobs.start(Job(["runs"], [None]))
    await asyncio.sleep(0)
    jobs.start(Job(["lost"], [None]))
    jobs.lose("lost")
    await asyncio.wait_for(freed.wait(), 2)
    assert len(jobs.calls) == 1
    jobs.ending = True
    jobs.cancel()
    await jobs.finish(0)
    assert failures == []


async def test_the_flow_may_be_changed_by_any_thread():
    """A plain handler, or another thread of the process, may resume a paused route."""
    provider = InMemoryProvider(["a", "b"])
    route = Route(provider, accept)
    route.flow.pause()
    running = asyncio.create_task(LoaferDispatcher([route]).dispatch_providers())
    await asyncio.sleep(0.01)
    await asyncio.to_thread(route.flow.resume)
    await asyncio.wait_for(running, 2)
    assert provider.acknowledged == ["a", "b"]
    route.flow.resume()  # the route has ended


@pytest.mark.parametrize(
    "lazily", [iter, lambda answers: map(bool, answers), lambda a: dict(enumerate(a)).values()]
)
async def test_a_lazy_batch_answer_is_read_message_by_message(lazily):
    """An iterator is always truthy, which must not acknowledge the whole batch."""

    async def handler(messages, metadata):
        return lazily([message != "b" for message in messages])

    provider = InMemoryProvider(["a", "b"])
    route = Route(provider, handler, batch_handler_size=2)
    await LoaferDispatcher([route]).dispatch_providers(forever=False)
    assert (provider.acknowledged, provider.left) == (["a"], ["b"])


@pytest.mark.parametrize("rate", [100, 1_000, 5_000])
async def test_a_rate_limit_survives_timers_of_any_length(rate):
    """uvloop's handle of a timer due within half a millisecond does not know when it is due."""
    provider = InMemoryProvider(range(1, 201))
    await LoaferDispatcher([Route(provider, accept, rate_limit=rate)]).dispatch_providers()
    assert len(provider.acknowledged) == 200


@pytest.mark.parametrize("wait", [0.0001, 0.0004, 0.0015])
async def test_a_batch_that_waits_for_an_instant_is_handled(wait):
    """Its timer, too, may be due at once."""
    provider, sizes = InMemoryProvider(endless=True), []
    done = asyncio.Event()

    async def handler(messages, metadata):
        sizes.append(len(messages))
        if sum(sizes) == 50:
            done.set()
        return True

    route = Route(provider, handler, batch_handler_size=5, batch_handler_wait=wait)
    dispatcher = LoaferDispatcher([route])
    running = asyncio.create_task(dispatcher.dispatch_providers())
    for number in range(50):
        provider.put(number)
        await asyncio.sleep(0.0007)
    try:
        await asyncio.wait_for(done.wait(), 5)
    finally:
        dispatcher.stop()
        await running


@pytest.mark.parametrize(("receivers", "most"), [(1, 100), (20, 200)])
async def test_what_is_not_settled_holds_up_fetches(receivers, most):
    """Nothing polls: the provider says when there is less of it.

    As much may be unsettled as may be fetched at once, however little is held ready.
    """

    class Slow(InMemoryProvider):
        unsettled = 0
        max_receivers = receivers

        full = asyncio.Event()

        async def settle(self, message, outcome):
            self.unsettled += 1
            if self.unsettled >= most:
                self.full.set()
            await super().settle(message, outcome)

    provider = Slow(range(1, 301))
    route = Route(provider, accept, concurrency=10, prefetch=20)
    dispatcher = LoaferDispatcher([route])
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await asyncio.wait_for(provider.full.wait(), 10)
    await asyncio.sleep(0.1)
    held_up = provider.unsettled
    assert held_up <= most + 30
    async with asyncio.timeout(10):
        while not running.done():
            provider.unsettled = 0
            if provider.on_settled is not None:  # it is not while the route closes
                provider.on_settled()
            await asyncio.sleep(0.01)
    assert len(provider.acknowledged) == 300
    assert provider.on_settled is None


async def test_a_route_whose_slots_are_taken_fetches_what_it_starts_next():
    """A slot that is freed has its message ready."""
    provider, going = InMemoryProvider(range(1, 101), endless=True), asyncio.Event()
    fetched = []

    async def handler(message, metadata):
        await going.wait()
        return True

    async def fetch(limit, fetch=provider.fetch):
        fetched.append(messages := await fetch(limit))
        return messages

    provider.fetch = fetch
    dispatcher = LoaferDispatcher([Route(provider, handler, concurrency=10, prefetch=10)])
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await asyncio.sleep(0.05)
    assert list(map(len, fetched)) == [10, 10]
    going.set()
    dispatcher.stop()
    await running


@pytest.mark.parametrize(
    ("max_deliveries", "options", "prefetch"),
    [(None, {}, 50), (10, {}, 50), (3, {}, 0), (3, {"prefetch": 7}, 7)],
)
def test_a_source_with_few_deliveries_is_asked_only_for_what_can_start(
    max_deliveries, options, prefetch
):
    """Unless the route says otherwise; each message that is given back has used one up."""
    provider = InMemoryProvider()
    provider.max_deliveries = max_deliveries
    worker = RouteWorker(Route(provider, accept, **options), Slots(1), None)
    worker._jobs.pace.prefetch = 50
    assert worker._prefetch() == prefetch


def test_a_fetch_waits_as_long_as_the_source_asks():
    """Also longer than the longest pause of its own."""

    class Busy(InMemoryProvider):
        asked = ()

        async def fetch(self, limit):
            self.asked = (*self.asked, asyncio.get_running_loop().time())
            if len(self.asked) == 1:
                raise TransientProviderError("busy", retry_after=45)
            return await super().fetch(limit)

    provider = Busy(["m"])
    run_in_virtual_time(LoaferDispatcher([Route(provider, accept)]).dispatch_providers)
    assert provider.asked[1] - provider.asked[0] >= 45


def test_stop_now_cancels_the_open_fetches():
    """A source may give them long to return when the service stops in an orderly way."""

    class Deaf(InMemoryProvider):
        poll_grace = 600

        async def fetch(self, limit):
            await asyncio.Event().wait()

    async def main():
        dispatcher = LoaferDispatcher([Route(Deaf(), accept)])
        running = asyncio.create_task(dispatcher.dispatch_providers())
        await asyncio.sleep(1)
        dispatcher.stop_now()
        await running
        assert asyncio.get_running_loop().time() < 10

    run_in_virtual_time(main)


def test_a_source_that_answers_nothing_at_once_is_not_asked_in_a_tight_loop():
    """The pauses grow to a second."""

    class Empty(InMemoryProvider):
        asked = 0

        async def fetch(self, limit):
            self.asked += 1
            if self.asked > 100:
                raise ProviderError("asked too often")
            return ()

    provider = Empty()

    async def main():
        dispatcher = LoaferDispatcher([Route(provider, accept)])
        running = asyncio.create_task(dispatcher.dispatch_providers())
        await asyncio.sleep(20)
        dispatcher.stop()
        await running

    run_in_virtual_time(main)
    assert 20 <= provider.asked <= 40


def test_a_fetch_never_sees_the_context_of_another():
    """What a source sets in context variables ends with its fetch."""
    variable = contextvars.ContextVar("variable", default="clean")
    seen = []

    class Setting(InMemoryProvider):
        async def fetch(self, limit):
            seen.append(variable.get())
            variable.set("dirty")
            return await super().fetch(limit)

    dispatcher = LoaferDispatcher([Route(Setting(range(1, 51)), accept)])
    run_in_virtual_time(dispatcher.dispatch_providers)
    assert len(seen) > 1
    assert set(seen) == {"clean"}


def test_the_flush_waits_for_what_is_given_back_last():
    """A message on its last delivery that no slot became free for."""
    events = []

    class Last(InMemoryProvider):
        def is_last_delivery(self, message):
            return True

        async def settle(self, message, outcome):
            await asyncio.sleep(3)
            events.append(message)

        async def flush(self):
            events.append("flushed")

    async def hang(message, metadata):
        await asyncio.Event().wait()

    async def main():
        route = Route(Last(["one", "two"], endless=True), hang, concurrency=1, prefetch=1)
        dispatcher = LoaferDispatcher([route], grace_time=5)
        running = asyncio.create_task(dispatcher.dispatch_providers())
        await asyncio.sleep(1)
        dispatcher.stop()
        await running

    run_in_virtual_time(main)
    assert sorted(events[:-1]) == ["one", "two"]
    assert events[-1] == "flushed"
