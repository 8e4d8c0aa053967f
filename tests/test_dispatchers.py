"""The engine, over a provider that lives in memory."""

import asyncio
import contextvars
import functools
import logging
import time

import pytest

from loafer_kit import outcomes
from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.exceptions import (
    DeleteMessage,
    FatalError,
    ProviderError,
    RejectMessage,
    RetryMessage,
    SourceExhausted,
    TransientProviderError,
)
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.outcomes import DeadLetter, Retry
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route


class Source(AbstractProvider):
    """Delivers prepared messages in batches of ten and records what became of each."""

    batch_size = 10
    poll_grace = 0.2

    def __init__(self, messages=(), *, ends=True, keys=False, faults=()):
        self.waiting = list(messages)
        self.ends = ends
        self.keys = keys
        self.faults = list(faults)
        self.settled = []
        self.limits = []
        self.open_fetches = 0
        self.events = []
        self.more = asyncio.Event()

    async def start(self, lost):
        self.lost = lost
        self.events.append("start")

    async def fetch_messages(self):
        raise AssertionError("the engine fetches with a limit")

    async def fetch(self, limit):
        self.limits.append(limit)
        if self.faults:
            raise self.faults.pop(0)
        if not self.waiting:
            if self.ends:
                raise SourceExhausted
            await self.more.wait()
            self.more.clear()
        await asyncio.sleep(0)
        batch, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return batch

    async def confirm_message(self, message):
        self.settled.append((message, outcomes.ACKNOWLEDGE))

    async def settle(self, message, outcome):
        if outcome is outcomes.ACKNOWLEDGE:
            await self.confirm_message(message)
        else:
            self.settled.append((message, outcome))

    def order_key(self, message):
        return message.split("-")[0] if self.keys else None

    def describe(self, message):
        return {"queue": "memory", "message_id": message}

    def stop(self):
        self.events.append("stop")

    async def flush(self):
        self.events.append("flush")

    async def close(self):
        self.events.append("close")

    @property
    def acknowledged(self):
        return [message for message, outcome in self.settled if outcome is outcomes.ACKNOWLEDGE]


def names(count, prefix="m"):
    return [f"{prefix}{number}" for number in range(count)]


async def run(*routes, forever=True, **options):
    dispatcher = LoaferDispatcher(routes, **options)
    await dispatcher.dispatch_providers(forever)
    return dispatcher


async def accept(message, metadata):
    return True


async def test_every_message_is_handled_and_acknowledged():
    """What the source brings is handled once each, and the route ends when the source does."""
    source = Source(names(57))
    await run(Route(source, accept))
    assert sorted(source.acknowledged) == sorted(names(57))
    assert source.events[0] == "start"
    assert source.events[-3:-1] == ["flush", "close"]


async def test_a_source_may_give_the_same_object_twice():
    """Equal messages, though one object (as short strings are), are handled side by side."""
    source = Source(["same", "same", "other"])
    handled = []

    async def handler(content, metadata):
        await asyncio.sleep(0.01)
        handled.append(content)
        return True

    await run(Route(source, handler))
    assert sorted(handled) == ["other", "same", "same"]
    assert [outcome for _, outcome in source.settled] == [outcomes.ACKNOWLEDGE] * 3


async def test_a_slow_message_does_not_delay_the_next_fetch():
    """While slots are free the route goes on fetching around one slow message."""
    source = Source(names(40))
    release = asyncio.Event()

    async def handler(message, metadata):
        if message == "m0":
            await release.wait()
        elif message == "m39":
            release.set()
        return True

    await asyncio.wait_for(run(Route(source, handler)), 5)
    assert source.acknowledged[-1] == "m0"


async def test_a_slow_route_does_not_delay_another():
    """Routes share nothing but the manager's limit."""
    release = asyncio.Event()
    slow, fast = Source(names(30)), Source(names(30, "f"))

    async def block(message, metadata):
        await release.wait()
        return True

    async def handler(message, metadata):
        if message == "f29":
            release.set()
        return True

    await asyncio.wait_for(run(Route(slow, block, concurrency=2), Route(fast, handler)), 5)
    assert len(fast.acknowledged) == 30


async def test_concurrency_limits_the_handlers_of_a_route():
    """No more handlers run at once than the route allows, and no fewer when there is work."""
    running, most = 0, 0

    async def handler(message, metadata):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return True

    await run(Route(Source(names(50)), handler, concurrency=4))
    assert most == 4


