"""What happens to a message: a test for each row of Loafer's outcomes, over HTTP from a real queue.

Where Loafer is wrong (it dies, it drops, it loses), the row is what loafer_kit does instead.
"""

import asyncio
import contextvars
import functools
import logging
import os
import signal
import subprocess
import sys
import threading
from unittest import mock

import pytest
from faults.proxy import FaultProxy, reset_midway, throttled, unavailable

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.exceptions import DeleteMessage, ProviderError
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.managers import LoaferManager
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

pytestmark = pytest.mark.slow


@pytest.fixture
def queue(local_queues):
    return local_queues.fresh()


def a_route(queue, handler, **options):
    return SQSRoute(queue, {"options": {"WaitTimeSeconds": 0}}, handler=handler, **options)


@pytest.fixture
def outcome(local_queues, queue):
    """Handle one message of a fresh queue; return "deleted" or "left"."""

    async def outcome(handler, body="1", **options):
        local_queues.send(queue, body)
        await LoaferDispatcher([a_route(queue, handler, **options)]).dispatch_providers(False)
        counts = local_queues.counts(queue)
        assert counts.visible == 0, "it was handed out"
        return "left" if counts.in_flight else "deleted"

    return outcome


class Failing:
    """A handler that raises, and an error handler of either style that keeps what it gets."""

    def __init__(self, answer=None):
        self.answer = answer
        self.seen = None

    async def handler(self, message, metadata):
        raise KeyError(message)

    async def old_style(self, exc_type, exc, message):
        self.seen = (exc_type, exc, message)
        return self.answer

    async def new_style(self, exc_info, message):
        self.seen = (*exc_info[:2], message)
        return self.answer


class Translator(AbstractMessageTranslator):
    """Gives what it was made with, or raises it."""

    def __init__(self, content):
        self.content = content

    def translate(self, message):
        if isinstance(self.content, Exception):
            raise self.content
        return {"content": self.content}


def raises(exception):
    async def handler(message, metadata):
        raise exception

    return handler


@pytest.mark.parametrize("answer", [True, 1, "yes", {"a": 1}])
async def test_handler_returns_truthy(outcome, answer):
    """The message is acknowledged."""
    assert await outcome(lambda message, metadata: answer) == "deleted"


@pytest.mark.parametrize("answer", [False, None, 0, "", []])
async def test_handler_returns_falsy(outcome, answer):
    """The message is left on the queue."""
    assert await outcome(lambda message, metadata: answer) == "left"


async def test_delete_message_raised_in_the_handler(outcome):
    """The message is acknowledged."""
    assert await outcome(raises(DeleteMessage())) == "deleted"


async def test_delete_message_raised_in_the_translator(outcome):
    """The message is acknowledged, and the handler is not called."""
    translator = Translator(DeleteMessage())
    assert await outcome(raises(AssertionError()), message_translator=translator) == "deleted"


@pytest.mark.parametrize(("answer", "expected"), [(True, "deleted"), (False, "left")])
async def test_any_other_exception_in_the_handler(outcome, caplog, answer, expected):
    """It is logged, then the error handler decides."""
    failing = Failing(answer)
    assert await outcome(failing.handler, error_handler=failing.new_style) == expected
    assert failing.seen[0] is KeyError
    assert "KeyError: 1" in caplog.text


@pytest.mark.parametrize(("answer", "expected"), [(True, "deleted"), (False, "left")])
async def test_any_other_exception_in_the_translator(outcome, caplog, answer, expected):
    """It is logged, then the error handler decides; it gets the message with its body."""
    failing = Failing(answer)
    assert await outcome(failing.handler, "no JSON", error_handler=failing.new_style) == expected
    assert failing.seen[2]["Body"] == "no JSON"
    assert "JSONDecodeError" in caplog.text


async def test_the_translator_gives_none(outcome):
    """That is a ValueError, for the error handler."""
    failing = Failing(True)
    options = {"message_translator": Translator(None), "error_handler": failing.new_style}
    assert await outcome(failing.handler, **options) == "deleted"
    assert failing.seen[0] is ValueError


