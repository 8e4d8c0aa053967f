"""Loafer's public API: a test for each row of it, under the new name.

What becomes of a message is in `test_loafer_outcomes`, the guide's code in `test_loafer_examples`.
"""

import inspect
import json
import os
import signal

import pytest
import sentry_sdk
from aiohttp import web

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.engine.callables import import_callable, run_in_loop_or_executor
from loafer_kit.exceptions import (
    ConfigurationError,
    DeleteMessage,
    LoaferException,
    LoaferKitError,
    ProviderError,
)
from loafer_kit.ext.aws.handlers import SNSHandler, SQSHandler
from loafer_kit.ext.aws.message_translators import SNSMessageTranslator, SQSMessageTranslator
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.publishers import sns_publish, sqs_publish
from loafer_kit.ext.aws.routes import SNSQueueRoute, SQSRoute
from loafer_kit.ext.sentry import sentry_handler
from loafer_kit.local import LocalQueue
from loafer_kit.managers import LoaferManager
from loafer_kit.message_translators import AbstractMessageTranslator, StringMessageTranslator
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route
from loafer_kit.runners import LoaferRunner


class Provider(AbstractProvider):
    """What a Loafer user writes: the two methods and `stop`."""

    def __init__(self, *messages):
        self.messages = list(messages)
        self.confirmed = []
        self.stopped = 0

    async def fetch_messages(self):
        fetched, self.messages = self.messages, []
        return fetched

    async def confirm_message(self, message):
        self.confirmed.append(message)

    def stop(self):
        self.stopped += 1


class Handler:
    """A class-based handler."""

    def __init__(self):
        self.handled = []
        self.stopped = False

    async def handle(self, message, *args):
        self.handled.append((message, *args))
        return True

    def stop(self):
        self.stopped = True


async def accept(message, *args):
    return True


def parameters(function):
    """Return the names of the positional parameters with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }


REQUIRED = inspect.Parameter.empty

# exceptions


def test_exceptions():
    """Each documented exception, under one common base."""
    assert issubclass(DeleteMessage, LoaferException)
    for error in (ProviderError, ConfigurationError, LoaferException):
        assert issubclass(error, LoaferKitError)
        assert issubclass(error, Exception)


# managers


def test_manager_signature():
    """The constructor and `run` take Loafer's arguments."""
    assert parameters(LoaferManager) == {
        "routes": REQUIRED,
        "runner": None,
        "_concurrency_limit": None,
        "_max_threads": None,
    }
    run = parameters(LoaferManager.run)
    assert (run["forever"], run["debug"]) == (True, False)


def test_manager_builds_its_dispatcher_lazily():
    """Routes are looked at when the dispatcher is needed, not before."""
    manager = LoaferManager([])
    with pytest.raises(ConfigurationError):
        manager.dispatcher  # noqa: B018 - building it is what raises
    manager = LoaferManager([Route(Provider(), accept)], _concurrency_limit=3)
    assert manager.dispatcher is manager.dispatcher
    assert manager.dispatcher.max_jobs == 3


@pytest.mark.parametrize("routes", [[], [object()], [Route(Provider(), accept), None]])
def test_manager_run_raises_configuration_errors(routes):
    """No routes, or an item that is not a route: the caller of `run` gets the error."""
    with pytest.raises(ConfigurationError):
        LoaferManager(routes).run(forever=False)


# runners


def test_runner_signature():
    """Both arguments are optional."""
    assert parameters(LoaferRunner) == {"max_workers": None, "on_stop_callback": None}
    assert parameters(LoaferRunner.start)["debug"] is False


def test_runner_runs_its_loop_until_prepare_stop():
    """`start` runs `loop`; `prepare_stop` ends it, and the callback is told."""
    told = []
    runner = LoaferRunner(on_stop_callback=lambda: told.append(True))
    runner.loop.call_soon(runner.prepare_stop)
    runner.start()
    runner.stop()
    assert told == [True]


