"""Providers of RabbitMQ queues, on a real broker."""

import asyncio
import contextlib
import logging

import pytest
import rabbit
from aio_pika.exceptions import PublishError
from rabbit import bodies, fetch

from loafer_kit.exceptions import ConfigurationError, ProviderError, TransientProviderError
from loafer_kit.ext.amqp import AMQPProvider
from loafer_kit.outcomes import ACKNOWLEDGE, LEAVE, RELEASE, DeadLetter, Leave, Retry

BOTH = pytest.mark.parametrize("queue_type", ["quorum", "classic"])


def count_of(provider, message):
    return provider.describe(message)["receive_count"]


def events(caplog):
    return [record.event for record in caplog.records if hasattr(record, "event")]


def the(event, caplog):
    """Return the one record of an event."""
    (record,) = [found for found in caplog.records if getattr(found, "event", "") == event]
    return record


@BOTH
async def test_a_retry_comes_after_its_delay_and_is_counted(broker, queue_type):
    """The copy says how often it was delivered, and keeps everything else."""
    provider = await broker.provider(queue_type=queue_type)
    await rabbit.send(
        broker.url, provider.name, "1", headers={"a": "b"}, correlation_id="c", message_id="m"
    )
    (message,) = await fetch(provider, 1)
    loop = asyncio.get_running_loop()
    for deliveries in (2, 3):
        began = loop.time()
        await provider.settle(message, Retry(0.2))
        (message,) = await fetch(provider, 1)
        assert loop.time() - began >= 0.2
        assert count_of(provider, message) == deliveries
    assert bodies([message]) == ["1"]
    assert (message.headers["a"], message.correlation_id, message.message_id) == ("b", "c", "m")
    assert provider.first_received(message) is not None
    assert (await provider.depth())["visible"] == 0


@BOTH
async def test_a_retry_without_delay_is_counted_too(broker, queue_type):
    """A classic queue does not count what is returned to it; we do."""
    provider, (message,) = await broker.filled("1", queue_type=queue_type)
    for deliveries in (2, 3):
        await provider.settle(message, Retry(0))
        (message,) = await fetch(provider, 1)
        assert count_of(provider, message) == deliveries


async def test_a_retry_without_a_delay_of_its_own_grows_with_the_deliveries(broker):
    """It is random below a limit that doubles; here the limit is 0.01 s."""
    provider, (message,) = await broker.filled("1", retry_delay_cap=0.01)
    await provider.settle(message, Retry())
    (message,) = await fetch(provider, 1)
    assert count_of(provider, message) == 2


async def test_a_left_message_comes_after_the_redelivery_delay(broker):
    """It does not hold a place among the unsettled messages meanwhile."""
    provider, (message,) = await broker.filled("1", redelivery_delay=0.1)
    await provider.settle(message, LEAVE)
    assert not provider.holds(message)
    (message,) = await fetch(provider, 1)
    assert count_of(provider, message) == 2


async def test_a_release_of_a_quorum_queue_is_counted_by_the_broker(broker):
    """As an interrupted delivery is."""
    provider, (message,) = await broker.filled("1")
    await provider.settle(message, RELEASE)
    (message,) = await fetch(provider, 1)
    assert count_of(provider, message) == 2


async def test_a_rejected_message_goes_to_the_dead_letter_queue_with_its_reason(broker):
    """And with its headers."""
    provider = await broker.provider()
    await rabbit.send(broker.url, provider.name, "1", headers={"traceparent": "00-a-b-01"})
    (message,) = await fetch(provider, 1)
    assert provider.trace_headers(message) == {"traceparent": "00-a-b-01"}
    await provider.settle(message, DeadLetter("no such product"))
    assert await provider.depth() == {"visible": 0, "dead_letters": 1}
    (letter,) = await rabbit.take(broker.url, f"{provider.name}.dead", 1)
    assert bodies([letter]) == ["1"]
    assert letter.headers["DeadLetterReason"] == "no such product"
    assert letter.headers["DeadLetterSourceQueue"] == provider.name
    assert letter.headers["traceparent"] == "00-a-b-01"


