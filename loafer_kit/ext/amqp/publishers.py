"""Publisher: publishes to a broker and waits for its confirmation."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection

from loafer_kit.engine.flow import full_jitter
from loafer_kit.exceptions import TransientProviderError
from loafer_kit.ext.amqp.connections import ANSWER, connect, disconnect, provider_errors

logger = logging.getLogger(__name__)

_ATTEMPTS = 3

#: Seconds.
_DELAY, _LONGEST_DELAY = 0.2, 2.0


class Publisher:
    """A connection of its own, opened when it is first needed and again when it is lost.

    A broker that is short of memory holds up connections that publish; those that acknowledge must go
    on.
    """

    def __init__(self, url: str, name: str, **connection_options: object) -> None:
        self._url = url
        self._name = name
        self._options = connection_options
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()

    async def publish(
        self,
        message: Message,
        routing_key: str | Callable[[AbstractChannel], Awaitable[str]],
        exchange: str = "",
        attempts: int = _ATTEMPTS,
    ) -> None:
        """Publish, and return when the broker has the message.

        A function as routing key gets the channel, to declare what the message is sent to. Raises
        `ProviderError`, also for a message that reaches no queue; for a transient failure after
        several attempts.
        """
        for attempt in range(1, attempts):
            try:
                return await self._publish(message, routing_key, exchange)
            except TransientProviderError as error:
                logger.warning(
                    "publish.repeated attempt=%d: %s",
                    attempt,
                    error,
                    extra={"event": "publish.repeated", "attempt": attempt},
                )
                if isinstance(error.__cause__, TimeoutError):  # the connection may be a dead one
                    await self.close()
                await asyncio.sleep(full_jitter(attempt, base=_DELAY, cap=_LONGEST_DELAY))
        return await self._publish(message, routing_key, exchange)

    async def channel(self) -> AbstractChannel:
        """Return the open channel; raise `ProviderError`."""
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                if self._connection is None or self._connection.is_closed:
                    self._connection = await connect(self._url, self._name, **self._options)
                with provider_errors("A channel for publishing"):
                    self._channel = await self._connection.channel(on_return_raises=True)
            return self._channel

    async def close(self) -> None:
        """Close the connection; the next publish opens another."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await disconnect(connection)

    async def _publish(
        self,
        message: Message,
        routing_key: str | Callable[[AbstractChannel], Awaitable[str]],
        exchange: str,
    ) -> None:
        channel = await self.channel()
        with provider_errors(f"Publishing to exchange {exchange!r}"):
            key = routing_key if isinstance(routing_key, str) else await routing_key(channel)
            to = channel.default_exchange
            if exchange:
                to = await channel.get_exchange(exchange, ensure=False)
            await to.publish(message, key, timeout=ANSWER)
