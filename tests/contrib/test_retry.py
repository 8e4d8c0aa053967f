"""Retry: on an Application as documented, on a LoaferManager where the message lives."""

import asyncio
import logging
import os
import signal
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit import Abort, Application, LoaferManager
from loafer_kit.contrib.retry import Retry, RetryableException, RetryPolicy
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


class QueueConsumer:
    """An application's own queue: what is put back is read again; it ends when `enough` are done."""

    def __init__(self, *messages):
        self.queue = asyncio.Queue()
        for message in messages:
            self.queue.put_nowait(message)
        self.attempts = 0

    async def read(self):
        message = await self.queue.get()
        if message is None:
            raise Abort("consumer.done", None)
        self.attempts += 1
        return message


async def put_back(app, message):
    app.consumer.queue.put_nowait(message)


def make_app(*messages, error=RetryableException, **settings):
    """An application whose callback always raises `error`, and which ends at the first final failure."""

    async def fail(app, message):
        app.seen.append(dict(message.get("_retry") or {}))
        raise error

    settings = {f"RETRY_{name}": value for name, value in settings.items()}
    app = Application(
        "retrying",
        {"RETRY_CALLBACK": put_back, **settings},
        consumer=QueueConsumer(*messages),
        callback=fail,
    )
    app.seen = []
    Retry(app)

    @app.error
    async def give_up(app, message, error):
        app.seen.append("given up")
        app.consumer.queue.put_nowait(None)

    return app


# Settings


def test_defaults():
    """As documented; ours are off."""
    app = Application("app", {"RETRY_CALLBACK": put_back})
    Retry(app)
    assert app.settings == {
        "DEBUG": False,
        "RETRY_BACKOFF": 1,
        "RETRY_CALLBACK": put_back,
        "RETRY_DELAY": 0,
        "RETRY_EXCEPTIONS": RetryableException,
        "RETRY_JITTER": 0,
        "RETRY_MAX_DELAY": None,
        "RETRY_OVERRIDES": {},
        "RETRY_THRESHOLD": None,
        "RETRY_TIMEOUT": None,
    }


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({}, KeyError, "RETRY_CALLBACK"),
        ({"CALLBACK": print, "DELAY": -1, "BACKOFF": -1}, ValueError, "The delay cannot be negative."),
        ({"CALLBACK": print, "BACKOFF": -1}, ValueError, "The backoff cannot be negative."),
        ({"CALLBACK": print}, TypeError, "The retry callback is not a coroutine."),
        ({"CALLBACK": None}, TypeError, "The retry callback is not a coroutine."),
        ({"CALLBACK": put_back, "MAX_DELAY": -1}, ValueError, "longest delay"),
        ({"CALLBACK": put_back, "JITTER": 1.5}, ValueError, "jitter"),
        (
            {"CALLBACK": put_back, "OVERRIDES": {OSError: {"RETRY_DELAY": -1}}},
            ValueError,
            "The delay cannot be negative.",
        ),
        (
            {"CALLBACK": put_back, "OVERRIDES": {OSError: {"RETRY_DELAI": 1}}},
            ConfigurationError,
            "RETRY_OVERRIDES of OSError cannot have RETRY_DELAI",
        ),
    ],
)  # fmt: skip
def test_checks_in_the_documented_order(settings, error, says):
    """A wrong setting shows when the application is made."""
    app = Application("app", {f"RETRY_{name}": value for name, value in settings.items()})
    with pytest.raises(error, match=says):
        Retry(app)


def test_registers_first_among_the_error_callbacks():
    """So that it can keep the others from running."""
    app = Application("app", {"RETRY_CALLBACK": put_back})

    @app.error
    async def earlier(app, message, error):
        """Registered before Retry."""

    retry = Retry(app)
    assert app.callbacks["error"] == [retry._retry, earlier]


# On an Application


def test_another_exception_is_not_retried():
    """The other error callbacks get it."""
    app = make_app({}, error=LookupError)
    app.run_forever()
    assert app.seen == [{}, "given up"]


