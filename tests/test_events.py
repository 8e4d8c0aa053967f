"""Observers of a service: what they are told, in which order, and what a bad one cannot do."""

import asyncio
import logging

import pytest

from loafer_kit import LoaferManager
from loafer_kit.applications import Application
from loafer_kit.events import EVENTS, Observer
from loafer_kit.exceptions import Abort, ConfigurationError, RejectMessage, TransientProviderError
from loafer_kit.extensions import Extension
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


class Diary(Observer):
    """Writes down every event, with what identifies it."""

    def __init__(self):
        self.events = []

    def route_started(self, route):
        self.events.append(("route_started", route.name))

    def route_ended(self, route, error):
        self.events.append(("route_ended", route.name, error))

    def polled(self, route, received, seconds, error):
        assert seconds >= 0
        self.events.append(("polled", received, error))

    def received(self, route, messages):
        self.events.append(("received", *messages))

    def started(self, call):
        assert not call.deliveries
        self.events.append(("started", call.route.name, *call.messages))

    def finished(self, call):
        outcomes = [(str(made.outcome), type(made.error)) for made in call.deliveries]
        assert call.seconds >= 0
        self.events.append(("finished", *outcomes))

    def settled(self, route, messages, result, seconds):
        assert seconds >= 0
        self.events.append(("settled", *messages, result))

    def lost(self, route, message):
        self.events.append(("lost", message))

    def flow_changed(self, route, change):
        self.events.append(("flow_changed", change))

    def named(self, *names):
        return [event for event in self.events if event[0] in names]


async def serve(handler, messages, *observers, provider=None, **options):
    provider = provider or InMemoryProvider(messages)
    manager = LoaferManager([Route(provider, handler, "orders", **options)])
    for observer in observers:
        manager.observe(observer)
    await manager.serve()
    return provider


async def accept(content, metadata):
    return True


async def test_the_life_of_a_message_is_told_in_its_order():
    """From the start of the route to its end; the outcome before it is carried out."""
    diary = Diary()

    await serve(accept, ["a"], diary)

    none = type(None)
    assert diary.events[:6] == [
        ("route_started", "orders"),
        ("polled", 1, None),
        ("received", "a"),
        ("started", "orders", "a"),
        ("finished", ("acknowledged", none)),
        ("settled", "a", "acknowledged"),
    ]
    assert diary.events[-1] == ("route_ended", "orders", None)


async def reject(content, metadata):
    raise RejectMessage("bad")


async def fail(content, metadata):
    raise ValueError


def fail_in_a_thread(content, metadata):
    raise ValueError


@pytest.mark.parametrize(
    ("handler", "finished", "result"),
    [
        (reject, ("rejected", type(None)), "dead-lettered"),
        (fail, ("left", ValueError), "left"),
        (fail_in_a_thread, ("left", ValueError), "left"),
    ],
)
async def test_a_failure_is_told_with_its_exception(handler, finished, result):
    diary = Diary()

    await serve(handler, ["a"], diary)

    assert diary.named("finished", "settled") == [("finished", finished), ("settled", "a", result)]


async def test_a_batch_is_one_call():
    diary = Diary()

    async def handle(contents, metadata):
        return [True, False]

    await serve(handle, ["a", "b"], diary, batch_handler_size=2)

    none = type(None)
    assert diary.named("started", "finished", "settled") == [
        ("started", "orders", "a", "b"),
        ("finished", ("acknowledged", none), ("left", none)),
        ("settled", "a", "acknowledged"),
        ("settled", "b", "left"),
    ]


async def test_a_settlement_that_fails_is_given_up():
    class Refusing(InMemoryProvider):
        async def settle(self, message, outcome):
            await super().settle(message, outcome)
            raise RuntimeError

    diary = Diary()

    await serve(accept, [], diary, provider=Refusing(["a"]))

    assert diary.named("settled") == [("settled", "a", "given up")]