@pytest.mark.parametrize("body", ["0", "false", '""', "[]", "{}"])
async def test_falsy_but_valid_json(outcome, body):
    """It is content, and is delivered: only no content is an error."""
    seen = []
    assert await outcome(lambda message, _: seen.append(message) or True, body) == "deleted"
    assert len(seen) == 1


tenant = contextvars.ContextVar("tenant")


async def test_a_sync_handler(outcome):
    """It runs in a thread, and sees the caller's context variables."""
    seen = []

    def handler(message, metadata):
        seen.append((threading.current_thread(), tenant.get()))
        return True

    tenant.set("acme")
    assert await outcome(handler) == "deleted"
    [(thread, value)] = seen
    assert thread is not threading.main_thread()
    assert value == "acme"


class AsyncCallable:
    async def __call__(self, message, metadata):
        await asyncio.sleep(0)
        return False


async def _coroutine_function(extra, message, metadata):
    await asyncio.sleep(0)
    return False


@pytest.mark.parametrize(
    "handler",
    [AsyncCallable(), functools.partial(_coroutine_function, "extra")],
    ids=["async __call__", "partial"],
)
async def test_any_kind_of_async_callable_is_awaited(outcome, handler):
    """Its answer counts, not the coroutine that calling it gives (which is truthy)."""
    assert await outcome(handler) == "left"


@pytest.mark.parametrize(("answer", "expected"), [(True, "deleted"), (False, "left")])
async def test_error_handler_of_1_0_0(outcome, answer, expected):
    """Exactly three required positional parameters: type, exception, message."""
    failing = Failing(answer)
    assert await outcome(failing.handler, error_handler=failing.old_style) == expected
    exc_type, exc, message = failing.seen
    assert (exc_type, exc.args, message["Body"]) == (KeyError, (1,), "1")


def _optional(exc_info, message, extra=None):
    assert isinstance(exc_info, tuple)
    return message["Body"] == "1"


@pytest.mark.parametrize(
    "error_handler",
    [_optional, lambda *args: len(args) == 2, mock.Mock(return_value=True)],
    ids=["optional", "*args", "mock"],
)
async def test_error_handler_of_1_0_2_and_later(outcome, error_handler):
    """Anything else gets the exception's three in one, and the message."""
    assert await outcome(Failing().handler, error_handler=error_handler) == "deleted"


async def test_the_error_handler_raises(outcome, caplog):
    """That is logged, the message is left, and the service stays up."""
    options = {"error_handler": lambda exc_info, message: 1 / 0}
    assert await outcome(Failing().handler, **options) == "left"
    assert "ZeroDivisionError" in caplog.text


async def test_confirm_message_fails(local_server, local_queues, queue, caplog):
    """It is tried again; nothing dies."""
    local_queues.send(queue, 1)
    async with FaultProxy(local_server.url) as proxy:
        proxy.inject(unavailable, "DeleteMessageBatch")
        provider = {"endpoint_url": proxy.url, "options": {"WaitTimeSeconds": 0}}
        route = SQSRoute(queue, provider, handler=lambda message, metadata: True)
        await LoaferDispatcher([route]).dispatch_providers(False)
        assert proxy.counts["DeleteMessageBatch"] == 2
    assert local_queues.counts(queue).total == 0


async def test_confirm_message_fails_for_good(caplog, monkeypatch):
    """It is logged and given up: the message comes back by itself."""

    class Unconfirmed(InMemoryProvider):
        async def confirm_message(self, message):
            raise RuntimeError("no, never")

        async def settle(self, message, outcome):
            await self.confirm_message(message)

    monkeypatch.setattr("loafer_kit.engine.flow.random.uniform", lambda low, high: 0)
    route = Route(Unconfirmed(["message"]), lambda message, metadata: True)
    await LoaferDispatcher([route]).dispatch_providers(False)
    assert "no, never" in caplog.text