async def test_the_manager_limits_the_handlers_of_all_routes():
    """`max_jobs` bounds all routes together, and every route gets its turn."""
    running, most = 0, 0

    async def handler(message, metadata):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return True

    one, two = Source(names(30)), Source(names(30))
    await run(Route(one, handler), Route(two, handler), max_jobs=3)
    assert most == 3
    assert len(one.acknowledged) == len(two.acknowledged) == 30


async def test_a_fetch_asks_for_no_more_than_there_is_room_for():
    """With three slots and no prefetch a fetch brings three at the most."""
    source = Source(names(9))
    await run(Route(source, accept, concurrency=3, prefetch=0))
    assert max(source.limits) == 3


async def test_with_prefetch_only_full_fetches_start():
    """Handlers that end one by one do not cause fetches for one message each."""
    source = Source(names(100))

    async def handler(message, metadata):
        await asyncio.sleep(0.0005 * (1 + int(message[1:]) % 7))
        return True

    await run(Route(source, handler))
    assert set(source.limits) == {10}
    assert len(source.limits) <= 12


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (True, outcomes.ACKNOWLEDGE),
        ("yes", outcomes.ACKNOWLEDGE),
        (False, outcomes.LEAVE),
        (None, outcomes.LEAVE),
        (0, outcomes.LEAVE),
        (DeleteMessage(), outcomes.ACKNOWLEDGE),
        (DeleteMessage, outcomes.ACKNOWLEDGE),
        (RetryMessage(delay=3), Retry(3)),
        (RetryMessage, Retry(None)),
        (RejectMessage("no"), DeadLetter("no")),
    ],
)
async def test_an_answer_decides_the_outcome(answer, outcome):
    """What a handler returns, and the exceptions it may return instead, end up as one outcome."""
    source = Source(["m"])

    async def handler(message, metadata):
        return answer

    await run(Route(source, handler))
    assert source.settled == [("m", outcome)]


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (DeleteMessage(), outcomes.ACKNOWLEDGE),
        (RetryMessage(delay=3), Retry(3)),
        (RejectMessage("no"), DeadLetter("no")),
        (ValueError("bad"), outcomes.LEAVE),
    ],
)
async def test_an_exception_decides_the_outcome(raised, outcome):
    """A raised request is carried out; any other exception leaves the message."""
    source = Source(["m"])

    async def handler(message, metadata):
        raise raised

    await run(Route(source, handler))
    assert source.settled == [("m", outcome)]


async def test_an_exception_named_in_reject_on_dead_letters():
    """A failure that no attempt cures is rejected with its reason."""
    source = Source(["m"])

    async def handler(message, metadata):
        raise KeyError("id")

    await run(Route(source, handler, reject_on=(KeyError,)))
    assert source.settled == [("m", DeadLetter("KeyError: 'id'"))]


async def test_an_undecodable_message_is_rejected_with_one_line(caplog):
    """The translator's failure is the message's: its reason is logged, without a traceback."""
    source = Source(["m"])

    class Translator(AbstractMessageTranslator):
        def translate(self, message):
            raise UnicodeError("no text")

    await run(Route(source, accept, "orders", Translator()))
    assert source.settled == [("m", DeadLetter("UnicodeError: no text"))]
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert record.getMessage() == (
        "message.undecodable route=orders queue=memory message_id=m: UnicodeError: no text"
    )
    assert record.exc_info is None


async def test_a_failure_policy_decides_what_nothing_else_decided():
    """An extension may turn a failure into a delayed retry; it gets the message's facts."""
    source = Source(["m"])
    seen = []

    async def handler(message, metadata):
        raise ValueError

    def policy(exc, facts):
        seen.append((type(exc), facts["message_id"]))
        return Retry(7)

    await run(Route(source, handler), failure_policy=policy)
    assert source.settled == [("m", Retry(7))]
    assert seen == [(ValueError, "m")]


@pytest.mark.parametrize("plain", [True, False])
async def test_a_subclass_may_override_the_error_handler_in_the_style_of_1_0(plain):
    """`error_handler(self, exc_type, exc, message)`, also as a plain method."""
    seen = []

    class Plain(Route):
        def error_handler(self, exc_type, exc, message):
            seen.append((exc_type, str(exc), message))
            return True

    class Async(Route):
        async def error_handler(self, exc_type, exc, message):
            return Plain.error_handler(self, exc_type, exc, message)

    async def handler(message, metadata):
        raise ValueError("bad")

    source = Source(["m"])
    await run((Plain if plain else Async)(source, handler))
    assert seen == [(ValueError, "bad", "m")]
    assert source.acknowledged == ["m"]


