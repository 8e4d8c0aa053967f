"""Idempotency: what becomes of duplicates, failures, leases, and stores that fail."""

import asyncio
import json
import logging
import threading
from collections import Counter
from dataclasses import dataclass

import pytest

from loafer_kit import LoaferManager, outcomes
from loafer_kit.applications import Application
from loafer_kit.contrib.idempotency import Idempotency, MemoryStore, attribute
from loafer_kit.exceptions import ConfigurationError, DeleteMessage, RejectMessage, RetryMessage
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider, deliver

ORDER = {"order": 7}


class Handler:
    """Counts its calls, and answers what it is told, a function's result or an exception."""

    def __init__(self, answer=True):
        self.answer = answer
        self.calls = []

    async def __call__(self, content, metadata):
        self.calls.append(content)
        answer = self.answer() if callable(self.answer) else self.answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def in_thread(self, content, metadata):
        self.calls.append(content)
        return self.answer


class Leased(InMemoryProvider):
    """A provider whose messages have leases of `seconds`, or what `seconds()` returns."""

    seconds = 30.0

    def lease_left(self, message):
        return self.seconds() if callable(self.seconds) else self.seconds


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def once(store):
    """Middleware with the store and the key `order`, unless the test says otherwise."""

    def once(store=store, **options):
        return Idempotency(store, **{"name": "billing", "key": "order", **options})

    return once


def route_of(handler, *middleware, provider=None, **options):
    return Route(provider or InMemoryProvider(), handler, middleware=middleware, **options)


async def serve(handler, middleware, messages=(ORDER,), provider=None, **options):
    """Run a service until every message is settled; return its provider."""
    provider = provider or Leased()
    for message in messages:
        provider.put(message)
    await LoaferManager([route_of(handler, middleware, provider=provider, **options)]).serve()
    return provider