async def test_without_a_dead_letter_queue_a_rejected_message_is_left(broker):
    """It comes again."""
    provider, (message,) = await broker.filled("1", dead_letter_queue="", redelivery_delay=0.05)
    await provider.settle(message, DeadLetter("no"))
    assert bodies(await fetch(provider, 1)) == ["1"]
    assert await provider.depth() == {"visible": 0}


@BOTH
@pytest.mark.parametrize("outcome", [Leave("broken"), Retry(0, reason="broken")])
async def test_a_message_that_fails_on_its_last_delivery_is_a_dead_letter(
    broker, queue_type, outcome
):
    """With the reason of its last failure."""
    provider, (message,) = await broker.filled(
        "1", max_deliveries=2, redelivery_delay=0.05, queue_type=queue_type
    )
    assert not provider.is_last_delivery(message)
    await provider.settle(message, outcome)
    (message,) = await fetch(provider, 1)
    assert provider.is_last_delivery(message)
    await provider.settle(message, outcome)
    (letter,) = await rabbit.take(broker.url, f"{provider.name}.dead", 1)
    assert letter.headers["DeadLetterReason"] == "broken"


async def test_a_message_that_ends_each_consumer_is_a_dead_letter(broker):
    """Its last consumer told nothing of an outcome."""
    provider, _ = await broker.filled("1", max_deliveries=1)
    await provider.close()
    again = await broker.provider(provider.name, max_deliveries=1)
    again.wait_time = 1
    assert await again.fetch(1) == []
    (letter,) = await rabbit.take(broker.url, f"{provider.name}.dead", 1)
    assert "without an outcome" in letter.headers["DeadLetterReason"]


async def test_what_cannot_be_published_is_kept(broker, caplog):
    """The original is acknowledged only when the broker has confirmed the copy."""
    provider, (message,) = await broker.filled("1", redelivery_delay=0.05)
    await rabbit.delete(broker.url, f"{provider.name}.dead")
    await provider.settle(message, DeadLetter("no"))
    (message,) = await fetch(provider, 1)
    assert bodies([message]) == ["1"]
    assert "NO_ROUTE" in the("message.not_moved", caplog).getMessage()


@BOTH
async def test_an_ordered_queue_is_handled_in_order_in_spite_of_retries(broker, queue_type):
    """No later message overtakes one that is retried, also after the consumer was lost."""
    options = {"single_active_consumer": True, "queue_type": queue_type}
    provider = await broker.provider(**options)
    await rabbit.send(broker.url, provider.name, *"123")
    (first,) = await provider.fetch(10)
    assert provider.order_key(first) is not None
    await provider.settle(first, Retry(0.1))
    (first,) = await fetch(provider, 1)
    assert bodies([first]) == ["1"]
    assert count_of(provider, first) == 2
    await provider.close()
    other = await broker.provider(provider.name, **options)
    found = []
    for _ in range(3):
        (message,) = await fetch(other, 1)
        await other.settle(message, ACKNOWLEDGE)
        found.append(message)
    assert bodies(found) == ["1", "2", "3"]


async def test_a_second_consumer_of_an_ordered_queue_waits(broker):
    """Until the first one has gone."""
    provider, (first,) = await broker.filled("1", single_active_consumer=True)
    other = await broker.provider(provider.name, single_active_consumer=True)
    other.wait_time = 0.2
    assert await other.fetch(1) == []
    await rabbit.send(broker.url, provider.name, "2")
    assert await other.fetch(1) == []  # though its turn would have come
    waiting = asyncio.create_task(fetch(other, 1))
    await provider.settle(first, ACKNOWLEDGE)
    (second,) = await fetch(provider, 1)
    assert not waiting.done()
    other.wait_time = 5
    await provider.settle(second, RELEASE)
    provider.stop()
    assert bodies(await waiting) == ["2"]