async def test_a_fetch_that_fails_is_told():
    class Failing(InMemoryProvider):
        failures = 1

        async def fetch(self, limit):
            if self.failures:
                self.failures = 0
                raise TransientProviderError("away")
            return await super().fetch(limit)

    diary = Diary()

    await serve(accept, [], diary, provider=Failing(["a"]))

    (_, received, error), second = diary.named("polled")[:2]
    assert (received, str(error)) == (0, "away")
    assert second == ("polled", 1, None)


async def test_a_lost_lease_is_told_once_and_its_message_is_not_settled():
    class Losing(InMemoryProvider):
        def holds(self, message):
            if message == "a":
                self._in_flight.clear()
            return message != "a"

    diary = Diary()

    await serve(accept, [], diary, provider=Losing(["a"]))

    assert diary.named("lost", "started", "settled") == [("lost", "a")]


async def test_changes_of_the_flow_are_told():
    """Those of the user, from any thread, and those of the breaker."""
    diary = Diary()
    provider = InMemoryProvider(endless=True)
    manager = LoaferManager(
        [Route(provider, fail, breaker_threshold=1, breaker_recovery=0.01, concurrency=1)]
    )
    manager.observe(diary)
    flow = manager.routes[0].flow
    running = asyncio.create_task(manager.serve())
    await until(lambda: diary.named("route_started"))

    await asyncio.to_thread(flow.pause)
    flow.rate_limit = 1000
    flow.resume()
    provider.put("a")
    await until(lambda: ("flow_changed", "breaker opened") in diary.events)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert [change for _, change in diary.named("flow_changed")] == [
        "paused",
        "rate limited",
        "resumed",
        "breaker opened",
    ]


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what it waits for sets no event
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError]
)
@pytest.mark.parametrize("event", ["received", "started", "finished", "settled", "polled"])
async def test_an_observer_that_raises_is_logged_once_and_left_out(caplog, event, error):
    """The messages are handled, and other observers are told all the same."""

    class Bad(Observer):
        pass

    def fail(self, *arguments):
        raise error

    setattr(Bad, event, fail)
    diary = Diary()

    provider = await serve(accept, ["a", "b"], Bad(), diary)

    assert sorted(provider.acknowledged) == ["a", "b"]
    assert len(diary.named("settled")) == 2
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert (record.event, record.observer, record.method) == ("observer.failed", "Bad", event)


async def test_what_nobody_overrides_is_not_told():
    """A route without an observer of an event tests one attribute, which is None."""

    class OfStarts(Observer):
        def started(self, call):
            pass

    provider = InMemoryProvider(["a"])
    manager = LoaferManager([Route(provider, accept)])
    manager.observe(OfStarts())
    await manager.serve()

    told = [name for name in EVENTS if getattr(provider.route_events, name, None) is not None]
    assert told == ["started"]


async def test_an_observer_can_be_added_while_the_service_runs():
    diary = Diary()

    async def observe(content, metadata):
        manager.observe(diary)
        manager.observe(diary)  # twice is once
        return True

    manager = LoaferManager([Route(InMemoryProvider(["a"]), observe)])
    await manager.serve()

    assert len(diary.named("finished")) == 1


class Async(Observer):
    async def started(self, call):
        pass


class Generating(Observer):
    def finished(self, call):
        yield


@pytest.mark.parametrize("observer", [print, object(), Observer, Async(), Generating()])
def test_what_cannot_observe_is_refused(observer):
    manager = LoaferManager([])

    with pytest.raises(ConfigurationError, match=r"^[^\n]+$"):
        manager.observe(observer)


async def test_an_extension_observes_an_application():
    """Both faces have the same events."""

    class Watch(Extension):
        def init_app(self, app):
            super().init_app(app)
            self.diary = Diary()
            app.observe(self.diary)

    class Consumer:
        messages = ["a"]

        async def read(self):
            if not self.messages:
                raise Abort("end", None)
            return self.messages.pop()

    async def callback(app, message):
        return []

    app = Application("shop", consumer=Consumer(), callback=callback)
    watch = Watch(app)
    await app.serve()

    calls = watch.diary.named("started", "finished")
    assert [name for name, *_ in calls] == ["started", "finished"]
    assert calls[1][1] == ("acknowledged", type(None))