@pytest.mark.parametrize("exceptions", [LookupError, (OSError, LookupError)])
def test_retryable_exceptions_can_be_chosen(exceptions):
    """One class or a tuple; subclasses count."""
    app = make_app({}, error=KeyError, EXCEPTIONS=exceptions, THRESHOLD=1)
    app.run_forever()
    assert len(app.seen) == 3


@pytest.mark.parametrize("threshold", [0, 1, 3])
def test_threshold_is_the_number_of_retries(threshold):
    """N retries are N + 1 attempts; then the later error callbacks run, and nothing is raised."""
    app = make_app({}, THRESHOLD=threshold)
    app.run_forever()
    assert app.consumer.attempts == threshold + 1
    assert app.seen[-1] == "given up"
    assert [history.get("count", 0) for history in app.seen[:-1]] == list(range(threshold + 1))


def test_the_history_travels_in_the_message():
    """`count` and `start_time`; `delay` where there is one."""
    before = time.time()
    app = make_app({}, THRESHOLD=1)
    app.run_forever()
    history = app.seen[-2]  # of the last attempt
    assert set(history) == {"count", "start_time"}
    assert before <= history["start_time"] <= time.time()

    app = make_app({}, THRESHOLD=2, DELAY=0.01, BACKOFF=2)
    app.run_forever()
    assert app.seen[-2]["delay"] == 0.02


def test_timeout_counts_seconds_from_the_first_failure():
    """A message that has been tried for longer is given up."""
    fresh = {"_retry": {"count": 1, "start_time": time.time() - 5}}
    stale = {"_retry": {"count": 1, "start_time": time.time() - 15}}
    app = make_app(stale, TIMEOUT=10)
    app.run_forever()
    assert app.consumer.attempts == 1
    app = make_app(fresh, TIMEOUT=10, THRESHOLD=2)
    app.run_forever()
    assert app.consumer.attempts == 2


@pytest.mark.parametrize("history", ["nonsense", 5, {}, {"count": None, "start_time": 1}])
def test_a_history_that_is_not_ours_counts_as_none(history):
    """It came over the network: anything may be in it."""
    app = make_app({"_retry": history}, THRESHOLD=1)
    app.callback = failing_callback
    app.run_forever()
    assert app.consumer.attempts == 2


async def failing_callback(app, message):
    raise RetryableException


def test_a_retried_message_is_aborted_and_acknowledged(caplog):
    """`message.retried`: no other error callback runs."""
    app = make_app({}, THRESHOLD=1)

    @app.message_acknowledgement
    async def acknowledge(app, message):
        app.seen.append("acknowledged")

    with caplog.at_level(logging.DEBUG, logger="retrying"):
        app.run_forever()
    assert app.seen[1] == "acknowledged"
    assert app.seen.count("given up") == 1
    assert "callback.aborted reason=message.retried" in caplog.messages


def test_the_delay_occupies_no_worker():
    """While one message waits for its retry, the only worker handles the next."""
    events = []

    async def handle(app, message):
        events.append((message["name"], "_retry" in message))
        if message["name"] == "bad" and "_retry" not in message:
            raise RetryableException
        if message["name"] == "bad":
            app.consumer.queue.put_nowait(None)

    app = make_app({"name": "bad"}, {"name": "good"}, DELAY=0.05)
    app.callback = handle
    app.run_forever()
    assert events == [("bad", False), ("good", False), ("bad", True)]


def test_a_delayed_message_is_acknowledged_after_its_retry():
    """A process that dies meanwhile has not lost it."""
    events = []

    async def note(app, message):
        events.append("retried")
        app.consumer.queue.put_nowait(None)

    app = make_app({}, DELAY=0.01, CALLBACK=note)

    @app.message_acknowledgement
    async def acknowledge(app, message):
        events.append("acknowledged")

    app.run_forever()
    assert events == ["retried", "acknowledged"]


