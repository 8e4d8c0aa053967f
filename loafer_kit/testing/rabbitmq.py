"""RabbitMQ for the tests of services: messages as it delivers them, and the queues of routes."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from aio_pika import IncomingMessage
from aiormq import spec
from aiormq.abc import DeliveredMessage
from pamqp.header import ContentHeader

from loafer_kit.ext.amqp import letters
from loafer_kit.ext.amqp.connections import broker_url, connect, disconnect
from loafer_kit.ext.amqp.letters import bytes_of
from loafer_kit.ext.amqp.providers import AMQPProvider
from loafer_kit.routes import Route

_T = TypeVar("_T")


def amqp_message(
    body: Any,
    *,
    headers: Mapping[str, Any] | None = None,
    exchange: str = "",
    routing_key: str = "",
    deliveries: int = 1,
) -> IncomingMessage:
    """Return a message as RabbitMQ delivers it; a body other than text and bytes becomes JSON.

    `deliveries` counts this one too.
    """
    content = bytes_of(body)
    properties = spec.Basic.Properties(
        headers={**(headers or {}), letters.DELIVERIES: deliveries - 1},
        message_id=uuid.uuid4().hex,
    )
    delivery = spec.Basic.Deliver(delivery_tag=1, exchange=exchange, routing_key=routing_key)
    header = ContentHeader(properties=properties, body_size=len(content))
    found = DeliveredMessage(
        delivery=delivery, header=header, body=content, channel=cast("Any", None)
    )
    return IncomingMessage(found, no_ack=True)


class LocalRabbitMQ:
    """Sends messages to the queues of routes, and counts them; the broker is LOAFER_AMQP_URL's."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def send(self, route: Route, message: Any) -> None:
        """Put a message into the queue of a route, which is declared; text and bytes as they are."""
        self._run(route, lambda provider: provider.put(bytes_of(message)))

    def depth(self, route: Route) -> Mapping[str, int]:
        """Return how many messages are ready (`visible`), and how many `dead_letters` there are."""
        return self._run(route, lambda provider: provider.depth())

    def clear(self) -> None:
        """Delete the queues that were used."""
        asyncio.run(_delete(self._used))
        self._used.clear()

    def _run(self, route: Route, use: Callable[[AMQPProvider], Awaitable[_T]]) -> _T:
        provider = route.provider
        if not isinstance(provider, AMQPProvider):
            raise TypeError(f"{route} reads no queue of RabbitMQ.")
        self._used |= {provider.name, provider.dead_letter_queue} - {""}
        return asyncio.run(_started(provider, use))


async def _started(provider: AMQPProvider, use: Callable[[AMQPProvider], Awaitable[_T]]) -> _T:
    try:
        await provider.connect()
        return await use(provider)
    finally:
        await provider.close()


async def _delete(queues: set[str]) -> None:
    connection = await connect(broker_url(), "tests")
    channel = await connection.channel()
    for queue in queues:
        await channel.queue_delete(queue)
    await disconnect(connection)
