"""Several types of messages on one queue."""

import dataclasses
import threading

import pytest

from loafer_kit.exceptions import ConfigurationError, InvalidPayloadError, RejectMessage
from loafer_kit.payloads.by_type import by_type
from loafer_kit.payloads.decoding import is_undecodable
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route


@dataclasses.dataclass
class Placed:
    order: int


@dataclasses.dataclass
class Cancelled:
    order: int
    why: str


class Provider(AbstractProvider):
    async def fetch_messages(self):
        return []

    async def confirm_message(self, message):
        return None

    def stop(self):
        pass


async def handle_placed(placed: Placed, metadata):
    return ("placed", placed)


def handle_cancelled(cancelled: Cancelled, metadata):
    return ("cancelled", cancelled, threading.current_thread() is threading.main_thread())


HANDLERS = {"order.placed": handle_placed, "order.cancelled": handle_cancelled}


async def call(handler, content, metadata=None):
    return await Route(Provider(), handler).call(content, metadata or {})


async def test_each_type_goes_to_its_handler_as_that_handlers_type():
    """A plain one runs in a thread, as on a route of its own."""
    handler = by_type("type", HANDLERS)

    assert await call(handler, {"type": "order.placed", "order": 7}) == ("placed", Placed(7))
    answer = await call(handler, {"type": "order.cancelled", "order": 7, "why": "late"})
    assert answer == ("cancelled", Cancelled(7, "late"), False)


@pytest.mark.parametrize(
    ("key", "content", "metadata"),
    [
        ("detail-type", {"order": 7}, {"detail-type": "order.placed"}),
        ("kind", {"order": 7}, {"MessageAttributes": {"kind": {"StringValue": "order.placed"}}}),
        ("kind", {"order": 7}, {"MessageAttributes": {"kind": {"Value": "order.placed"}}}),
        ("event.name", {"order": 7, "event": {"name": "order.placed"}}, {}),
        (lambda content, metadata: f"order.{content['is']}", {"order": 7, "is": "placed"}, {}),
        # What an envelope says counts more than what the content says.
        ("type", {"order": 7, "type": "order.cancelled"}, {"type": "order.placed"}),
    ],
)
async def test_the_type_is_found_where_the_key_says(key, content, metadata):
    """In the metadata, in an attribute of SQS or SNS, in the content, by a function."""
    assert await call(by_type(key, HANDLERS), content, metadata) == ("placed", Placed(7))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"type": "order.lost"}, "type 'order.lost': the types are order.placed, order.cancelled"),
        ({"type": "x" * 500}, "type '" + "x" * 99 + "…:"),
        ({"type": ["order.placed"]}, r"type ['order.placed']:"),
        ({}, "no type:"),
        ("text", "no type:"),
        ([], "no type:"),
    ],
)
async def test_an_unknown_type_is_rejected_with_its_name(content, said):
    """The dead letter says what came, and what could have."""
    with pytest.raises(RejectMessage) as info:
        await call(by_type("type", HANDLERS), content)
    assert said in str(info.value)


async def test_the_default_takes_what_no_handler_takes():
    """As it came."""

    async def handle_others(content, metadata):
        return content

    handler = by_type("type", HANDLERS, default=handle_others)
    assert await call(handler, {"type": "order.lost"}) == {"type": "order.lost"}
    assert await call(handler, "text") == "text"


async def test_a_misfit_of_a_known_type_is_undecodable():
    """It goes the way of any message that does not fit its handler."""
    with pytest.raises(InvalidPayloadError, match="does not fit Placed: order") as info:
        await call(by_type("type", HANDLERS), {"type": "order.placed", "order": "many"})
    assert is_undecodable(info.value)


async def test_the_time_limit_of_a_plain_handler_starts_in_its_thread():
    """The route's time limit holds for the chosen handler."""
    hang = threading.Event()
    handler = by_type("type", {"a": lambda content, metadata: hang.wait(10)})
    try:
        with pytest.raises(TimeoutError, match=r"took longer than 0\.05 s"):
            await Route(Provider(), handler, handler_timeout=0.05).call({"type": "a"}, {})
    finally:
        hang.set()


def yields(content, metadata):
    yield content


@pytest.mark.parametrize(
    ("handlers", "said"),
    [
        ({}, "at least one type"),
        ({"a": "no function"}, "'a' is not callable"),
        ({"a": yields}, "'a' only makes a generator"),
    ],
)
def test_what_cannot_handle_is_refused_at_start(handlers, said):
    """One line."""
    with pytest.raises(ConfigurationError, match=said):
        by_type("type", handlers)


def test_a_route_of_batches_refuses_it():
    """A batch may have messages of several types."""
    with pytest.raises(ConfigurationError, match="by_type takes one message at a time"):
        Route(Provider(), by_type("type", HANDLERS), batch_handler_size=10)