def test_a_stop_cuts_the_delay_short():
    """The retry is made at once, before teardown: nothing waits, nothing is lost."""
    events = []

    async def note(app, message):
        events.append("retried")

    app = make_app({}, DELAY=3600, CALLBACK=note)
    app.callback = stop_and_fail

    @app.message_acknowledgement
    async def acknowledge(app, message):
        events.append("acknowledged")

    @app.teardown
    async def tear_down(app):
        events.append("teardown")

    app.run_forever()
    assert events == ["retried", "acknowledged", "teardown"]


async def stop_and_fail(app, message):
    os.kill(os.getpid(), signal.SIGTERM)
    raise RetryableException


@pytest.mark.parametrize("delay", [0, 0.01])
def test_a_retry_callback_that_crashes_stops_the_application(delay):
    """The message is not acknowledged, teardown runs, the exception is raised."""

    async def crash(app, message):
        raise OSError("cannot publish")

    app = make_app({}, CALLBACK=crash, DELAY=delay)
    events = []

    @app.message_acknowledgement
    async def acknowledge(app, message):
        events.append("acknowledged")

    @app.teardown
    async def tear_down(app):
        events.append("teardown")

    with pytest.raises(OSError, match="cannot publish"):
        app.run_forever()
    assert events == ["teardown"]


@pytest.mark.parametrize("delay", [0, 0.01])
def test_a_retry_callback_may_abort(delay):
    """The application goes on and acknowledges the message."""

    async def abort(app, message):
        app.consumer.queue.put_nowait(None)
        raise Abort("message.dropped", message)

    app = make_app({}, CALLBACK=abort, DELAY=delay)

    @app.message_acknowledgement
    async def acknowledge(app, message):
        app.seen.append("acknowledged")

    app.run_forever()
    assert app.seen == [{}, "acknowledged"]


def test_a_retry_callback_that_hangs_does_not_hold_up_the_end(monkeypatch):
    """It is cancelled after a while, and its message is not acknowledged."""
    monkeypatch.setattr("loafer_kit.applications._FLUSH_GRACE", 0.05)

    async def hang(app, message):
        await asyncio.Event().wait()

    app = make_app({}, DELAY=3600, CALLBACK=hang)
    app.callback = stop_and_fail

    @app.message_acknowledgement
    async def acknowledge(app, message):
        app.seen.append("acknowledged")

    app.run_forever()
    assert app.seen == []


def test_a_message_that_is_no_mapping_is_a_clear_error(caplog):
    """It cannot carry `_retry`; the application goes on."""
    app = make_app("text", "text")
    app.callback = failing_callback
    app.run_forever()
    assert app.consumer.attempts == 2
    record, _ = [record for record in caplog.records if "not_retryable" in record.getMessage()]
    assert record.levelno == logging.ERROR
    assert "of type str" in record.getMessage()


def test_overrides_for_an_exception_class():
    """The nearest class counts; an exception with an override is retryable."""
    settings = {
        "RETRY_CALLBACK": put_back,
        "RETRY_DELAY": 1,
        "RETRY_OVERRIDES": {
            LookupError: {"RETRY_DELAY": 2},
            KeyError: {"RETRY_DELAY": 3, "RETRY_THRESHOLD": 1},
        },
    }
    app = Application("app", settings)
    Retry(app)

    def delay(error):
        policy = RetryPolicy.for_error(app.settings, error)
        return policy and policy.delay

    assert delay(IndexError()) == 2
    assert delay(KeyError()) == 3
    assert delay(RetryableException()) == 1
    assert delay(ValueError()) is None


# The decision


def policy(**fields):
    defaults = {
        name: Retry.DEFAULT_SETTINGS.get(f"RETRY_{name.upper()}")
        for name in RetryPolicy.setting_names()
    }
    return RetryPolicy(**{**defaults, **fields})


@given(
    st.integers(0, 10_000), st.floats(0, 100), st.floats(0, 10), st.floats(0, 1), st.floats(0, 1)
)
def test_delays_stay_within_their_bounds(count, delay, backoff, jitter, chance):
    """Whatever the numbers, none overflows, is negative or longer than RETRY_MAX_DELAY."""
    bounded = policy(delay=delay, backoff=backoff, jitter=jitter, max_delay=60)
    assert 0 <= bounded.delay_after(count, 0, chance) <= 60


