"""Code of users that raises what is not an Exception: the failure of its message, nothing more."""

import asyncio
import gc
import sys

import pytest

from loafer_kit import Application
from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.engine.deliveries import Deliveries
from loafer_kit.exceptions import Abort, FatalError, LoaferException, ProviderError
from loafer_kit.managers import LoaferManager
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

UNUSUAL = [
    StopIteration("empty"),
    StopAsyncIteration("empty"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    BaseException("base"),
]


@pytest.fixture(params=UNUSUAL, ids=repr)
def unusual(request):
    """A fresh exception of each kind that is seldom raised on purpose."""
    return type(request.param)(*request.param.args)


class Messages:
    """An Application's consumer of some messages."""

    def __init__(self, *messages):
        self.messages = list(messages)

    async def read(self):
        if not self.messages:
            raise Abort("messages.ended", None)
        return self.messages.pop(0)


async def accept(message, metadata):
    return True


async def run(handler, messages=("bad", "good"), **options):
    provider = InMemoryProvider(messages)
    route = Route(provider, handler, **options)
    await asyncio.wait_for(LoaferDispatcher([route]).dispatch_providers(), 5)
    return provider


def same(error, unusual):
    """The exception itself, or, for a StopIteration, the RuntimeError that Python makes of it."""
    return error is unusual or error.__cause__ is unusual


@pytest.mark.parametrize("plain", [True, False])
async def test_a_handler_may_raise_anything(plain, unusual, caplog):
    """Its message fails: it is logged with its id, and the error handler gets the exception."""
    errors = []

    def handler(message, metadata):
        if message == "bad":
            raise unusual
        return True

    async def async_handler(message, metadata):
        return handler(message, metadata)

    async def error_handler(exc_info, message):
        errors.append(exc_info[1])

    provider = await run(
        handler if plain else async_handler, error_handler=error_handler, concurrency=1
    )
    assert (provider.acknowledged, provider.left) == (["good"], ["bad"])
    assert len(errors) == 1
    assert same(errors[0], unusual)
    (failed,) = [r for r in caplog.records if r.getMessage().startswith("message.failed")]
    assert failed.message_id == 1


@pytest.mark.parametrize("plain", [True, False])
async def test_a_batch_handler_may_raise_anything(plain, unusual, caplog):
    """Every message of the batch fails."""

    def handler(messages, metadata):
        raise unusual

    async def async_handler(messages, metadata):
        return handler(messages, metadata)

    provider = await run(handler if plain else async_handler, batch_handler_size=2)
    assert provider.left == ["bad", "good"]
    assert caplog.text.count("message.failed") == 2


@pytest.mark.parametrize("plain", [True, False])
async def test_an_error_handler_may_raise_anything(plain, unusual, caplog):
    """Its message is left, and the next one is handled."""

    def handler(message, metadata):
        if message == "bad":
            raise ValueError
        return True

    def error_handler(exc_info, message):
        raise unusual

    async def async_error_handler(exc_info, message):
        raise unusual

    provider = await run(handler, error_handler=error_handler if plain else async_error_handler)
    assert (provider.acknowledged, provider.left) == (["good"], ["bad"])
    assert "error_handler.failed" in caplog.text


@pytest.mark.parametrize("batch", [None, 2])
async def test_a_translator_may_raise_anything(batch, unusual):
    """Its message cannot be decoded, so no attempt cures it."""

    class Translator(AbstractMessageTranslator):
        def translate(self, message):
            if message == "bad":
                raise unusual
            return {"content": message}

    provider = await run(accept, message_translator=Translator(), batch_handler_size=batch)
    assert provider.acknowledged == ["good"]
    assert [message for message, _ in provider.dead_letters] == ["bad"]


async def test_a_failure_policy_may_raise(caplog):
    """Then nothing decides, and the message is left."""

    async def handler(message, metadata):
        raise ValueError

    def policy(exc, facts):
        raise RuntimeError("no policy")

    provider = InMemoryProvider(["bad"])
    dispatcher = LoaferDispatcher([Route(provider, handler)], failure_policy=policy)
    await dispatcher.dispatch_providers()
    assert provider.left == ["bad"]
    assert "failure_policy.failed" in caplog.text


async def test_an_exception_without_text_is_rejected_all_the_same():
    """Its class stands in the reason."""

    class Mute(Exception):  # noqa: N818
        def __str__(self):
            raise RuntimeError("no text")

    async def handler(message, metadata):
        raise Mute

    provider = await run(handler, ["bad"], reject_on=(Mute,))
    assert provider.dead_letters == [("bad", "Mute (its text cannot be shown)")]


class Refusal(LoaferException):
    """A request that loafer_kit does not know."""


@pytest.mark.parametrize("refusal", [LoaferException("no"), Refusal("no")], ids=repr)
@pytest.mark.parametrize("answers", [True, False])
async def test_a_request_of_another_kind_is_a_failure(refusal, answers, caplog):
    """It decides nothing: it is logged, and the error handler is called."""
    errors = []

    async def handler(message, metadata):
        if answers:
            return refusal
        raise refusal

    async def error_handler(exc_info, message):
        errors.append(exc_info[1])
        return True

    provider = await run(handler, ["bad"], error_handler=error_handler)
    assert provider.acknowledged == ["bad"]
    assert len(errors) == 1
    assert answers or errors == [refusal]
    assert "message.failed" in caplog.text


async def test_an_error_handler_that_raises_another_request_has_failed(caplog):
    """The message is left."""

    async def handler(message, metadata):
        raise ValueError

    async def error_handler(exc_info, message):
        raise Refusal

    assert (await run(handler, ["bad"], error_handler=error_handler)).left == ["bad"]
    assert "error_handler.failed" in caplog.text


async def test_a_settlement_may_raise_anything(unusual, caplog, monkeypatch):
    """It is tried three times, then logged."""
    monkeypatch.setattr("loafer_kit.engine.deliveries._BACKOFF", 0.001)

    class Broken(InMemoryProvider):
        async def settle(self, message, outcome):
            if message == "bad":
                raise unusual
            await super().settle(message, outcome)

    provider = Broken(["bad", "good"], endless=True)
    dispatcher = LoaferDispatcher([Route(provider, accept)])
    running = asyncio.create_task(dispatcher.dispatch_providers())
    async with asyncio.timeout(5):
        while "message.not_settled" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    dispatcher.stop()
    await running
    assert provider.acknowledged == ["good"]


@pytest.mark.parametrize("unusual", [SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_a_fetch_that_exits_ends_the_service_in_order(unusual):
    """The other routes finish their messages first."""

    class Broken(InMemoryProvider):
        async def fetch(self, limit):
            raise unusual

    other = InMemoryProvider(["good"], endless=True)
    routes = [Route(Broken(endless=True), accept, name="orders"), Route(other, accept)]
    with pytest.raises(ProviderError, match="'orders'"):
        await LoaferDispatcher(routes).dispatch_providers()
    assert other.remaining + len(other.acknowledged) == 1


async def test_a_coroutine_that_is_closed_is_not_a_failure(caplog):
    """When a loop ends with a pending delivery, the delivery ends silently."""

    async def handler(message, metadata):
        await asyncio.get_running_loop().create_future()

    pending = Deliveries(Route(InMemoryProvider(), handler)).deliver("m")
    pending.send(None)
    await asyncio.to_thread(pending.close)
    assert caplog.records == []
    gc.collect()


# Applications


def application(*messages, callback=None):
    """An application that notes acknowledged messages and errors."""
    app = Application("app", consumer=Messages(*messages), callback=callback)
    app.acknowledged, app.errors = [], []

    @app.message_acknowledgement
    async def acknowledge(app, message):
        app.acknowledged.append(message)

    @app.error
    async def note(app, message, error):
        app.errors.append(error)

    return app


async def test_a_plain_function_cannot_cancel(caplog):
    """A CancelledError in a thread, as of a future there, is a failure like any other."""
    errors = []

    def handler(message, metadata):
        raise asyncio.CancelledError

    def error_handler(exc_info, message):
        errors.append(exc_info[1])

    provider = await run(handler, ["bad"], error_handler=error_handler)
    assert provider.left == ["bad"]
    assert isinstance(errors[0].__cause__, asyncio.CancelledError)


async def test_a_coroutine_that_is_cancelled_by_its_own_code_leaves_its_message():
    """The next message is handled."""

    async def handler(message, metadata):
        if message == "bad":
            raise asyncio.CancelledError
        return True

    provider = await run(handler)
    assert (provider.acknowledged, provider.left) == (["good"], ["bad"])


@pytest.mark.parametrize("where", ["callback", "preprocessor"])
def test_an_applications_callback_may_raise_anything(where, unusual):
    """The error callbacks get it."""

    async def fail(app, message):
        if message == "bad":
            raise unusual
        return message if where == "preprocessor" else []

    async def succeed(app, message):
        return None

    app = application("bad", "good", callback=fail if where == "callback" else succeed)
    if where == "preprocessor":
        app.message_preprocessor(fail)
    app.run_forever()
    assert same(app.errors[0], unusual)
    assert app.acknowledged == ["bad", "good"]


@pytest.mark.parametrize("where", ["error", "result_postprocessor", "message_acknowledgement"])
@pytest.mark.parametrize("unusual", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_a_callback_that_ends_an_application_ends_it_in_order(where, unusual):
    """Teardown runs, and the exception is the cause of the one that is raised."""
    events = []

    async def callback(app, message):
        if where == "error":
            raise ValueError
        return [1]

    async def fail(app, *args):
        raise unusual

    app = application("bad", "good", callback=callback)
    app.callbacks[where].register(fail)

    @app.teardown
    async def tear_down(app):
        events.append("torn down")

    with pytest.raises(FatalError) as caught:
        app.run_forever()
    assert caught.value.__cause__ is unusual
    assert events == ["torn down"]


def test_a_consumer_that_exits_has_failed(caplog):
    """`run_forever` logs it and returns, as for any failure of a consumer."""

    class Exiting:
        async def read(self):
            raise SystemExit(3)

    async def callback(app, message):
        pass

    Application("app", consumer=Exiting(), callback=callback).run_forever()
    assert "consumer.failed" in caplog.text


def test_every_teardown_callback_runs_though_one_exits():
    """The exit comes afterwards."""
    events = []
    app = application(callback=Messages().read)

    @app.teardown
    async def leave(app):
        sys.exit(3)

    @app.teardown
    async def tear_down(app):
        events.append("torn down")

    with pytest.raises(SystemExit):
        app.run_forever()
    assert events == ["torn down"]


@pytest.mark.parametrize("unusual", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_task_of_a_handler_may_exit(unusual, caplog):
    """asyncio lets it out of the loop, but the service goes on; the awaiting handler fails."""

    async def step():
        raise unusual

    async def handler(message, metadata):
        if message == "bad":
            await asyncio.gather(step(), asyncio.sleep(0))
        return True

    provider = InMemoryProvider(["bad", "good"])
    manager = LoaferManager([Route(provider, handler)])
    manager.run()
    assert (provider.acknowledged, provider.left) == (["good"], ["bad"])
    assert "task.exited" in caplog.text
