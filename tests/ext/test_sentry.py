import asyncio
import sys
import warnings

import pytest
import sentry_sdk
from sentry_sdk.transport import Transport

from loafer_kit import LoaferManager
from loafer_kit.ext.sentry import SentryScope, sentry_handler
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

MESSAGE = {"MessageId": "1", "Body": '{"order": 12}'}


class RecordingTransport(Transport):
    """Sentry's own client hands its events to this instead of the network."""

    def __init__(self, options=None):
        super().__init__(options)
        self.events = []

    def capture_envelope(self, envelope):
        self.events.append(envelope.get_event())


@pytest.fixture
def client():
    """A real client of sentry_sdk, as `sentry_sdk.init` would make it."""
    client = sentry_sdk.Client(
        dsn="https://key@sentry.invalid/1", transport=RecordingTransport, default_integrations=False
    )
    scope = sentry_sdk.get_global_scope()
    scope.set_client(client)
    yield client
    scope.set_client(None)
    client.close()


def failure():
    try:
        int("no number")
    except ValueError:
        return sys.exc_info()


def assert_reported(client):
    [event] = client.transport.events
    [exception] = event["exception"]["values"]
    assert (exception["type"], exception["value"]) == (
        "ValueError",
        "invalid literal for int() with base 10: 'no number'",
    )
    assert [frame["function"] for frame in exception["stacktrace"]["frames"]] == ["failure"]
    assert event["extra"]["message"] == MESSAGE


@pytest.mark.parametrize("delete_message", [False, True])
def test_reports_by_the_sdk(client, delete_message):
    """The exception goes to Sentry with its traceback and the message; the answer is as asked."""
    handler = sentry_handler(sentry_sdk, delete_message=delete_message)
    assert handler(failure(), MESSAGE) is delete_message
    assert_reported(client)


def test_reports_by_a_scope(client):
    """A scope adds what it holds."""
    scope = sentry_sdk.Scope()
    scope.set_tag("service", "orders")
    assert sentry_handler(scope)(failure(), MESSAGE) is False
    assert_reported(client)
    assert client.transport.events[0]["tags"] == {"service": "orders"}


def test_reports_by_a_hub(client):
    """A hub, which sentry_sdk has deprecated, still works."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hub = sentry_sdk.Hub.current
        sentry_handler(hub)(failure(), MESSAGE)
    assert_reported(client)


def test_nothing_of_a_message_sticks(client):
    """What was reported with one message does not go with the next event."""
    sentry_handler(sentry_sdk)(failure(), MESSAGE)
    sentry_sdk.capture_message("another")
    assert "message" not in client.transport.events[1].get("extra", {})


def test_reports_by_raven():
    """An object with raven's `captureException` gets the exception and the message."""

    class RavenClient:
        def captureException(self, exc_info=None, **kwargs):  # noqa: N802 - raven's name
            self.captured = exc_info, kwargs

    raven, exc_info = RavenClient(), failure()
    assert sentry_handler(raven, delete_message=True)(exc_info, MESSAGE) is True
    assert raven.captured == (exc_info, {"extra": {"message": MESSAGE}})


def test_can_be_called_as_loafer_1_called_it(client):
    """`(exc_type, exc, message)` is understood, too."""
    exc_type, exc, _ = failure()
    assert sentry_handler(sentry_sdk)(exc_type, exc, MESSAGE) is False
    assert_reported(client)


async def test_reports_what_a_route_hands_over(client):
    """As a route's error handler it reports from the thread that it runs in."""
    route = Route(InMemoryProvider(), print, error_handler=sentry_handler(sentry_sdk, True))
    assert await route.error_handler(failure(), MESSAGE) is True
    assert_reported(client)


def test_refuses_what_cannot_report():
    """A wrong argument is reported when the handler is made, not when a message fails."""
    with pytest.raises(TypeError, match="sentry_handler takes"):
        sentry_handler(object())


class TracedProvider(InMemoryProvider):
    """The messages are their own trace headers."""

    def trace_headers(self, message):
        return message


TRACED = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "baggage": "shop=3"}


async def serve(client, messages, handler, **options):
    provider = TracedProvider(messages)
    manager = LoaferManager(
        [Route(provider, handler, "orders", error_handler=sentry_handler(sentry_sdk), **options)]
    )
    manager.observe(SentryScope(sentry_sdk))
    await manager.serve()
    return client.transport.events


@pytest.mark.parametrize("plain", [False, True])
async def test_a_report_names_the_message_and_its_trace(client, plain):
    """One that the handler makes, in a thread as well, and that of its failure."""

    def handle(content, metadata):
        sentry_sdk.capture_message("hello")
        raise ValueError("no")

    async def handle_in_loop(content, metadata):
        handle(content, metadata)

    hello, failed = await serve(client, [TRACED], handle if plain else handle_in_loop)

    for event in (hello, failed):
        facts = event["tags"]
        assert (facts["route"], facts["message_id"]) == ("orders", 1)
        assert event["contexts"]["trace"]["trace_id"] == "a" * 32
        assert event["contexts"]["trace"]["parent_span_id"] == "b" * 16


async def test_messages_do_not_share_their_scopes(client):
    """Those at the same time neither; a message without a trace has a trace of its own."""
    both = asyncio.Barrier(2)

    async def handle(content, metadata):
        await both.wait()
        sentry_sdk.capture_message(str(bool(content)))
        return True

    events = await serve(client, [TRACED, {}], handle)
    sentry_sdk.capture_message("afterwards")

    found = {event["message"]: event for event in events}
    assert len({event["contexts"]["trace"]["trace_id"] for event in events}) == 3
    assert found["True"]["contexts"]["trace"]["trace_id"] == "a" * 32
    assert {found["True"]["tags"]["message_id"], found["False"]["tags"]["message_id"]} == {1, 2}
    assert "tags" not in found["afterwards"]


async def test_a_batch_has_all_its_ids(client):
    async def handle(contents, metadata):
        sentry_sdk.capture_message("hello")
        return True

    (event,) = await serve(client, [{}, TRACED], handle, batch_handler_size=2)

    assert event["tags"]["message_id"] == "1, 2"