@given(st.integers(0, 20))
def test_delay_grows_by_the_backoff(count):
    """RETRY_DELAY * RETRY_BACKOFF ** count, with the count before this retry."""
    assert policy(delay=3, backoff=2).delay_after(count, 0) == min(3 * 2**count, 365 * 86_400)


def test_jitter_takes_its_part_of_the_delay():
    """0.25 leaves three quarters for sure."""
    jittered = policy(delay=100, jitter=0.25)
    assert jittered.delay_after(0, 0, 0.0) == 100
    assert jittered.delay_after(0, 0, 1.0) == 75


# On a LoaferManager


def run_manager(handler, message="message", receive_count=0, **settings):
    """Run a manager with Retry until its only message is settled."""
    provider = InMemoryProvider([message])
    provider._ready[0].receive_count = receive_count
    manager = LoaferManager(
        [Route(provider, handler)],
        settings={f"RETRY_{name}": value for name, value in settings.items()},
    )
    Retry(manager)
    manager.run()
    return provider


def test_a_manager_needs_no_callback():
    """The retry happens where the message lives, until the handler succeeds."""
    attempts = []

    async def succeed_at_the_third(message, metadata):
        attempts.append(message)
        if len(attempts) < 3:
            raise RetryableException
        return True

    provider = run_manager(succeed_at_the_third)
    assert attempts == ["message"] * 3
    assert provider.acknowledged == ["message"]


def test_a_manager_gives_up_at_the_threshold():
    """Two retries are three attempts."""

    async def fail(message, metadata):
        raise RetryableException("no use")

    provider = run_manager(fail, THRESHOLD=2)
    assert provider.dead_letters == [
        ("message", "given up after 2 retries: RetryableException: no use")
    ]


def test_a_manager_counts_failures_not_deliveries():
    """A message that was given back three times, unstarted, has all its retries."""
    attempts = []

    async def fail(message, metadata):
        attempts.append(message)
        raise RetryableException("no use")

    provider = run_manager(fail, receive_count=3, THRESHOLD=3)
    assert len(attempts) == 4
    assert provider.dead_letters[0][1].startswith("given up after 3 retries")


def test_a_manager_leaves_what_is_not_retryable():
    """Then the source's own rules hold."""

    async def fail(message, metadata):
        raise LookupError

    assert run_manager(fail).left == ["message"]


def test_the_delay_on_a_manager_follows_the_failures():
    """The third failure leads to the third retry; deliveries count where failures are unknown."""
    manager = LoaferManager([], settings={"RETRY_DELAY": 10, "RETRY_BACKOFF": 2})
    Retry(manager)
    outcome = manager.failure_policy(RetryableException(), {"receive_count": 3})
    assert outcome.delay == 40
    facts = {"receive_count": 9, "failures": 3}
    assert manager.failure_policy(RetryableException(), facts).delay == 40


def test_the_timeout_on_a_manager_counts_from_the_first_delivery():
    """Where the source tells when that was."""
    manager = LoaferManager([], settings={"RETRY_TIMEOUT": 10})
    Retry(manager)
    facts = {"receive_count": 2, "first_received": time.time() - 5}
    assert manager.failure_policy(RetryableException(), facts).delay == 0
    facts["first_received"] -= 10
    assert "given up" in manager.failure_policy(RetryableException(), facts).reason


def test_a_stand_in_for_a_manager():
    """Only `settings` and `extensions` are needed."""
    app = SimpleNamespace(settings={}, extensions={})
    assert app.extensions == {"retry": Retry(app)}


@pytest.mark.parametrize(("timeout", "delay"), [(0, None), (1, 0.0)])
def test_a_timeout_of_zero_retries_never(timeout, delay):
    """Not even a failure at the same moment."""
    app = Application("app", {"RETRY_CALLBACK": put_back, "RETRY_TIMEOUT": timeout})
    Retry(app)
    policy = RetryPolicy.for_error(app.settings, RetryableException())
    assert policy.delay_after(0, 0.0) == delay
