"""Options of a RabbitMQ queue, checked when its provider is made, and the topology that is declared of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self, get_args

from aio_pika.abc import AbstractChannel, AbstractQueue

from loafer_kit.config import check_names, check_number
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.amqp.connections import ANSWER

QueueType = Literal["quorum", "classic"]


#: Milliseconds: a retry queue outlives its last message by this.
_RETRY_QUEUE_LINGERS = 60_000

#: Milliseconds.
_SHORTEST_DELAY = 10

#: Without a limit, a quorum queue puts a returned message at its end; RabbitMQ 4 removes one that was
#: returned 20 times, unless there is another limit.
_KEEPS_RETURNED = {"x-delivery-limit": 1_000_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class AMQPOptions:
    """The settings of one queue. Durations are in seconds."""

    #: The broker, as `amqp://user:password@host:5672/vhost`; None: LOAFER_AMQP_URL, or else a guest on
    #: this machine.
    url: str | None = field(default=None, repr=False)

    #: The exchange that the queue is bound to; empty: senders name the queue itself.
    exchange: str = ""
    exchange_type: str = "topic"
    exchange_durable: bool = True
    exchange_arguments: Mapping[str, Any] = field(default_factory=dict)

    #: With which routing key the queue is bound to the exchange; None: the queue's name.
    routing_key: str | None = None

    queue_type: QueueType = "quorum"
    durable: bool = True
    queue_arguments: Mapping[str, Any] = field(default_factory=dict)

    #: Whether exchange, queue and dead-letter queue are declared; otherwise they must exist.
    declare: bool = True

    #: Messages are handled one after another, in their order, by one consumer of all.
    single_active_consumer: bool = False

    #: How often a message is delivered at most before it becomes a dead letter; None: without a limit.
    max_deliveries: int | None = None

    #: Where dead letters go; None: the queue's name with ".dead"; empty: nowhere.
    dead_letter_queue: str | None = None

    #: How long a message that failed waits, unless its handler or a policy says so.
    redelivery_delay: float = 30.0

    #: Retries without a delay of their own wait from 0 to `retry_delay * 2 ** (deliveries - 1)`, but…
    retry_delay: float = 2.0

    #: … no longer than this.
    retry_delay_cap: float = 900.0

    def __post_init__(self) -> None:
        check_number("max_deliveries", self.max_deliveries, at_least=1, whole=True)
        for name in ("redelivery_delay", "retry_delay", "retry_delay_cap"):
            check_number(name, getattr(self, name), at_least=0)
        if self.queue_type not in get_args(QueueType):
            raise ConfigurationError(
                f"queue_type must be 'quorum' or 'classic', not {self.queue_type!r}."
            )
        if self.queue_type == "quorum" and not self.durable:
            raise ConfigurationError("A quorum queue is durable: use queue_type='classic'.")
        if self.max_deliveries is not None and self.dead_letter_queue == "":
            raise ConfigurationError("max_deliveries needs a dead_letter_queue.")

    @classmethod
    def from_keywords(cls, queue: str, keywords: Mapping[str, Any]) -> Self:
        """Validate the keywords of a provider; raise a one-line `ConfigurationError`."""
        check_names(f"Queue {queue!r}", keywords, AMQP_SETTINGS)
        try:
            return cls(**keywords)
        except ConfigurationError as error:
            raise ConfigurationError(f"Queue {queue!r}: {error}") from None


AMQP_SETTINGS = frozenset(option.name for option in fields(AMQPOptions))

#: The types of a queue's options that an environment variable can set. All queues share a broker.
SETTABLE_OPTIONS: Mapping[str, Any] = {
    option.name: dict if option.name.endswith("_arguments") else option.type
    for option in fields(AMQPOptions)
    if option.name != "url"
}


@dataclass(frozen=True, slots=True)
class Topology:
    """The names and arguments of what a route uses at the broker."""

    queue: str
    options: AMQPOptions

    @property
    def dead_letter_queue(self) -> str:
        """The name of the queue for dead letters; empty: there is none."""
        name = self.options.dead_letter_queue
        return f"{self.queue}.dead" if name is None else name

    async def declare(self, channel: AbstractChannel) -> AbstractQueue:
        """Declare everything that is permanent; return the queue to consume."""
        options = self.options
        queue = await self._declare_queue(channel, self.queue, self._queue_arguments())
        if self.dead_letter_queue:
            arguments = _KEEPS_RETURNED if options.queue_type == "quorum" else {}
            await self._declare_queue(channel, self.dead_letter_queue, arguments)
        if options.declare and options.exchange:
            exchange = await channel.declare_exchange(
                options.exchange,
                options.exchange_type,
                durable=options.exchange_durable,
                arguments=dict(options.exchange_arguments),
                timeout=ANSWER,
            )
            key = self.queue if options.routing_key is None else options.routing_key
            await queue.bind(exchange, key, timeout=ANSWER)
        return queue

    async def declare_retry_queue(self, channel: AbstractChannel, delay: float) -> str:
        """Declare the queue whose messages go to the queue after `delay` seconds; return its name.

        It must be declared before each publish: that renews its own expiry, which ends with its last
        message.
        """
        milliseconds = rounded_up(delay)
        name = f"{self.queue}.retry.{milliseconds}"
        arguments: dict[str, Any] = {
            "x-message-ttl": milliseconds,
            "x-expires": milliseconds + _RETRY_QUEUE_LINGERS,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.queue,
        }
        if self.options.queue_type == "quorum":
            arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        await channel.declare_queue(
            name,
            durable=self.options.durable,
            arguments=arguments | self._type(),
            timeout=ANSWER,
        )
        return name

    async def _declare_queue(
        self, channel: AbstractChannel, name: str, arguments: dict[str, Any]
    ) -> AbstractQueue:
        return await channel.declare_queue(
            name,
            durable=self.options.durable,
            passive=not self.options.declare,
            arguments=arguments | self._type(),
            timeout=ANSWER,
        )

    def _queue_arguments(self) -> dict[str, Any]:
        options = self.options
        arguments = dict(options.queue_arguments)
        if options.single_active_consumer:
            arguments["x-single-active-consumer"] = True
            if options.queue_type == "quorum":
                arguments = _KEEPS_RETURNED | arguments
        return arguments

    def _type(self) -> dict[str, Any]:
        return {"x-queue-type": self.options.queue_type}


def rounded_up(delay: float) -> int:
    """Return a delay in milliseconds, rounded up to two digits: few delays mean few retry queues."""
    milliseconds = max(_SHORTEST_DELAY, math.ceil(round(delay * 1000, 3)))
    unit = int(10 ** max(0, len(str(milliseconds)) - 2))
    return math.ceil(milliseconds / unit) * unit