@pytest.fixture
def run_process(python_copies):
    """Run a service as a process; return its exit code and its errors."""

    def run_process(source, environment):
        done = subprocess.run(
            [sys.executable, "-c", source],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    return run_process


ONE_ROUTE = """
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.managers import LoaferManager

LoaferManager([SQSRoute("missing", handler=print)]).run()
"""


def test_a_missing_queue_ends_the_process(local_server, run_process):
    """Non-zero, with one line that names the queue."""
    code, errors = run_process(ONE_ROUTE, local_server.child_environment())
    assert code == 1
    assert "Queue 'missing' does not exist" in errors
    assert "Traceback" not in errors


def test_missing_credentials_end_the_process(run_process):
    """Non-zero, with one line that says what to set."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment |= {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    code, errors = run_process(ONE_ROUTE, environment)
    assert code == 1
    assert "no AWS credentials found" in errors
    assert "Traceback" not in errors


async def test_an_incurable_error_stops_every_route(local_queues, queue):
    """The other routes finish and settle the messages in hand."""
    local_queues.send(queue, 1)
    good = a_route(queue, lambda message, metadata: True)
    bad = a_route("missing", lambda message, metadata: True)
    with pytest.raises(ProviderError, match="missing"):
        await LoaferDispatcher([good, bad]).dispatch_providers()
    assert local_queues.counts(queue).in_flight == 0


@pytest.mark.parametrize("fault", [throttled, unavailable, reset_midway])
async def test_what_passes_is_backed_off_and_tried_again(local_server, local_queues, fault):
    """Throttling, a 5xx, a dropped connection: the service stays up and goes on."""
    queue = local_queues.fresh(visibility_timeout=1)
    local_queues.send(queue, 1)
    handled = asyncio.Event()

    async def handler(message, metadata):
        handled.set()
        return True

    async with FaultProxy(local_server.url) as proxy:
        proxy.inject(fault, "ReceiveMessage", times=2)
        provider = {"endpoint_url": proxy.url, "options": {"WaitTimeSeconds": 1}}
        dispatcher = LoaferDispatcher([SQSRoute(queue, provider, handler=handler)])
        running = asyncio.create_task(dispatcher.dispatch_providers())
        await handled.wait()
        dispatcher.stop()
        await running
    assert local_queues.counts(queue).total == 0


def test_forever_false(local_queues):
    """One fetch for each route, whose messages are handled and settled; can be called again."""
    names = [local_queues.fresh(), local_queues.fresh()]
    for name in names:
        for number in range(3):
            local_queues.send(name, number)
    seen = []

    async def handler(message, metadata):
        seen.append(message)
        return True

    two_at_a_time = {"options": {"WaitTimeSeconds": 0, "MaxNumberOfMessages": 2}}
    manager = LoaferManager([SQSRoute(name, two_at_a_time, handler=handler) for name in names])
    manager.run(forever=False)
    assert len(seen) == 4
    assert [local_queues.counts(name).total for name in names] == [1, 1]
    manager.run(forever=False)
    assert len(seen) == 6
    assert [local_queues.counts(name).total for name in names] == [0, 0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_in_hand(local_queues, queue, number):
    """No new fetch; the messages in hand are finished and settled."""
    for body in range(3):
        local_queues.send(queue, body)
    finished = []

    async def handler(message, metadata):
        if message == 0:
            local_queues.send(queue, "too late")
            os.kill(os.getpid(), number)
        await asyncio.sleep(0.2)
        finished.append(message)
        return True

    LoaferManager([a_route(queue, handler)]).run()
    assert sorted(finished) == [0, 1, 2]
    counts = local_queues.counts(queue)
    assert (counts.visible, counts.in_flight) == (1, 0)


async def test_a_cancelled_handler(queue, caplog):
    """It acknowledges nothing; `dispatch_message` gives False."""
    route = a_route(queue, raises(asyncio.CancelledError()))
    caplog.set_level(logging.WARNING)
    assert await LoaferDispatcher([route]).dispatch_message({"Body": "1"}, route) is False
    assert "message.cancelled" in caplog.text
