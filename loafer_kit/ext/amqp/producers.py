"""Producer: publishes the results of an Application, as in Henson-AMQP."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel

from loafer_kit.events import publishing
from loafer_kit.ext.amqp.connections import address_of, bytes_of, url_of
from loafer_kit.ext.amqp.publishers import Publisher


class DeliveryMode(IntEnum):
    """Whether a durable queue keeps a message when its broker restarts."""

    NONPERSISTENT = 1
    PERSISTENT = 2


class Producer:
    """Publishes to the outbound exchange of a service's settings; connects when it first sends."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._publisher: Publisher | None = None
        self._declared_on: AbstractChannel | None = None
        app.teardown(self._teardown)

    async def send(
        self, message: Any, *, exchange_name: str | None = None, routing_key: str | None = None
    ) -> None:
        """Publish a message, and return when the broker has it.

        Text and bytes are sent as they are, anything else as JSON. The exchange and the routing key
        default to those of the settings. Raises `ProviderError`, also for a message that reaches no
        queue.
        """
        settings = self.app.settings
        if exchange_name is None:
            exchange_name = settings["AMQP_OUTBOUND_EXCHANGE"]
        if routing_key is None:
            routing_key = settings["AMQP_OUTBOUND_ROUTING_KEY"]
        url = url_of(settings)
        if self._publisher is None:
            options = settings["AMQP_CONNECTION_KWARGS"]
            self._publisher = Publisher(url, f"{self.app.name}: producer", **options)
        publisher, key = self._publisher, routing_key

        async def declare(channel: AbstractChannel) -> str:
            await self._declare_exchange(channel)
            return key

        destination = exchange_name or routing_key
        with publishing("rabbitmq", destination, address_of(url)) as sending:
            letter = aio_pika.Message(
                bytes_of(message),
                headers=dict(sending.headers),
                delivery_mode=aio_pika.DeliveryMode(int(settings["AMQP_DELIVERY_MODE"])),
            )
            await publisher.publish(letter, declare, exchange_name)

    async def forward(self, result: Any, source: Mapping[str, Any], position: int = 0) -> None:
        """Send a result of a message: a route or an application may have it as its `forward_to`."""
        await self.send(result)

    async def _declare_exchange(self, channel: AbstractChannel) -> None:
        """Declare the outbound exchange, once on each channel."""
        settings = self.app.settings
        if settings["AMQP_OUTBOUND_EXCHANGE"] and self._declared_on is not channel:
            await channel.declare_exchange(
                settings["AMQP_OUTBOUND_EXCHANGE"],
                settings["AMQP_OUTBOUND_EXCHANGE_TYPE"],
                durable=settings["AMQP_OUTBOUND_EXCHANGE_DURABLE"],
                arguments=dict(settings["AMQP_OUTBOUND_EXCHANGE_KWARGS"]),
            )
            self._declared_on = channel

    async def _teardown(self, app: Any) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.close()