def test_a_manager_starts_and_stops_a_runner_of_ones_own():
    """It calls `start` and `stop`, which a subclass may override."""
    calls = []

    class Runner(LoaferRunner):
        def start(self, debug=False):
            calls.append(("start", debug))
            super().start(debug)

        def stop(self, *args):
            calls.append("stop")
            super().stop(*args)

    provider = Provider("m")
    manager = LoaferManager([Route(provider, accept)], Runner(), name="debugged")
    manager.run(forever=False, debug=True)
    assert (calls, provider.confirmed) == ([("start", True), "stop"], ["m"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_runner_stops_at_a_signal(number):
    """SIGINT and SIGTERM lead to `prepare_stop`."""
    told = []
    runner = LoaferRunner(on_stop_callback=lambda: told.append(True))
    runner.loop.call_soon(os.kill, os.getpid(), number)
    runner.start()
    assert told == [True]


# dispatchers


def test_dispatcher_allows_ten_jobs_for_each_route():
    """That is the default; `max_jobs` sets another limit."""
    routes = [Route(Provider(), accept), Route(Provider(), accept)]
    assert LoaferDispatcher(routes).max_jobs == 20
    assert LoaferDispatcher(routes, 3).max_jobs == 3


@pytest.mark.parametrize("answer", [True, False])
async def test_dispatcher_dispatches_one_message(answer):
    """`dispatch_message` tells whether the message is to be acknowledged."""

    async def handler(message, metadata):
        return answer

    route = Route(Provider(), handler)
    assert await LoaferDispatcher([route]).dispatch_message("message", route) is answer


async def test_dispatcher_dispatches_providers_once():
    """`dispatch_providers(forever=False)` handles and confirms what one fetch brings."""
    provider = Provider("a", "b")
    await LoaferDispatcher([Route(provider, accept)]).dispatch_providers(forever=False)
    assert sorted(provider.confirmed) == ["a", "b"]


async def test_dispatcher_stops():
    """`stop` ends `dispatch_providers`, and stops the routes."""

    class Stopping(Handler):
        async def handle(self, message, *args):
            dispatcher.stop()
            return True

    provider, handler = Provider("a"), Stopping()
    dispatcher = LoaferDispatcher([Route(provider, handler)])
    await dispatcher.dispatch_providers()
    assert provider.confirmed == ["a"]
    assert provider.stopped
    assert handler.stopped


# providers


async def test_provider_contract():
    """Fetching and confirming must be written; `stop` need not, and does nothing."""
    with pytest.raises(TypeError):
        AbstractProvider()

    class Least(AbstractProvider):
        async def fetch_messages(self):
            return ["message"]

        async def confirm_message(self, message):
            return True

    provider = Least()
    assert provider.stop() is None
    await LoaferDispatcher([Route(provider, accept)]).dispatch_providers(forever=False)


# message_translators


def test_translator_contract():
    """`translate` must be written."""
    with pytest.raises(TypeError):
        AbstractMessageTranslator()


def test_string_translator():
    """It delivers `str(message)`."""
    assert StringMessageTranslator().translate(12) == {"content": "12", "metadata": {}}


# routes


def test_route_signature():
    """The five parameters and their defaults."""
    assert parameters(Route) == {
        "provider": REQUIRED,
        "handler": REQUIRED,
        "name": "default",
        "message_translator": None,
        "error_handler": None,
    }


@pytest.mark.parametrize(
    "wrong",
    [{"provider": object()}, {"message_translator": "text"}, {"error_handler": "not callable"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_route_refuses_the_wrong_kind(wrong):
    """A wrong provider, translator or error handler is a TypeError."""
    with pytest.raises(TypeError):
        Route(**{"provider": Provider(), "handler": accept, **wrong})


@pytest.mark.parametrize("handler", ["text", object(), None])
def test_route_refuses_what_cannot_handle(handler):
    """A handler is callable or has `handle`: else a ValueError."""
    with pytest.raises(ValueError, match="handler"):
        Route(Provider(), handler)


def test_route_handler_is_the_callable():
    """The function itself; of a class-based handler, its bound method."""
    handler = Handler()
    assert Route(Provider(), accept).handler is accept
    assert Route(Provider(), handler).handler == handler.handle


def test_route_applies_its_translator():
    """Without one the raw message is the content; a translator may leave metadata out."""

    class ContentOnly(AbstractMessageTranslator):
        def translate(self, message):
            return {"content": message.upper()}

    apply = Route(Provider(), accept).apply_message_translator
    assert apply("raw") == {"content": "raw", "metadata": {}}
    apply = Route(Provider(), accept, message_translator=ContentOnly()).apply_message_translator
    assert apply("raw") == {"content": "RAW", "metadata": {}}


async def test_route_delivers():
    """`deliver` translates, calls the handler with content and metadata, and gives its answer."""
    handler = Handler()
    route = Route(Provider(), handler, message_translator=StringMessageTranslator())
    assert await route.deliver(12) is True
    assert handler.handled == [("12", {})]


async def test_route_without_error_handler_acknowledges_nothing():
    """`error_handler` is False when none was given."""
    error = ValueError()
    assert await Route(Provider(), accept).error_handler((ValueError, error, None), "m") is False


def test_route_stops_provider_and_handler():
    """The provider, then a class-based handler's own `stop`."""
    provider, handler = Provider(), Handler()
    Route(provider, handler).stop()
    assert provider.stopped == 1
    assert handler.stopped


# utils: their behaviour


def test_import_callable():
    """A dotted path gives the callable; anything else is a ConfigurationError."""
    assert import_callable("loafer_kit.managers.LoaferManager") is LoaferManager
    for path in ("loafer_kit.missing", "missing.module.name", "nodots"):
        with pytest.raises(ConfigurationError):
            import_callable(path)


async def test_run_in_loop_or_executor():
    """A coroutine function is awaited, a function called in a thread."""
    assert await run_in_loop_or_executor(accept, "message") is True
    assert await run_in_loop_or_executor(len, "message") == 7


# ext.aws.providers


@pytest.mark.parametrize(
    "option",
    [
        {"api_version": "2012-11-05"},
        {"aws_access_key_id": "a", "aws_secret_access_key": "b", "aws_session_token": "c"},
        {"region_name": "us-east-1"},
        {"use_ssl": False},
        {"verify": False},
    ],
    ids=lambda option: next(iter(option)),
)
async def test_provider_takes_the_client_options(local_server, local_queues, option):
    """Every documented option of the client is passed to it."""
    queue = local_queues.fresh()
    local_queues.send(queue, "hello")
    provider = SQSProvider(queue, {"WaitTimeSeconds": 0}, endpoint_url=local_server.url, **option)
    [message] = await provider.fetch_messages()
    await provider.confirm_message(message)
    await provider.close()
    assert local_queues.counts(queue).total == 0


async def test_provider_passes_its_options_to_receive_message(local_queues):
    """`options` are those of ReceiveMessage."""
    queue = local_queues.fresh()
    for number in range(3):
        local_queues.send(queue, number)
    provider = SQSProvider(queue, options={"MaxNumberOfMessages": 2, "WaitTimeSeconds": 0})
    assert len(await provider.fetch_messages()) == 2
    await provider.close()


async def test_a_queue_url_needs_no_look_up():
    """A queue may be given by its URL; then GetQueueUrl is not called."""
    actions = []

    async def answer(request):
        actions.append(request.headers["X-Amz-Target"].partition(".")[2])
        return web.json_response({"Attributes": {"VisibilityTimeout": "30"}})

    runner = web.AppRunner(web.Application())
    runner.app.router.add_post("/", answer)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    provider = SQSProvider(
        f"http://127.0.0.1:{port}/123456789012/orders",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    try:
        assert await provider.fetch_messages() == []
    finally:
        await provider.close()
        await runner.cleanup()
    assert provider.name == "orders"
    assert "ReceiveMessage" in actions
    assert "GetQueueUrl" not in actions


# ext.aws.routes


@pytest.mark.parametrize(
    ("kind", "translator"),
    [(SQSRoute, SQSMessageTranslator), (SNSQueueRoute, SNSMessageTranslator)],
)
def test_queue_routes(kind, translator):
    """Named after the queue, with their own translator unless it is switched off."""
    route = kind("orders", {"options": {"WaitTimeSeconds": 5}}, handler=accept)
    assert route.name == "orders"
    assert isinstance(route.provider, SQSProvider)
    assert isinstance(route.message_translator, translator)
    assert kind("orders", handler=accept, name="mine").name == "mine"
    assert kind("orders", handler=accept, message_translator=None).message_translator is None


# ext.aws.handlers, ext.aws.publishers


async def test_sqs_handler(local_queues):
    """`publish` and `handle` send JSON; without a queue, ValueError."""
    queue = local_queues.fresh()
    handler = SQSHandler(queue, region_name="us-east-1")
    assert await handler.publish({"a": 1})
    assert await handler.handle([2], {})
    assert sorted(m["Body"] for m in local_queues.receive(queue)) == ["[2]", '{"a": 1}']
    with pytest.raises(ValueError, match="queue"):
        await SQSHandler().publish("message")


async def test_sns_handler(local_queues):
    """The same to a topic, which gives `default` to each subscriber."""
    local_queues.create(LocalQueue("subscribed", topic="events"))
    assert await SNSHandler("events").publish({"a": 1})
    [message] = local_queues.receive("subscribed")
    assert json.loads(json.loads(message["Body"])["Message"]) == {"a": 1}
    with pytest.raises(ValueError, match="topic"):
        await SNSHandler().publish("message")


def test_publishers(local_queues):
    """By hand: `sqs_publish(queue, message)`, `sns_publish(topic, message)`."""
    local_queues.create(LocalQueue("subscribed", topic="events"))
    assert sqs_publish("subscribed", "direct")
    assert sns_publish("events", "by topic")
    bodies = [message["Body"] for message in local_queues.receive("subscribed")]
    assert "direct" in bodies
    assert any("by topic" in body for body in bodies)


# ext.aws.message_translators


async def test_sqs_translator(local_queues):
    """The body's JSON, and the other keys of the message, which itself stays whole."""
    queue = local_queues.fresh()
    local_queues.send(queue, {"key": True})
    [message] = local_queues.receive(queue)
    translated = SQSMessageTranslator().translate(message)
    assert translated["content"] == {"key": True}
    assert translated["metadata"] == {k: v for k, v in message.items() if k != "Body"}
    assert message["Body"] == '{"key": true}'


async def test_sns_translator(local_queues):
    """The published JSON; the envelope's keys over SQS's, whose id stays reachable."""
    local_queues.create(LocalQueue("subscribed", topic="events"))
    await SNSHandler("events").publish({"key": True})
    [message] = local_queues.receive("subscribed")
    envelope = json.loads(message["Body"])
    translated = SNSMessageTranslator().translate(message)
    assert translated["content"] == {"key": True}
    metadata = translated["metadata"]
    for name in ("Type", "TopicArn", "Timestamp", "MessageId"):
        assert metadata[name] == envelope[name]
    assert metadata["ReceiptHandle"] == message["ReceiptHandle"]
    assert metadata["SQSMessageId"] == message["MessageId"]


# ext.sentry


def test_sentry_handler_signature():
    """A client of either generation, and whether a reported message is deleted."""
    assert parameters(sentry_handler) == {"client": REQUIRED, "delete_message": False}
    assert callable(sentry_handler(sentry_sdk, delete_message=True))