async def test_an_error_handler_that_raises_leaves_the_message(caplog):
    """It is logged, and the service goes on."""
    source = Source(["m", "n"])

    async def handler(message, metadata):
        raise ValueError

    async def error_handler(exc_info, message):
        raise RuntimeError("broken error handler")

    await run(Route(source, handler, error_handler=error_handler))
    assert source.settled == [("m", outcomes.LEAVE), ("n", outcomes.LEAVE)]
    assert "error_handler.failed" in caplog.text


async def test_a_fatal_error_stops_the_service_with_its_cause():
    """In-flight messages finish; the cause comes out; the message itself is left."""
    source = Source(names(3), ends=False)

    async def handler(message, metadata):
        if message == "m1":
            raise FatalError from RuntimeError("crashed")
        await asyncio.sleep(0.01)
        return True

    with pytest.raises(RuntimeError, match="crashed"):
        await run(Route(source, handler))
    assert dict(source.settled) == {
        "m0": outcomes.ACKNOWLEDGE,
        "m1": outcomes.LEAVE,
        "m2": outcomes.ACKNOWLEDGE,
    }


async def test_a_provider_error_stops_every_route():
    """All routes finish the messages in hand, then the error is raised."""
    other = Source(names(1), ends=False)
    with pytest.raises(ProviderError, match="no such queue"):
        await run(
            Route(Source(faults=[ProviderError("no such queue")]), accept), Route(other, accept)
        )
    assert other.events[-2] == "close"


async def test_a_passing_failure_is_backed_off_and_tried_again(caplog, monkeypatch):
    """The service stays up over a throttled or broken fetch, and says so."""
    monkeypatch.setattr("loafer_kit.engine.fetchers._BACKOFF", 0.001)
    source = Source(names(2), faults=[TransientProviderError("throttled")] * 2)
    await run(Route(source, accept))
    assert sorted(source.acknowledged) == names(2)
    assert caplog.text.count("fetch.failed") == 2


async def test_of_several_routes_that_fail_each_is_one_line(caplog):
    """Only a bug has its traceback."""
    faults = [ProviderError("no queue"), ProviderError("no queue either"), ZeroDivisionError("bug")]
    routes = [Route(Source(faults=[fault]), accept) for fault in faults]
    with pytest.raises(ProviderError, match="no queue"):
        await run(*routes)
    shown = {r.getMessage(): r.exc_info is not None for r in caplog.records if "failed" in r.event}
    assert shown == {"route.failed: no queue either": False, "route.failed: bug": True}


async def test_one_iteration_is_one_fetch_for_each_route():
    """`forever=False` handles what one fetch brings, settles it and returns; again if asked."""
    source = Source(names(25))
    dispatcher = LoaferDispatcher([Route(source, accept)])
    await dispatcher.dispatch_providers(forever=False)
    assert len(source.acknowledged) == 10
    await dispatcher.dispatch_providers(forever=False)
    assert len(source.acknowledged) == 20


async def test_messages_with_one_key_are_handled_in_order():
    """Groups run beside each other, the messages of a group one after the other."""
    messages = [f"{group}-{number}" for number in range(8) for group in "abc"]
    source = Source(messages, keys=True)
    order = []

    async def handler(message, metadata):
        await asyncio.sleep(0.001 if message[0] == "a" else 0)
        order.append(message)
        return True

    await run(Route(source, handler))
    for group in "abc":
        assert [m for m in order if m[0] == group] == [f"{group}-{n}" for n in range(8)]


async def test_after_a_failure_the_rest_of_the_group_goes_back_last_first():
    """Nothing of the group is handled before the failed message comes again."""
    source = Source(["a-0", "a-1", "a-2", "b-0", "a-3"], keys=True)
    handled = []

    async def handler(message, metadata):
        handled.append(message)
        return message != "a-1"

    await run(Route(source, handler))
    assert handled == ["a-0", "b-0", "a-1"]
    released = [message for message, outcome in source.settled if outcome == outcomes.RELEASE]
    assert released == ["a-3", "a-2"]


async def test_stop_gives_back_what_was_not_started_and_finishes_the_rest():
    """The drain: handlers end, waiting messages go back last first, the provider is closed."""
    source = Source(names(10), ends=False)
    started, release = asyncio.Event(), asyncio.Event()

    async def handler(message, metadata):
        started.set()
        await release.wait()
        return True

    dispatcher = LoaferDispatcher([Route(source, handler, concurrency=2, prefetch=10)])
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await started.wait()
    await asyncio.sleep(0.01)
    dispatcher.stop()
    dispatcher.stop()
    await asyncio.sleep(0.01)
    release.set()
    await asyncio.wait_for(running, 5)
    assert source.acknowledged == ["m0", "m1"]
    assert [m for m, outcome in source.settled if outcome == outcomes.RELEASE] == names(10)[:1:-1]
    assert source.events.count("close") == 1


