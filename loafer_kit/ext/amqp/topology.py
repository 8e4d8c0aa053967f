"""Topology: the exchange, the queues and the binding of a route, as they are declared."""

import math
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractQueue

from loafer_kit.ext.amqp.connections import ANSWER
from loafer_kit.ext.amqp.options import AMQPOptions

#: Milliseconds: a retry queue outlives its last message by this.
_RETRY_QUEUE_LINGERS = 60_000

#: Milliseconds.
_SHORTEST_DELAY = 10

#: Without a limit, a quorum queue puts a returned message at its end; RabbitMQ 4 removes one that was
#: returned 20 times, unless there is another limit.
_KEEPS_RETURNED = {"x-delivery-limit": 1_000_000_000}


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
