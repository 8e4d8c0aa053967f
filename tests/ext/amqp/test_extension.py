"""The extension AMQP, with the examples of Henson-AMQP's documentation and tests."""

import asyncio
import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import rabbit

from loafer_kit.applications import Application
from loafer_kit.contrib.retry import Retry
from loafer_kit.exceptions import MissingExtraError, ProviderError
from loafer_kit.ext.amqp import AMQP, Consumer, DeliveryMode, Message
from loafer_kit.types import Forwarder

SETTINGS = {
    "AMQP_HOST": "localhost",
    "AMQP_PORT": 5672,
    "AMQP_USERNAME": "guest",
    "AMQP_PASSWORD": "guest",
    "AMQP_VIRTUAL_HOST": "/",
    "AMQP_HEARTBEAT_INTERVAL": 60,
    "AMQP_CONNECTION_KWARGS": {},
    "AMQP_USE_SSL": False,
    "REGISTER_CONSUMER": False,
    "AMQP_DISPATCH_METHOD": "ROUND_ROBIN",
    "AMQP_INBOUND_EXCHANGE": "",
    "AMQP_INBOUND_EXCHANGE_DURABLE": False,
    "AMQP_INBOUND_EXCHANGE_TYPE": "direct",
    "AMQP_INBOUND_EXCHANGE_KWARGS": {},
    "AMQP_INBOUND_QUEUE": "",
    "AMQP_INBOUND_QUEUE_DURABLE": False,
    "AMQP_INBOUND_ROUTING_KEY": "",
    "AMQP_PREFETCH_LIMIT": 0,
    "AMQP_PREFETCH_COUNT": 0,
    "AMQP_PREFETCH_SIZE": 0,
    "AMQP_OUTBOUND_EXCHANGE": "",
    "AMQP_OUTBOUND_EXCHANGE_DURABLE": False,
    "AMQP_OUTBOUND_EXCHANGE_TYPE": "direct",
    "AMQP_OUTBOUND_EXCHANGE_KWARGS": {},
    "AMQP_OUTBOUND_ROUTING_KEY": "",
    "AMQP_DELIVERY_MODE": DeliveryMode.NONPERSISTENT,
}


def quickstart(url, callback=None, **settings):
    """The application of the quickstart, on the test's broker and with queues of its own."""
    host, port = url.rpartition("@")[2].rstrip("/").split(":")
    name = rabbit.fresh("incoming")
    app = Application("app", callback=callback)
    app.settings.update(
        {
            "AMQP_HOST": host,
            "AMQP_PORT": int(port),
            "AMQP_INBOUND_QUEUE": name,
            "AMQP_INBOUND_EXCHANGE": name,
            "AMQP_OUTBOUND_EXCHANGE": name,
            "AMQP_INBOUND_ROUTING_KEY": "outgoing",
            "AMQP_OUTBOUND_ROUTING_KEY": "outgoing",
            **settings,
        }
    )
    return app


async def run(app, until):
    """Serve until the event is set."""
    serving = asyncio.create_task(app.serve())
    await asyncio.wait_for(until.wait(), 20)
    serving.cancel()
    await asyncio.wait([serving])


def test_the_settings_have_hensons_names_and_defaults():
    """A service that names none of them runs with them."""
    app = Application("app")
    AMQP(app)
    assert {name: app.settings[name] for name in SETTINGS} == SETTINGS


def test_the_reference_has_each_setting_with_its_default():
    """A row for each."""
    page = Path(__file__).parents[3].joinpath("docs/reference/rabbitmq.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| `(.+?)` \|", page, re.MULTILINE))
    shown = {name: repr(default) for name, default in SETTINGS.items()}
    shown["AMQP_DELIVERY_MODE"] = "DeliveryMode.NONPERSISTENT"
    assert {name: default.replace('"', "'") for name, default in rows.items()} == shown


@pytest.mark.parametrize("register", [True, False])
def test_register_consumer_gives_the_application_its_consumer(register):
    """As Henson's test has it."""
    app = Application("app", {"REGISTER_CONSUMER": register})
    AMQP(app)
    assert isinstance(app.consumer, Consumer) is register


def test_consumers_are_new_and_the_producer_is_cached():
    """Of one extension."""
    amqp, other = AMQP(Application("app")), AMQP(Application("app"))
    assert amqp.consumer() is not amqp.consumer()
    assert amqp.producer() is amqp.producer()
    assert amqp.producer() is not other.producer()


@pytest.mark.parametrize("mode", DeliveryMode)
async def test_read_write(rabbitmq, mode):
    """As Henson's test has it: a message that the producer sends is read by the consumer."""
    app = quickstart(rabbitmq, AMQP_DELIVERY_MODE=mode)
    amqp = AMQP(app)
    consumer, producer = amqp.consumer(), amqp.producer()
    reading = asyncio.create_task(consumer.read())
    await _sent(producer, json.dumps({"spam": "eggs"}).encode())
    message = await reading
    await consumer._acknowledge_message(app, message)
    assert isinstance(message, Message)
    assert message.body == b'{"spam": "eggs"}'
    assert message.envelope.routing_key == "outgoing"
    assert message.properties.delivery_mode == mode
    await consumer._teardown(app)
    await producer._teardown(app)