async def test_the_broker_pushes_no_more_than_the_route_has_room_for(broker):
    """The rest is there for other consumers."""
    name = rabbit.fresh()
    await rabbit.declare(broker.url, name, {"x-queue-type": "quorum"}, durable=True)
    await rabbit.send(broker.url, name, *"1234567")
    provider = await broker.provider(name)
    messages = await fetch(provider, 2)
    assert (await provider.depth())["visible"] == 5
    messages += await fetch(provider, 1)  # the room has grown
    for message in messages:
        await provider.settle(message, ACKNOWLEDGE)
    await fetch(provider, 4)


async def test_a_stop_gives_back_what_was_not_fetched(broker):
    """Another consumer gets it while handlers of this one still run."""
    provider = await broker.provider()
    await rabbit.send(broker.url, provider.name, *"123")
    (first,) = await provider.fetch(1)
    fetching = asyncio.create_task(provider.fetch(2))
    await asyncio.wait([fetching])
    provider.stop()
    await provider.flush()
    assert (await provider.depth())["visible"] == 3 - 1 - len(fetching.result())
    await provider.settle(first, ACKNOWLEDGE)
    assert await provider.fetch(1) == []


async def test_the_queue_is_bound_to_its_exchange(broker):
    """With the routing key, and again after a reconnection."""
    exchange = rabbit.fresh("shop")
    provider = await broker.provider(exchange=exchange, routing_key="order.*")
    await rabbit.send(broker.url, "order.placed", "1", exchange=exchange)
    (message,) = await fetch(provider, 1)
    assert (message.exchange, message.routing_key) == (exchange, "order.placed")


async def test_a_lost_connection_is_opened_again_with_its_topology(broker, proxy):
    """What was in hand is lost, its settlements do nothing, and it comes again."""
    exchange = rabbit.fresh("shop")
    options = {"exchange": exchange, "routing_key": "order.*", "url": proxy.url}
    provider, (message,) = await broker.filled("1", **options)
    waiting = asyncio.create_task(provider.fetch(1))
    await proxy.cut()
    with pytest.raises(TransientProviderError, match=provider.name):
        await waiting
    assert broker.lost == [message]
    assert not provider.holds(message)
    await provider.settle(message, ACKNOWLEDGE)
    await rabbit.delete(broker.url, provider.name)
    again = asyncio.create_task(provider.fetch(1))
    while not again.done():
        with contextlib.suppress(PublishError):  # it is not bound yet
            await rabbit.send(broker.url, "order.placed", "2", exchange=exchange)
        await asyncio.wait([again], timeout=0.1)
    assert set(bodies(again.result())) == {"2"}


async def test_a_deleted_queue_is_declared_again(broker):
    """The broker tells the consumer that its queue is gone, or refuses its next request."""
    provider, (message,) = await broker.filled("1")
    waiting = asyncio.create_task(provider.fetch(1))
    await rabbit.delete(broker.url, provider.name)
    with pytest.raises(TransientProviderError, match=r"deleted|NOT_FOUND"):
        await waiting
    assert broker.lost == [message]
    await asyncio.wait([asyncio.create_task(provider.start(broker.lost.append))])
    await rabbit.send(broker.url, provider.name, "2")
    assert bodies(await fetch(provider, 1)) == ["2"]


async def test_an_unreachable_broker_is_tried_again_by_the_fetches(proxy, caplog):
    """The start only warns."""
    await proxy.refuse()
    provider = AMQPProvider("orders", url=proxy.url)
    await provider.start(lambda message: None)
    assert events(caplog) == ["queue.unreachable"]
    assert "guest:guest" not in caplog.text
    with pytest.raises(TransientProviderError):
        await provider.fetch(1)
    await provider.close()


