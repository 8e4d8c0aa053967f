"""AMQP: the extension that gives a service a consumer and a producer of RabbitMQ, as Henson-AMQP does."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from loafer_kit.applications import Application
from loafer_kit.events import publishing
from loafer_kit.exceptions import Abort
from loafer_kit.ext.amqp.connections import Publisher, address_of, bytes_of, url_of
from loafer_kit.ext.amqp.providers import AMQPProvider
from loafer_kit.extensions import Extension
from loafer_kit.outcomes import ACKNOWLEDGE, LEAVE
from loafer_kit.types import QueueConsumer

#: The most unsettled messages of a consumer whose settings say "without a limit".
_MOST_PREFETCHED = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """How a message was delivered. `delivery` is aio_pika's message."""

    consumer_tag: str | None
    delivery_tag: int | None
    exchange_name: str | None
    routing_key: str | None
    is_redeliver: bool | None
    delivery: AbstractIncomingMessage = field(repr=False)


class Message(NamedTuple):
    """A message as callbacks get it; the body is bytes, the properties are AMQP's."""

    body: bytes
    envelope: Envelope
    properties: Any

    @classmethod
    def of(cls, delivery: AbstractIncomingMessage) -> "Message":
        """Return the message that was delivered."""
        envelope = Envelope(
            delivery.consumer_tag,
            delivery.delivery_tag,
            delivery.exchange,
            delivery.routing_key,
            delivery.redelivered,
            delivery,
        )
        return cls(delivery.body, envelope, delivery.properties)


class Consumer(QueueConsumer):
    """Reads the inbound queue of an application's settings, and acknowledges what it has handled.

    It connects when the application starts, or at the first `read()`. A message that was not
    acknowledged comes again after 30 s; those that were not read come again at once.
    """

    def __init__(self, app: Application) -> None:
        self.app = app
        self.provider: AMQPProvider | None = None
        self._publisher: Publisher | None = None
        self._stopping = False
        app.startup(self._start)
        app.message_acknowledgement(self._acknowledge_message)
        app.teardown(self._teardown)

    async def read(self) -> Message:
        """Return the next message; wait without limit."""
        provider = self.provider or await self._start(self.app)
        while True:
            if self._stopping:
                raise Abort("consumer.stopped", None)
            for delivery in await provider.fetch(1):
                return Message.of(delivery)

    async def retry(self, app: Application, message: Any) -> None:
        """Send a message to the inbound exchange again: set RETRY_CALLBACK to this method.

        A `Message` keeps its body; anything else is sent as JSON.
        """
        body = message.body if isinstance(message, Message) else json.dumps(message).encode()
        settings = app.settings
        exchange = settings["AMQP_INBOUND_EXCHANGE"]
        key = settings["AMQP_INBOUND_ROUTING_KEY"] if exchange else self._queue_name()
        mode = aio_pika.DeliveryMode(2 if settings["AMQP_INBOUND_QUEUE_DURABLE"] else 1)
        if self._publisher is None:
            self._publisher = Publisher(
                url_of(settings), f"{app.name}: retries", **settings["AMQP_CONNECTION_KWARGS"]
            )
        await self._publisher.publish(aio_pika.Message(body, delivery_mode=mode), key, exchange)

    def stop_reading(self) -> None:
        """Abort an open `read()`."""
        self._stopping = True
        if self.provider is not None:
            self.provider.stop()

    async def leave(self, message: Message) -> None:
        """Have the message come again after a while."""
        if self.provider is not None:
            await self.provider.settle(message.envelope.delivery, LEAVE)

    def delivered(self, message: Message) -> AbstractIncomingMessage:
        """Return `aio_pika`'s message."""
        return message.envelope.delivery

    async def _start(self, app: Application) -> AMQPProvider:
        self._stopping = False
        self.provider = self._new_provider() if self.provider is None else self.provider
        await self.provider.start(self._lost)
        return self.provider

    def _new_provider(self) -> AMQPProvider:
        settings = self.app.settings
        provider = AMQPProvider(
            self._queue_name(),
            url=url_of(settings),
            exchange=settings["AMQP_INBOUND_EXCHANGE"],
            exchange_type=settings["AMQP_INBOUND_EXCHANGE_TYPE"],
            exchange_durable=settings["AMQP_INBOUND_EXCHANGE_DURABLE"],
            exchange_arguments=settings["AMQP_INBOUND_EXCHANGE_KWARGS"],
            routing_key=settings["AMQP_INBOUND_ROUTING_KEY"],
            queue_type="classic",
            durable=settings["AMQP_INBOUND_QUEUE_DURABLE"],
            dead_letter_queue="",
            connection_options=settings["AMQP_CONNECTION_KWARGS"],
        )
        limits = [settings["AMQP_PREFETCH_LIMIT"], settings["AMQP_PREFETCH_COUNT"]]
        provider.prefetch = min(filter(None, limits), default=_MOST_PREFETCHED)
        return provider

    def _queue_name(self) -> str:
        """Return the name of the queue; one of its own for an application that names none."""
        settings = self.app.settings
        if not settings["AMQP_INBOUND_QUEUE"]:
            settings["AMQP_INBOUND_QUEUE"] = f"{self.app.name}-{uuid.uuid4()}"
        return str(settings["AMQP_INBOUND_QUEUE"])

    def _lost(self, message: AbstractIncomingMessage) -> None:
        if self.provider is not None and (tell := self.provider.route_events.lost) is not None:
            tell(message)

    async def _acknowledge_message(self, app: Application, message: Message) -> None:
        if self.provider is not None:
            await self.provider.settle(message.envelope.delivery, ACKNOWLEDGE)

    async def _teardown(self, app: Application) -> None:
        provider, self.provider = self.provider, None
        publisher, self._publisher = self._publisher, None
        if provider is not None:
            provider.stop()
            await provider.flush()
            await provider.close()
        if publisher is not None:
            await publisher.close()


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


class AMQP(Extension):
    """Makes consumers and a producer from a service's settings.

    With REGISTER_CONSUMER, it gives the application its consumer.
    """

    DEFAULT_SETTINGS: ClassVar[Mapping[str, Any]] = {
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

    def __init__(self, app: Any = None) -> None:
        self._producer: Producer | None = None
        super().__init__(app)

    def init_app(self, app: Any) -> None:
        """Fill in the settings of `app`; give it a consumer if REGISTER_CONSUMER says so."""
        super().init_app(app)
        if app.settings["REGISTER_CONSUMER"]:
            app.consumer = self.consumer()

    def consumer(self) -> Consumer:
        """Return a new consumer of the inbound queue."""
        return Consumer(self.app)

    def producer(self) -> Producer:
        """Return the producer of the outbound exchange, always the same."""
        if self._producer is None:
            self._producer = Producer(self.app)
        return self._producer