async def _sent(producer, message):
    """Send as soon as the consumer has bound its queue."""
    while True:
        try:
            return await producer.send(message)
        except ProviderError:
            await asyncio.sleep(0.01)


async def test_the_quickstart_handles_each_message_once(rabbitmq):
    """What is acknowledged is gone; what fails comes again, as it has no error callback."""
    seen, enough = [], asyncio.Event()

    async def callback(app, message):
        seen.append(message.body)
        if len(seen) == 3:
            enough.set()

    app = quickstart(rabbitmq, callback, AMQP_PREFETCH_LIMIT=2)
    amqp = AMQP(app)
    app.consumer, producer = amqp.consumer(), amqp.producer()

    @app.startup
    async def send(app):
        for body in ("1", "2", "3"):
            await producer.send(body)

    await run(app, enough)
    assert seen == [b"1", b"2", b"3"]
    again = quickstart(rabbitmq, callback, **app.settings)
    consumer = AMQP(again).consumer()
    await consumer._start(again)
    assert await consumer.provider.depth() == {"visible": 0}
    await consumer._teardown(again)


async def test_a_message_that_fails_stays_in_its_queue(rabbitmq):
    """Without an error callback, it comes again after a while; here at the next run."""
    failed = asyncio.Event()

    async def callback(app, message):
        failed.set()
        raise ValueError("no")

    app = quickstart(rabbitmq, callback)
    amqp = AMQP(app)
    app.consumer, producer = amqp.consumer(), amqp.producer()

    @app.startup
    async def send(app):
        await producer.send("1")

    await run(app, failed)
    async with rabbit.connect(rabbitmq) as channel:
        queue = await channel.get_queue(f"{app.settings['AMQP_INBOUND_QUEUE']}.retry.30000")
        assert queue.declaration_result.message_count == 1


async def test_retry_sends_the_message_to_the_inbound_exchange_again(rabbitmq):
    """With its history, as JSON: RETRY_CALLBACK of the extension `Retry`."""
    seen, enough = [], asyncio.Event()

    async def callback(app, message):
        seen.append(message.get("_retry", {}).get("count"))
        if len(seen) == 2:
            enough.set()
        else:
            raise ValueError("again")

    app = quickstart(rabbitmq, callback)
    amqp = AMQP(app)
    app.consumer, producer = amqp.consumer(), amqp.producer()

    @app.message_preprocessor
    async def decode(app, message):
        return json.loads(message.body)

    app.settings |= {"RETRY_CALLBACK": app.consumer.retry, "RETRY_EXCEPTIONS": ValueError}
    Retry(app)

    @app.startup
    async def send(app):
        await producer.send({"a": 1})

    await run(app, enough)
    assert seen == [None, 1]


async def test_the_producer_reports_a_message_that_reaches_no_queue(rabbitmq):
    """It would be lost."""
    app = quickstart(rabbitmq)
    producer = AMQP(app).producer()
    with pytest.raises(ProviderError, match="NO_ROUTE"):
        await producer.send("1", routing_key="nowhere")
    await producer._teardown(app)


async def test_the_producer_sends_elsewhere_if_asked(rabbitmq):
    """To another exchange, with another routing key."""
    app, name = quickstart(rabbitmq), rabbit.fresh()
    await rabbit.declare(rabbitmq, name, {}, durable=True)
    producer = AMQP(app).producer()
    await producer.send("1", exchange_name="", routing_key=name)
    await producer._teardown(app)
    assert rabbit.bodies(await rabbit.take(rabbitmq, name, 1)) == ["1"]


async def test_an_application_without_a_queue_gets_one_of_its_own(rabbitmq):
    """AMQP_INBOUND_QUEUE is empty by default."""
    app = quickstart(rabbitmq, AMQP_INBOUND_QUEUE="")
    amqp = AMQP(app)
    consumer, producer = amqp.consumer(), amqp.producer()
    reading = asyncio.create_task(consumer.read())
    await _sent(producer, "1")
    assert (await reading).body == b"1"
    await consumer._teardown(app)
    await producer._teardown(app)


def test_without_aio_pika_the_extra_is_named(monkeypatch):
    """In one line."""
    monkeypatch.setitem(sys.modules, "aio_pika", None)
    monkeypatch.delitem(sys.modules, "loafer_kit.ext.amqp")
    with pytest.raises(MissingExtraError, match=r"pip install 'loafer-kit\[amqp\]'"):
        importlib.import_module("loafer_kit.ext.amqp")


async def test_the_producer_takes_the_results_of_an_application(rabbitmq):
    """As `forward_to` of it, and of a route."""
    enough = asyncio.Event()

    async def callback(app, message):
        if message.body == b'"2"':
            enough.set()
            return []
        return ['"2"']

    app = quickstart(rabbitmq, callback=callback)
    amqp = AMQP(app)
    app.consumer, producer = amqp.consumer(), amqp.producer()
    app.forward_to = producer
    assert isinstance(producer, Forwarder)
    sending = asyncio.create_task(_sent(producer, b'"1"'))
    await run(app, enough)
    await sending
