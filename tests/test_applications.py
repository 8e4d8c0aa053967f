"""An Application's callback whose message is annotated with a payload type."""

import dataclasses
import functools
import threading

import postponed_annotations
import pytest
from typing_extensions import TypedDict

from loafer_kit import Abort, Application
from loafer_kit.events import Observer
from loafer_kit.exceptions import ConfigurationError, InvalidPayloadError
from loafer_kit.testing import InMemoryProvider
from loafer_kit.types import QueueConsumer


@dataclasses.dataclass
class Order:
    number: int


class Address(TypedDict):
    city: str


@dataclasses.dataclass
class Settings:
    """What a callback may have bound before the application."""

    locks: list


class Consumer:
    def __init__(self, *messages):
        self.messages = list(messages)

    async def read(self):
        if not self.messages:
            raise Abort("messages.ended", None)
        return self.messages.pop(0)


def run(callback, *messages):
    """Run an application to its end; return what callback, errors and acknowledgements were given."""
    app = Application("typed", consumer=Consumer(*messages), callback=callback)
    app.seen, app.errors, app.acknowledged = [], [], []

    @app.error
    async def note_error(app, message, error):
        app.errors.append((message, error))

    @app.message_acknowledgement
    async def note_acknowledgement(app, message):
        app.acknowledged.append(message)

    app.run()
    return app


def test_a_callback_gets_messages_as_the_type_that_it_names():
    """The second parameter names the type."""

    async def callback(app, order: Order):
        app.seen.append(order)

    app = run(callback, {"number": "1"}, {"number": 2})

    assert app.seen == [Order(1), Order(2)]
    assert app.errors == []
    assert app.acknowledged == [{"number": "1"}, {"number": 2}]


def test_what_does_not_fit_goes_to_the_error_callbacks():
    """The callback never sees it; they get the message as it was and the reason."""

    async def callback(app, address: Address | Order):
        app.seen.append(address)

    app = run(callback, {"town": "Rome"}, {"city": "Rome", "more": 1})

    assert app.seen == [{"city": "Rome"}]
    [(message, error)] = app.errors
    assert message == {"town": "Rome"}
    assert isinstance(error, InvalidPayloadError)
    assert "Address.city: Field required; Order.number: Field required" in str(error)
    assert len(app.acknowledged) == 2


def test_preprocessors_make_what_is_validated():
    """They get the message as it was read, and may make the type themselves."""

    async def callback(app, order: Order):
        app.seen.append(order)

    app = Application("typed", consumer=Consumer("7", "8"), callback=callback)
    app.seen = []

    @app.message_preprocessor
    async def parse(app, message):
        return {"number": int(message)} if message == "7" else Order(8)

    app.run()

    assert app.seen == [Order(7), Order(8)]


@pytest.mark.parametrize("place", ["preprocessor", "callback", "error callback"])
def test_the_acknowledgement_gets_the_message_as_it_was(place):
    """Callbacks may change their message in place; what cannot be copied stays the same."""
    lock = threading.Lock()
    message = {"body": {"items": [1]}, "lock": lock}
    acknowledged = []

    async def change(app, message, error=None):
        message["body"]["items"].append(2)
        message["changed"] = message.pop("lock")
        return message

    async def callback(app, message):
        app.seen.append(message)
        if place == "callback":
            await change(app, message)
        if place == "error callback":
            raise ValueError

    app = Application("typed", consumer=Consumer(message), callback=callback)
    app.seen = []
    if place == "preprocessor":
        app.message_preprocessor(change)
    if place == "error callback":
        app.error(change)

    @app.message_acknowledgement
    async def acknowledge(app, message):
        acknowledged.append(message)

    app.run()

    assert app.seen == [{"body": {"items": [1, 2]}, "changed": lock}]
    assert acknowledged == [{"body": {"items": [1]}, "lock": lock}]
    assert acknowledged[0] is message


@pytest.mark.parametrize("kind", ["deep", "circular"])
def test_a_message_that_cannot_be_copied_is_handled(kind):
    """It is nested too deeply, or holds itself: the callbacks get the message itself."""
    message: dict = {}
    if kind == "circular":
        message["self"] = [message]
    else:
        inner = message
        for _ in range(5_000):
            inner["items"] = [{}]
            inner = inner["items"][0]

    async def callback(app, message):
        app.seen.append(message)

    app = run(callback, message)

    assert not app.errors
    assert app.seen[0] is app.acknowledged[0] is message


def test_other_annotations_leave_the_message_alone(caplog):
    """Also the annotation of `app`, even of an unknown name."""

    async def callback(app: "Unknown", message: dict):  # noqa: F821
        app.seen.append(message)

    async def typed_application(app: Settings, message):
        app.seen.append(message)

    for each in (callback, typed_application):
        assert run(each, {"number": "1"}).seen == [{"number": "1"}]
    assert caplog.records == []


def test_callbacks_of_any_kind_are_seen_through():
    """Methods, partials and names that are texts."""

    class Callbacks:
        async def call_back(self, app, order: Order):
            app.seen.append(order)

    async def with_settings(settings: Settings, app, order: Order):
        app.seen.append(order)

    for each in (Callbacks().call_back, functools.partial(with_settings, Settings([]))):
        assert run(each, {"number": "1"}).seen == [Order(1)]
    seen = run(postponed_annotations.call_back, {"boxes": []}).seen
    assert seen == [postponed_annotations.Parcel([])]


def test_an_application_does_not_start_with_what_cannot_be_validated():
    """Before anything is read."""

    class Untyped:
        pass

    async def callback(app, message: Order | Untyped):
        pass

    consumer = Consumer({"number": 1})
    with pytest.raises(
        ConfigurationError, match=r"takes Order \| Untyped, which cannot be validated"
    ):
        Application("typed", consumer=consumer, callback=callback).run()
    assert len(consumer.messages) == 1


class Wrapped(QueueConsumer):
    """Reads a provider's messages in a wrapping of its own, or without saying who delivers them."""

    def __init__(self, *bodies, provider):
        self.source = InMemoryProvider()
        self.source.broker, self.source.statistics = "memory", {"read": 1}
        for body in bodies:
            self.source.put(body)
        self.provider = self.source if provider else None
        self.unread = len(bodies)
        self.left = []

    async def read(self):
        if not self.unread:
            raise Abort("messages.ended", None)
        self.unread -= 1
        (message,) = await self.source.fetch(1)
        return {"wrapped": message}

    def stop_reading(self):
        self.source.stop()

    def delivered(self, message):
        return message["wrapped"]

    async def leave(self, message):
        self.left.append(message)


class Started(Observer):
    def __init__(self):
        self.found = []

    def started(self, call):
        provider, (message,) = call.route.provider, call.messages
        facts = provider.describe(message)
        self.found.append(
            (provider.broker, provider.statistics, facts, provider.order_key(message))
        )


@pytest.mark.parametrize("provider", [True, False])
def test_a_consumers_provider_knows_its_messages(provider):
    async def fail(app, message):
        raise ValueError(message)

    consumer, seen = Wrapped("a", provider=provider), Started()
    app = Application("wrapping", consumer=consumer, callback=fail)
    app.observe(seen)
    app.run_forever()

    (message,) = consumer.left
    known = ("memory", {"read": 1}, consumer.source.describe(message["wrapped"]), None)
    assert seen.found == [known if provider else ("", {}, {}, None)]
    assert (consumer.source.route_events.started is not None) == provider
