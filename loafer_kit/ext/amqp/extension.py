"""AMQP: the extension that gives a service a consumer and a producer of RabbitMQ."""

from collections.abc import Mapping
from typing import Any, ClassVar

from loafer_kit.ext.amqp.consumers import Consumer
from loafer_kit.ext.amqp.producers import DeliveryMode, Producer
from loafer_kit.extensions import Extension


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
