"""Routes from RabbitMQ queues, at work in a manager."""

import asyncio

import pytest
import rabbit
from aio_pika import Message

from loafer_kit.exceptions import ConfigurationError, RejectMessage, SettingError
from loafer_kit.ext.amqp import AMQPMessageTranslator, AMQPRoute, AMQPTextMessageTranslator
from loafer_kit.managers import LoaferManager


async def handle(message, metadata):
    return True


async def test_a_route_handles_retries_and_rejects(broker):
    """Its handler gets the JSON and the message's facts."""
    name, seen, enough = rabbit.fresh(), [], asyncio.Event()

    async def handler(message, metadata):
        seen.append((message, metadata["deliveries"]))
        if message == {"n": 3}:
            raise RejectMessage("three")
        if len(seen) == 4:
            enough.set()
        return metadata["deliveries"] == 2 or message["n"] == 1

    await broker.provider(name)
    await rabbit.send(broker.url, name, '{"n": 1}', '{"n": 2}', '{"n": 3}', "no JSON")
    route = AMQPRoute(name, {"url": broker.url}, handler=handler, redelivery_delay=0.05)
    serving = asyncio.create_task(LoaferManager([route]).serve())
    await asyncio.wait_for(enough.wait(), 20)
    serving.cancel()
    await asyncio.wait([serving])
    assert sorted(seen, key=str) == [
        ({"n": 1}, 1),
        ({"n": 2}, 1),
        ({"n": 2}, 2),
        ({"n": 3}, 1),
    ]
    letters = await rabbit.take(broker.url, f"{name}.dead", 2)
    reasons = {letter.headers["DeadLetterReason"] for letter in letters}
    assert "three" in reasons
    assert any("AMQPTextMessageTranslator" in reason for reason in reasons)


def test_the_environment_sets_options(monkeypatch):
    """Those of the route and those of the queue."""
    monkeypatch.setenv("LOAFER_ORDERS_CONCURRENCY", "3")
    monkeypatch.setenv("LOAFER_ORDERS_MAX_DELIVERIES", "5")
    monkeypatch.setenv("LOAFER_ORDERS_ROUTING_KEY", "order.*")
    route = AMQPRoute("orders", handler=handle, concurrency=2)
    assert route.options.concurrency == 3
    assert route.provider.options.max_deliveries == 5
    assert route.provider.options.routing_key == "order.*"


def test_an_invalid_variable_ends_the_process_with_its_name(monkeypatch):
    """In one line."""
    monkeypatch.setenv("LOAFER_ORDERS_QUEUE_TYPE", "stream")
    with pytest.raises(SettingError, match="LOAFER_ORDERS_QUEUE_TYPE"):
        AMQPRoute("orders", handler=handle)


def test_an_unknown_option_is_refused():
    """With the name that it resembles."""
    with pytest.raises(ConfigurationError, match="Did you mean 'exchange'"):
        AMQPRoute("orders", handler=handle, exchang="shop")


class Incoming(Message):
    exchange = "shop"
    routing_key = "order.placed"
    redelivered = False


@pytest.mark.parametrize(
    ("body", "hint"), [(b"text", "AMQPTextMessageTranslator"), (b"\xff", "message_translator=None")]
)
def test_a_body_that_is_not_json_is_refused_with_a_hint(body, hint):
    """The message becomes a dead letter with this reason."""
    with pytest.raises(ValueError, match=hint):
        AMQPMessageTranslator().translate(Incoming(body))


def test_the_text_translator_takes_any_text():
    """Its metadata are the same."""
    translated = AMQPTextMessageTranslator().translate(Incoming("grün".encode()))
    assert translated["content"] == "grün"
    assert translated["metadata"]["routing_key"] == "order.placed"
    assert translated["metadata"]["deliveries"] == 1