async def test_handlers_that_outlast_the_grace_time_are_cancelled_and_given_back():
    """Their messages go back at once instead of waiting out a lease."""
    source = Source(["m"], ends=False)
    started = asyncio.Event()

    async def handler(message, metadata):
        started.set()
        await asyncio.sleep(60)

    dispatcher = LoaferDispatcher([Route(source, handler)], grace_time=0.05)
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await started.wait()
    dispatcher.stop()
    await asyncio.wait_for(running, 5)
    assert source.settled == [("m", outcomes.RELEASE)]


async def test_stop_now_cancels_at_once():
    """The second request does not wait for the grace time, started or not."""
    source = Source(names(3), ends=False)
    started = asyncio.Event()

    async def handler(message, metadata):
        started.set()
        await asyncio.sleep(60)

    dispatcher = LoaferDispatcher([Route(source, handler)])
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await started.wait()
    dispatcher.stop_now()
    await asyncio.wait_for(running, 2)
    assert sorted(source.settled) == [(name, outcomes.RELEASE) for name in names(3)]


async def test_a_handler_that_ignores_its_cancellation_is_left_behind(caplog, monkeypatch):
    """The service ends without it and says so."""
    monkeypatch.setattr("loafer_kit.engine.jobs._CANCEL_GRACE", 0.05)
    source = Source(["m"], ends=False)
    started, release = asyncio.Event(), asyncio.Event()

    async def handler(message, metadata):
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    dispatcher = LoaferDispatcher([Route(source, handler)], grace_time=0.05)
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await started.wait()
    dispatcher.stop()
    await asyncio.wait_for(running, 5)
    assert "handler.stuck" in caplog.text
    release.set()
    await asyncio.sleep(0.01)


async def test_a_lost_message_cancels_its_handler_and_settles_nothing():
    """Another consumer may have it: neither acknowledged nor given back."""
    source = Source(["m"])
    cancelled = []

    async def handler(message, metadata):
        asyncio.get_running_loop().call_soon(source.lost, "m")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(message)
            raise

    source.waiting = [source.waiting[0]]
    await asyncio.wait_for(run(Route(source, handler)), 5)
    assert cancelled == ["m"]
    assert source.settled == []


async def test_a_settlement_that_fails_is_tried_again_then_logged(caplog, monkeypatch):
    """A broken confirmation does not stop the service; the message comes back by itself."""
    monkeypatch.setattr("loafer_kit.engine.deliveries._BACKOFF", 0.001)
    source = Source(["m", "n"])
    attempts = []

    async def confirm(message):
        attempts.append(message)
        if message == "m" or len(attempts) < 3:
            raise OSError("connection reset")

    source.confirm_message = confirm
    await run(Route(source, accept))
    assert attempts.count("m") == 3
    assert caplog.text.count("message.not_settled") == 1


async def test_a_paused_route_neither_fetches_nor_starts():
    """`resume` lets it go on where it was."""
    source = Source(names(5))
    route = Route(source, accept)
    route.flow.pause()
    running = asyncio.create_task(run(route))
    await asyncio.sleep(0.05)
    assert source.limits == []
    route.flow.resume()
    await asyncio.wait_for(running, 5)
    assert len(source.acknowledged) == 5


async def test_an_open_circuit_breaker_stops_fetching_then_probes_with_one():
    """After the recovery time one message decides whether the route goes on."""
    source = Source(names(30))
    handled = []

    async def handler(message, metadata):
        handled.append((message, len(source.limits)))
        return len(handled) > 3

    await run(
        Route(
            source, handler, concurrency=1, prefetch=0, breaker_threshold=3, breaker_recovery=0.05
        )
    )
    assert len(source.acknowledged) == 27
    assert source.limits[3] == 1


async def test_a_rate_limit_bounds_the_starts():
    """Thirty messages at three hundred a second take at least a twentieth of a second."""
    source = Source(names(60))
    started = time.monotonic()
    await run(Route(source, accept, rate_limit=300))
    assert time.monotonic() - started > 0.08


async def test_a_batch_handler_gets_many_and_answers_for_each():
    """A message that the answer does not mention has failed."""
    source = Source(names(25))
    batches = []

    async def handler(messages, metadata):
        batches.append(list(messages))
        return {position: True for position in range(len(messages)) if messages[position] != "m7"}

    await run(Route(source, handler, batch_handler_size=20, batch_handler_wait=0.05))
    assert max(map(len, batches)) == 20
    assert len(source.acknowledged) == 24
    assert ("m7", outcomes.LEAVE) in source.settled