async def test_other_settings_of_an_existing_queue_stop_the_service(broker):
    """In one line that says what to do."""
    name = rabbit.fresh()
    await rabbit.declare(broker.url, name, {"x-queue-type": "classic"}, durable=True)
    with pytest.raises(ProviderError, match=r"inequivalent arg 'x-queue-type'.*declare=False") as e:
        await broker.provider(name)
    assert not isinstance(e.value, TransientProviderError)
    provider = await broker.provider(name, declare=False, dead_letter_queue="")
    assert await provider.depth() == {"visible": 0}


async def test_a_missing_queue_that_is_not_declared_stops_the_service(broker):
    """In one line that says what to do."""
    with pytest.raises(ProviderError, match="declare=True"):
        await broker.provider(declare=False)


@pytest.mark.parametrize("wrong", ["guest:wrong@", "guest:guest@vhost"])
async def test_a_refused_connection_stops_the_service(broker, wrong):
    """A password or a virtual host that is wrong will be wrong again."""
    user, _, vhost = wrong.partition("@")
    url = broker.url.replace("guest:guest", user) + vhost
    with pytest.raises(ProviderError) as error:
        await broker.provider(url=url)
    assert not isinstance(error.value, TransientProviderError)


async def test_a_handler_that_may_outlast_the_consumer_timeout_is_warned_of(broker, caplog):
    """The broker closes the channel after 30 minutes without an acknowledgement."""
    provider = AMQPProvider(rabbit.fresh(), url=broker.url)
    provider.handler_timeout = 1_800
    await provider.start(lambda message: None)
    await provider.close()
    assert "consumer_timeout" in the("queue.doubtful", caplog).getMessage()


async def test_the_log_says_why_a_connection_was_lost(broker, proxy, caplog):
    """And which queue it was."""
    provider, _ = await broker.filled("1", url=proxy.url)
    with caplog.at_level(logging.WARNING):
        await proxy.cut()
        with pytest.raises(TransientProviderError):
            await provider.fetch(1)
    record = the("connection.lost", caplog)
    assert (record.queue, record.in_hand) == (provider.name, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue_typ": "classic"}, "Did you mean 'queue_type'"),
        ({"queue_type": "stream"}, "'quorum' or 'classic'"),
        ({"durable": False}, "classic"),
        ({"max_deliveries": 0}, "at least 1"),
        ({"max_deliveries": 3, "dead_letter_queue": ""}, "dead_letter_queue"),
        ({"redelivery_delay": -1}, "at least 0"),
        ({"url": "http://localhost"}, "amqp://"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    """In one line."""
    with pytest.raises(ConfigurationError, match=message):
        AMQPProvider("orders", **options)


async def test_the_url_is_that_of_the_environment_when_the_service_starts(broker, monkeypatch):
    """The address that traces show has no password."""
    provider = AMQPProvider(rabbit.fresh())
    monkeypatch.setenv("LOAFER_AMQP_URL", broker.url)
    await provider.start(lambda message: None)
    await provider.close()
    assert provider.address == broker.url.replace("guest:guest@", "")
    assert "secret" not in repr(AMQPProvider("orders", url="amqp://me:secret@b/").options)


async def test_messages_that_wait_for_a_retry_are_counted(broker):
    """Until they come again; each delay has a queue of its own."""
    provider, (first, second) = await broker.filled("1", "2")
    await provider.settle(first, Retry(60.0))
    await provider.settle(second, Retry(0.5))
    assert await provider.depth() == {"visible": 0, "dead_letters": 0, "delayed": 2}
    assert bodies(await fetch(provider, 1)) == ["2"]
    assert await provider.depth() == {"visible": 0, "dead_letters": 0, "delayed": 1}


async def test_a_retry_that_begins_during_a_count_is_in_the_next_one(broker, monkeypatch):
    """Its queue is not forgotten as one that has expired."""
    provider, (message,) = await broker.filled("1")
    depths = provider._session.depths

    async def meanwhile(*names):
        found = await depths(*names)
        await provider.settle(message, Retry(60.0))
        return found

    monkeypatch.setattr(provider._session, "depths", meanwhile)
    await provider.depth()
    monkeypatch.undo()
    assert (await provider.depth())["delayed"] == 1
