"""Deliveries: one message and a batch are decided alike."""

import pytest

from loafer_kit import outcomes
from loafer_kit.engine.deliveries import Delivery, deliver, deliver_batch
from loafer_kit.exceptions import FatalError, RejectMessage, RetryMessage
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

ERROR = ValueError("bad")


class Translator:
    """Raises the message if it is an exception."""

    def translate(self, message):
        if isinstance(message, Exception):
            raise message
        return {"content": message}


def route(handler, **options):
    return Route(InMemoryProvider(), handler, message_translator=Translator(), **options)


async def accept(content, metadata):
    return True


@pytest.mark.parametrize(
    ("raised", "delivery"),
    [
        (RetryMessage(delay=3), Delivery(outcomes.Retry(3))),
        (RejectMessage("no"), Delivery(outcomes.DeadLetter("no"))),
        (ERROR, Delivery(outcomes.LEAVE, ERROR)),
    ],
)
async def test_a_handler_that_raises_decides_for_its_messages(raised, delivery):
    """A request is carried out; any other exception is kept with the outcome."""

    async def handler(content, metadata):
        raise raised

    assert await deliver(route(handler), "m") == delivery
    batch = route(handler, batch_handler_size=2)
    assert await deliver_batch(batch, ["m", "n"]) == [delivery, delivery]


@pytest.mark.parametrize(
    ("raised", "delivery"),
    [
        (RetryMessage(delay=3), Delivery(outcomes.Retry(3))),
        (ERROR, Delivery(outcomes.DeadLetter("ValueError: bad"), ERROR)),
    ],
)
async def test_a_translator_that_raises_decides_for_one_message(raised, delivery):
    """The handler of a batch gets the other messages."""
    assert await deliver(route(accept), raised) == delivery
    batch = route(accept, batch_handler_size=3)
    assert await deliver_batch(batch, ["m", raised, "n"]) == [
        Delivery(outcomes.ACKNOWLEDGE),
        delivery,
        Delivery(outcomes.ACKNOWLEDGE),
    ]


async def test_a_fatal_error_gets_out():
    """From the handler or the translator, of one message or a batch."""

    async def handler(content, metadata):
        raise FatalError("stop")

    for given, message in ((handler, "m"), (accept, FatalError("stop"))):
        with pytest.raises(FatalError, match="stop"):
            await deliver(route(given), message)
        with pytest.raises(FatalError, match="stop"):
            await deliver_batch(route(given, batch_handler_size=1), [message])