async def test_a_batch_waits_no_longer_than_told():
    """A batch that does not fill is handled when its first message has waited long enough."""
    source = Source(names(3), ends=False)
    got = asyncio.get_running_loop().create_future()

    async def handler(messages, metadata):
        got.set_result(list(messages))
        return True

    dispatcher = LoaferDispatcher(
        [Route(source, handler, batch_handler_size=50, batch_handler_wait=0.05)]
    )
    running = asyncio.create_task(dispatcher.dispatch_providers())
    assert await asyncio.wait_for(got, 2) == names(3)
    dispatcher.stop()
    source.more.set()
    await asyncio.wait_for(running, 2)


async def test_a_plain_function_runs_in_a_thread_with_the_context():
    """Context variables of the service are visible in plain handlers."""
    variable = contextvars.ContextVar("variable")
    variable.set("seen")
    source = Source(["m"])
    seen = []

    def handler(message, metadata):
        seen.append(variable.get())
        return True

    await run(Route(source, handler))
    assert seen == ["seen"]
    assert source.acknowledged == ["m"]


async def test_every_kind_of_async_callable_is_awaited():
    """A callable object with an async `__call__`, and a partial of a coroutine function."""

    class Handler:
        async def __call__(self, message, metadata):
            return False

    async def handler(extra, message, metadata):
        return extra == "bound"

    one, two = Source(["m"]), Source(["n"])
    await run(Route(one, Handler()), Route(two, functools.partial(handler, "bound")))
    assert one.settled == [("m", outcomes.LEAVE)]
    assert two.acknowledged == ["n"]


async def test_a_handler_over_its_time_limit_fails(caplog):
    """The message is left, and the log names the route and the limit."""
    source = Source(["m"])

    async def handler(message, metadata):
        await asyncio.sleep(60)

    await run(Route(source, handler, name="orders", handler_timeout=0.02))
    assert source.settled == [("m", outcomes.LEAVE)]
    assert "The handler of route 'orders' took longer than 0.02 s." in caplog.text


async def test_dispatch_message_tells_whether_to_acknowledge():
    """Nothing is settled by it; an empty message and a cancelled handler give False."""
    source = Source()
    route = Route(source, accept)
    dispatcher = LoaferDispatcher([route])
    assert await dispatcher.dispatch_message("m", route) is True
    assert await dispatcher.dispatch_message("", route) is False

    async def cancelled(message, metadata):
        raise asyncio.CancelledError

    assert await dispatcher.dispatch_message("m", Route(source, cancelled)) is False
    assert source.settled == []


@pytest.mark.parametrize("size", [None, 2])
async def test_a_handler_that_is_cancelled_by_the_services_own_code_is_reported(caplog, size):
    """It may have awaited a cancelled task. The line, and later the dead letter, says so."""
    source = Source(["m"])

    async def handler(message, metadata):
        inner = asyncio.ensure_future(asyncio.sleep(60))
        inner.cancel()
        await inner

    await run(Route(source, handler, name="orders", batch_handler_size=size))
    ((_, outcome),) = source.settled
    assert (outcome, outcome.reason) == (outcomes.LEAVE, "the handler was cancelled")
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert (record.event, record.route, record.message_id) == ("message.cancelled", "orders", "m")


async def test_a_cancelled_handler_is_logged_with_its_message(caplog):
    """The message was given back, and is called that."""
    caplog.set_level(logging.INFO, "loafer_kit")
    source, started = Source(["m"], ends=False), asyncio.Event()

    async def handler(message, metadata):
        started.set()
        await asyncio.Event().wait()

    dispatcher = LoaferDispatcher([Route(source, handler, name="orders")], grace_time=0.01)
    running = asyncio.create_task(dispatcher.dispatch_providers())
    await started.wait()
    dispatcher.stop()
    await running
    (cancelled,) = [r for r in caplog.records if r.getMessage().startswith("handler.cancelled")]
    assert (cancelled.event, cancelled.message_ids) == ("handler.cancelled", ["m"])
    (handled,) = [r for r in caplog.records if r.getMessage().startswith("message.handled")]
    assert (handled.event, handled.message_id, handled.outcome) == (
        "message.handled",
        "m",
        "to be given back",
    )


async def test_one_line_is_logged_for_each_message(caplog):
    """With the route, what the provider knows of it, the outcome and the duration; no body."""
    caplog.set_level(logging.INFO, "loafer_kit")
    await run(Route(Source(["m"]), accept, name="orders"))
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("message.handled")]
    assert len(lines) == 1
    assert "route=orders queue=memory message_id=m outcome='acknowledged' duration=0.00" in lines[0]
