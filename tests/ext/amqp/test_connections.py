"""Connections: what their failures mean, and what is shown of their addresses."""

import pytest
import rabbit
from aio_pika import Message
from aio_pika.exceptions import (
    ChannelInvalidStateError,
    ChannelPreconditionFailed,
    ConnectionClosed,
)

from loafer_kit.exceptions import ConfigurationError, ProviderError, TransientProviderError
from loafer_kit.ext.amqp.connections import (
    Publisher,
    address_of,
    broker_url,
    provider_errors,
    reason_of,
)


def test_the_end_of_a_channel_by_the_consumer_timeout_says_what_to_do():
    """RabbitMQ's words name no setting of ours."""
    error = ChannelPreconditionFailed(
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: "
        "1800000 ms."
    )
    assert "handler_timeout" in reason_of(error)
    assert reason_of(None) == "closed"


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ConnectionClosed(320, "CONNECTION_FORCED"), True),
        (TimeoutError(), True),
        (OSError("no route"), True),
        (ChannelPreconditionFailed("inequivalent arg"), False),
    ],
)
def test_what_may_pass_is_transient(error, transient):
    """The engine tries again; anything else stops the service."""
    with pytest.raises(ProviderError) as raised, provider_errors("Queue 'orders'"):
        raise error
    assert isinstance(raised.value, TransientProviderError) is transient
    assert str(raised.value).startswith("Queue 'orders': ")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ChannelInvalidStateError('<Channel: "1" at 0x7f14a0878730> closed'), "was closed"),
        (TimeoutError(), "has not answered in time"),
    ],
)
def test_a_failure_is_told_in_words(error, text):
    """aiormq's own text is an object or nothing."""
    assert reason_of(error).endswith(text)
    with pytest.raises(TransientProviderError, match=text), provider_errors("Publishing"):
        raise error


def test_an_address_has_no_password():
    """It is logged and traced."""
    assert address_of("amqps://me:secret@broker/shop?heartbeat=5") == "amqps://broker/shop"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("rabbit://me:secret@broker/", "must begin with amqp://"),
        ("broker:5672", "must begin with amqp://"),
        ("amqp://me:secret@broker:port/", "cannot be read"),
        ("amqp://me:secret@[/", "cannot be read"),
        ("amqp:///", "names no host"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url, why):
    """Without showing the password that it may hold."""
    with pytest.raises(ConfigurationError, match=why) as error:
        broker_url(url)
    assert "secret" not in str(error.value)


async def test_a_publisher_connects_again_after_its_connection_was_lost(broker, proxy):
    """Of aio_pika's connections, lost ones do not count as closed."""
    provider = await broker.provider()
    publisher = Publisher(proxy.url, "test")
    try:
        for body in (b"1", b"2"):
            await publisher.publish(Message(body), provider.name)
            await proxy.cut()
    finally:
        await publisher.close()
    assert proxy.connections == 2
    assert rabbit.bodies(await rabbit.fetch(provider, 2)) == ["1", "2"]
