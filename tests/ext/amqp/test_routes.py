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


async def price(order, metadata):
    return order and {"price": 100 + order["id"]}


@pytest.mark.parametrize("through", ["queue", "exchange", "nowhere"])
async def test_a_result_is_sent_on_before_its_message_is_acknowledged(broker, through):
    """To a queue or through an exchange; what reaches no queue is a failure of the message."""
    name, target, exchange = rabbit.fresh(), rabbit.fresh("priced"), rabbit.fresh("shop")
    await broker.provider(name)
    await broker.provider(target, exchange=exchange, routing_key="order.*")
    places = {"queue": target, "exchange": (exchange, "order.priced"), "nowhere": rabbit.fresh()}
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    await rabbit.send(broker.url, name, '{"id": 1}', headers=trace)
    route = AMQPRoute(
        name,
        {"url": broker.url, "max_deliveries": 1},
        handler=price,
        forward_to=places[through],
    )
    serving = asyncio.create_task(LoaferManager([route]).serve())
    (found,) = await rabbit.take(broker.url, f"{name}.dead" if through == "nowhere" else target, 1)
    serving.cancel()
    await asyncio.wait([serving])
    if through == "nowhere":
        assert "NO_ROUTE" in found.headers["DeadLetterReason"]
    else:
        assert (found.body, found.delivery_mode) == (b'{"price": 101}', 2)
        assert found.routing_key == ("order.priced" if through == "exchange" else target)


@pytest.mark.parametrize("wrong", [7, ("shop",), ("shop", 7)])
def test_a_place_for_results_that_is_none_is_refused(wrong):
    """When the route is made."""
    with pytest.raises(ConfigurationError, match="forward_to must be"):
        AMQPRoute("orders", handler=handle, forward_to=wrong)


def test_one_place_gets_the_results_of_one_message_at_a_time():
    """As on any route."""
    with pytest.raises(ConfigurationError, match="forward_to takes one message at a time"):
        AMQPRoute("orders", handler=handle, forward_to="priced", batch_handler_size=2)