async def until(condition):
    """Wait for what happens in other tasks, or with time."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def record_of(store, key):
    return await store.claim(key, "the test", 60)


@pytest.mark.parametrize("handler", [Handler(), Handler().in_thread])
async def test_a_second_message_of_a_key_is_acknowledged_without_its_handler(once, handler):
    calls = getattr(handler, "__self__", handler).calls
    route = route_of(handler, once(payload=None))
    assert await deliver(route, {"order": 7, "n": 1}) == outcomes.ACKNOWLEDGE
    assert await deliver(route, {"order": 7, "n": 2}) == outcomes.ACKNOWLEDGE
    assert await deliver(route, {"order": 8}) == outcomes.ACKNOWLEDGE
    assert calls == [{"order": 7, "n": 1}, {"order": 8}]


async def test_a_typed_handler_s_messages_have_keys(once):
    @dataclass
    class Placed:
        order: int

    seen = []

    async def handle(placed: Placed, metadata):
        seen.append(placed)
        return True

    route = route_of(handle, once())
    for _ in range(2):
        assert await deliver(route, ORDER) == outcomes.ACKNOWLEDGE
    assert seen == [Placed(7)]


async def test_a_message_that_sqs_delivers_twice_is_handled_once(store):
    handler = Handler()
    once = Idempotency(store, name="billing")
    for metadata in ({"MessageId": "a"}, {"MessageId": "sns", "SQSMessageId": "a"}):
        assert await once(ORDER, metadata, handler) is True
    assert len(handler.calls) == 1


async def test_without_keys_in_its_metadata_a_message_has_its_provider_s_id(store):
    handler = Handler()
    await serve(handler, Idempotency(store, name="billing"), [{**ORDER}, {**ORDER}])
    assert len(handler.calls) == 2  # two messages


async def test_services_and_routes_have_keys_of_their_own(store):
    handler = Handler()
    routes = [
        Route(InMemoryProvider([ORDER]), handler, name, middleware=[found])
        for name, found in [
            ("orders", Idempotency(store, name="billing", key="order")),
            ("orders", Idempotency(store, name="shipping", key="order")),
            ("returns", Idempotency(store, name="billing", key="order")),
            ("orders", Idempotency(store, name="billing", key="order")),
        ]
    ]
    for route in routes:
        await LoaferManager([route]).serve()
    assert len(handler.calls) == 3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda: ValueError("bad"), outcomes.Leave),
        (lambda: SystemExit(1), outcomes.Leave),
        (lambda: RetryMessage(delay=3), outcomes.Retry),
        (lambda: RejectMessage("no use"), outcomes.DeadLetter),
        (lambda: None, outcomes.Leave),
        (lambda: False, outcomes.Leave),
        (lambda: RejectMessage, outcomes.DeadLetter),
        (lambda: (yield), outcomes.Leave),  # a generator is always true: the engine refuses it
    ],
)
async def test_a_handler_that_fails_runs_again(once, answer, kind):
    handler = Handler(answer)
    route = route_of(handler, once())
    assert isinstance(await deliver(route, ORDER), kind)
    handler.answer = True
    assert await deliver(route, ORDER) == outcomes.ACKNOWLEDGE
    assert await deliver(route, ORDER) == outcomes.ACKNOWLEDGE
    assert len(handler.calls) == 2


@pytest.mark.parametrize(
    "answer", [DeleteMessage, lambda: DeleteMessage, lambda: [0], lambda: "done"]
)
async def test_whatever_acknowledges_counts_as_success(once, answer):
    handler = Handler(answer)
    route = route_of(handler, once(replay=True))
    for _ in range(2):
        assert await deliver(route, ORDER) == outcomes.ACKNOWLEDGE
    assert len(handler.calls) == 1


async def test_a_key_that_is_held_elsewhere_is_retried_after_what_remains(store, once):
    began, ends = asyncio.Event(), asyncio.Event()

    async def handle(content, metadata):
        began.set()
        await ends.wait()
        return True

    first = asyncio.create_task(deliver(route_of(handle, once()), ORDER))
    await began.wait()

    outcome = await deliver(route_of(Handler(), once()), ORDER)
    assert isinstance(outcome, outcomes.Retry)
    assert 50 < outcome.delay <= 60
    assert outcome.reason == "a handler of its key runs elsewhere, or has died"
    ends.set()
    assert await first == outcomes.ACKNOWLEDGE
    assert await deliver(route_of(Handler(False), once()), ORDER) == outcomes.ACKNOWLEDGE


async def test_another_content_with_the_same_key_is_rejected_in_one_line(once):
    handler = Handler()
    route = route_of(handler, once())
    await deliver(route, {"order": 7, "amount": 1})
    assert await deliver(route, {"amount": 1, "order": 7}) == outcomes.ACKNOWLEDGE
    outcome = await deliver(route, {"order": 7, "amount": 2})
    assert outcome == outcomes.DeadLetter("its key was used before, with another content")
    assert len(handler.calls) == 1


@pytest.mark.parametrize(
    ("payload", "accepted"),
    [(None, True), ("amount", True), ("sent", False), (lambda content, _: content["sent"], False)],
)
async def test_what_must_be_equal_is_an_option(once, payload, accepted):
    route = route_of(Handler(), once(payload=payload))
    await deliver(route, {"order": 7, "amount": 1, "sent": "today"})
    outcome = await deliver(route, {"order": 7, "amount": 1, "sent": "tomorrow"})
    assert (outcome == outcomes.ACKNOWLEDGE) is accepted
    assert isinstance(outcome, outcomes.DeadLetter) is not accepted


async def test_a_record_of_another_configuration_is_not_compared(once):
    await deliver(route_of(Handler(), once(payload=None)), ORDER)
    assert await deliver(route_of(Handler(), once()), ORDER) == outcomes.ACKNOWLEDGE


async def test_a_message_without_a_key_is_rejected(once):
    handler = Handler()
    route = SQSRoute("orders", handler=handler, middleware=[once(key=attribute("key"))])
    assert isinstance(await deliver(route, ORDER), outcomes.DeadLetter)
    assert handler.calls == []
    assert await deliver(route, ORDER, attributes={"key": "a"}) == outcomes.ACKNOWLEDGE
    route = SQSRoute("orders", handler=handler, middleware=[once(key="id", or_message_id=True)])
    assert await deliver(route, ORDER) == outcomes.ACKNOWLEDGE


@dataclass
class Receipt:
    number: int


@pytest.mark.parametrize(
    ("replay", "answer", "seen"),
    [
        (False, {"a": 1}, True),
        (True, {"a": 1}, {"a": 1}),
        (True, [Receipt(3)], [{"number": 3}]),
        (True, True, True),
    ],
)
async def test_a_duplicate_gets_the_answer_or_true(once, replay, answer, seen):
    answers = []

    async def see(content, metadata, call_next):
        answers.append(await call_next(content, metadata))
        return answers[-1]

    route = route_of(Handler(answer), see, once(replay=replay))
    for _ in range(2):
        assert await deliver(route, ORDER) == outcomes.ACKNOWLEDGE
    assert answers == [answer, seen]


class Truthy:
    def __bool__(self):
        return True


@pytest.mark.parametrize("answer", [Truthy(), "x" * 300_000], ids=["no JSON", "large"])
async def test_an_answer_that_cannot_be_kept_is_told_and_dropped(once, answer, caplog):
    handler = Handler(lambda: answer)
    route = route_of(handler, once(replay=True))
    for _ in range(2):
        assert await deliver(route, ORDER) == outcomes.ACKNOWLEDGE
    assert len(handler.calls) == 1
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.event == "answer.dropped"
    assert "\n" not in line.getMessage()


async def test_a_record_expires(once):
    handler = Handler()
    route = route_of(handler, once(expires_after=0.05))
    await deliver(route, ORDER)
    async with asyncio.timeout(10):
        while len(handler.calls) == 1:
            await asyncio.sleep(0.01)
            await deliver(route, ORDER)


# The lease.


@pytest.mark.parametrize(("lease", "lasts"), [(20.0, 20), (None, 60)])
async def test_a_record_in_progress_lasts_as_long_as_the_lease(store, once, lease, lasts):
    found = []

    async def handle(content, metadata):
        (key,) = store._entries
        found.append(await record_of(store, key))
        return True

    provider = Leased()
    provider.seconds = lease
    await serve(handle, once(), provider=provider)
    assert lasts - 5 < found[0].seconds <= lasts


async def test_a_record_is_extended_with_the_lease(store, once):
    now = asyncio.get_running_loop().time
    provider = Leased()
    ends = now() + 1
    provider.seconds = lambda: max(0.0, ends - now())

    async def handle(content, metadata):
        nonlocal ends
        ((key, entry),) = store._entries.items()

        async def is_extended():
            return store._entries[key].expires > ends - 0.1

        for _ in range(2):
            assert entry.expires < ends + 0.1
            ends += 1
            await until(is_extended)

        async def would_have_expired():
            return now() > entry.expires + 0.5

        await until(would_have_expired)
        return True

    counting = Failing(store, None)
    await serve(handle, once(counting), provider=provider)
    assert len(provider.acknowledged) == 1
    assert counting.calls["extend"] <= 4  # not more often than it helps


async def test_a_record_is_not_extended_once_the_lease_is_lost(store, once, caplog):
    provider = Leased()
    provider.seconds = 0.1

    async def handle(content, metadata):
        (key,) = store._entries
        provider.seconds = 0.0

        async def is_free():
            return await store.claim(key, "successor", 60) is None

        await until(is_free)
        return True

    await serve(handle, once(), provider=provider)
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.event == "success.unrecorded"
    assert "another call had its key meanwhile" in line.getMessage()
    assert not next(iter(store._entries.values())).payload


async def test_a_message_whose_lease_is_over_is_not_started(once):
    handler, provider = Handler(), Leased()
    leases = [30.0, 0.0]
    provider.seconds = lambda: leases[-1]

    async def deliver_again(content, metadata, call_next):
        with pytest.raises(RetryMessage, match="its lease is over"):
            await call_next(content, metadata)
        assert handler.calls == []
        leases.pop()
        return await call_next(content, metadata)

    provider.put(ORDER)
    route = route_of(handler, deliver_again, once(), provider=provider)
    await LoaferManager([route]).serve()
    assert len(provider.acknowledged) == 1


async def test_a_handler_that_is_cancelled_runs_again_at_once(once):
    async def hang(content, metadata):
        await asyncio.sleep(60)

    route = route_of(hang, once(), handler_timeout=0.05)
    assert isinstance(await deliver(route, ORDER), outcomes.Leave)
    assert await deliver(route_of(Handler(), once()), ORDER) == outcomes.ACKNOWLEDGE


async def test_a_thread_that_outlasts_its_time_limit_keeps_its_record(store, once):
    """A duplicate would run beside it."""
    released = threading.Event()
    calls = []

    def block(content, metadata):
        calls.append(content)
        if len(calls) == 1:
            released.wait(60)
        return True

    provider = Leased(visibility_timeout=0)
    provider.seconds = 1.0  # it is extended, again and again
    middleware = once()
    serving = asyncio.create_task(serve(block, middleware, provider=provider, handler_timeout=0.05))

    async def is_outlasting():
        return middleware._outlasting

    try:
        await until(is_outlasting)
        ((key, entry),) = store._entries.items()

        async def is_extended():
            return store._entries[key].expires > entry.expires

        await until(is_extended)
        assert await record_of(store, key) is not None
    finally:
        released.set()
    await serving
    assert len(calls) == 2
    assert not middleware._outlasting


# A store that fails.


class Failing:
    """A store of which one method fails, or never answers."""

    def __init__(self, store, method, error=None):
        self._store, self._method, self._error = store, method, error
        self.failures = 0
        self.calls = Counter()

    def __getattr__(self, name):
        self.calls[name] += 1
        return self._fail if name == self._method else getattr(self._store, name)

    async def _fail(self, *_arguments):
        self.failures += 1
        if self._error is None:
            await asyncio.Event().wait()
        raise self._error


BAD = [OSError("connection\nrefused"), ValueError("odd"), None]
BAD_IDS = ["down", "broken", "late"]


def failing(store, method, error, **options):
    return Idempotency(
        Failing(store, method, error), name="billing", key="order", store_timeout=0.05, **options
    )


def warnings_of(caplog):
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [line for line in lines if "\n" in line.getMessage()]
    return [line.event for line in lines]


@pytest.mark.parametrize("error", BAD, ids=BAD_IDS)
async def test_without_its_store_a_message_is_retried(store, error, caplog):
    handler = Handler()
    outcome = await deliver(route_of(handler, failing(store, "claim", error)), ORDER)
    assert isinstance(outcome, outcomes.Retry)
    assert outcome.delay is None
    assert outcome.reason.startswith("the store of its key failed: ")
    assert handler.calls == []
    assert warnings_of(caplog) == ["store.failed"]


@pytest.mark.parametrize("error", BAD, ids=BAD_IDS)
async def test_without_its_store_a_handler_runs_if_it_is_asked_for(store, error, caplog):
    handler = Handler()
    middleware = failing(store, "claim", error, run_unprotected=True)
    assert await deliver(route_of(handler, middleware), ORDER) == outcomes.ACKNOWLEDGE
    assert len(handler.calls) == 1
    assert warnings_of(caplog) == ["store.failed"]


@pytest.mark.parametrize("error", BAD, ids=BAD_IDS)
async def test_success_that_cannot_be_recorded_is_acknowledged_and_told(store, error, caplog):
    middleware = failing(store, "complete", error)
    assert await deliver(route_of(Handler(), middleware), ORDER) == outcomes.ACKNOWLEDGE
    assert warnings_of(caplog) == ["success.unrecorded"]
    assert not (await record_of(store, next(iter(store._entries)))).is_completed


@pytest.mark.parametrize("error", BAD, ids=BAD_IDS)
async def test_a_failure_stays_one_without_its_store(store, error, caplog):
    outcome = await deliver(
        route_of(Handler(RetryMessage(delay=3)), failing(store, "release", error)), ORDER
    )
    assert outcome == outcomes.Retry(3)
    assert warnings_of(caplog) == ["store.failed"]


@pytest.mark.parametrize("error", BAD, ids=BAD_IDS)
async def test_a_handler_goes_on_without_its_store(store, error, caplog):
    provider = Leased()
    provider.seconds = 0.2
    middleware = failing(store, "extend", error)

    async def has_failed_twice():
        return middleware._store.failures > 1

    async def handle(content, metadata):
        await until(has_failed_twice)
        return True

    await serve(handle, middleware, provider=provider)
    assert len(provider.acknowledged) == 1
    assert warnings_of(caplog) == ["store.failed"]


async def test_a_handler_cut_while_its_success_is_recorded_does_not_run_again(store):
    """Its effect is done: its record stays, completed or until the lease ends."""
    middleware = failing(store, "complete", None)
    middleware._store_timeout = 10
    route = route_of(Handler(), middleware, handler_timeout=0.05)
    assert isinstance(await deliver(route, ORDER), outcomes.Leave)
    outcome = await deliver(
        route_of(Handler(), Idempotency(store, name="billing", key="order")), ORDER
    )
    assert isinstance(outcome, outcomes.Retry)


async def test_a_key_that_was_stored_is_bounded_and_holds_no_content(store, once):
    secret = "secret " * 1_000
    await deliver(route_of(Handler(), once(replay=True)), {"order": secret})
    ((key, entry),) = store._entries.items()
    assert len(key) < 100
    assert "secret" not in key + json.dumps([entry.payload, entry.result])


# What is refused.


def test_a_batch_handler_is_refused_when_its_route_is_made(once):
    with pytest.raises(ConfigurationError, match=r"^Route 'orders': [^\n]+batch_handler_size.$"):
        SQSRoute("orders", handler=Handler(), middleware=[once()], batch_handler_size=10)


async def test_a_batch_handler_is_refused_when_its_service_starts(once):
    route = SQSRoute("orders", handler=Handler(), batch_handler_size=10)
    with pytest.raises(ConfigurationError, match="one message at a time"):
        await LoaferManager([route], middleware=[once()]).serve()


def test_an_application_is_refused_when_it_starts(once):
    class Consumer:
        async def read(self):
            raise AssertionError

    async def call_back(app, message):
        return []

    app = Application("orders", consumer=Consumer(), callback=call_back, middleware=[once()])
    with pytest.raises(ConfigurationError, match=r"^Application 'orders': "):
        app.run_forever(debug=False)


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"expires_after": 0},
        {"store_timeout": -1},
        {"key": "order["},
        {"payload": "order["},
        {"payload": 7},
    ],
)
def test_an_option_that_cannot_work_is_refused_in_one_line(once, options):
    with pytest.raises(ConfigurationError, match=r"^[^\n]+$"):
        once(**options)
