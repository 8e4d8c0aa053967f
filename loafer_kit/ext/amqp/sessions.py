"""Session: one consumed connection, from the first delivery to its loss or its end."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aiormq.abc import AbstractChannel as UnderlayChannel

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.amqp.connections import (
    ANSWER,
    connect,
    depths,
    disconnect,
    lost_connection,
    provider_errors,
    reason_of,
)
from loafer_kit.ext.amqp.options import Topology
from loafer_kit.logs import log_event

logger = logging.getLogger(__name__)

#: Seconds: the prefetch count follows the route's room no more often than this.
_PAUSE = 1.0


class Session:
    """The messages that the broker has pushed through one channel and that are not settled.

    Delivery tags mean something on their channel only. So when the channel ends, its messages are
    lost, and another session begins.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        channel: tuple[AbstractChannel, UnderlayChannel],
        queue: AbstractQueue,
        lost: Callable[[AbstractIncomingMessage], None],
        prefetch: int | None,
    ) -> None:
        self._connection = connection
        self._channel, self._underlay = channel
        self._queue = queue
        self._lost = lost
        #: The most messages that the broker pushes unsettled; fixed, or as many as the route has room for.
        self._prefetch = prefetch or 0
        self._fixed = prefetch
        self._prefetch_since = 0.0
        self._consumer_tag: str | None = None
        self._consuming = asyncio.Lock()
        self._waiting: deque[AbstractIncomingMessage] = deque()
        self._in_hand: dict[int | None, AbstractIncomingMessage] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        #: Why there is nothing more to expect; None: there is.
        self.end: str | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        topology: Topology,
        lost: Callable[[AbstractIncomingMessage], None],
        prefetch: int | None,
        **options: object,
    ) -> "Session":
        """Connect and declare the topology; raise `ProviderError`."""
        connection = await connect(url, topology.queue, **options)
        try:
            with provider_errors(f"Queue {topology.queue!r}"):
                channel = await connection.channel(publisher_confirms=False)
                queue = await topology.declare(channel)
                underlay = await channel.get_underlay_channel()
                session = cls(connection, (channel, underlay), queue, lost, prefetch)
                connection.close_callbacks.add(session._closed)
                channel.close_callbacks.add(session._closed)
                underlay.on_consumer_cancel_callbacks.add(session._cancelled)
        except BaseException:
            await disconnect(connection)
            raise
        return session

    async def receive(self, limit: int, wait: float) -> list[AbstractIncomingMessage]:
        """Return up to `limit` messages; wait for the first one up to `wait` seconds."""
        try:
            with provider_errors(f"Queue {self._queue.name!r}"):
                await self._follow_room(limit)
        except ProviderError as error:  # the next session tells whether it lasts
            raise TransientProviderError(str(error)) from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while not (self._waiting or self.end or self._stopping):
                    self._changed.clear()
                    await self._changed.wait()
        if self.end:
            raise TransientProviderError(f"Queue {self._queue.name!r}: {self.end}")
        if self._stopping:
            return []
        found = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        self._in_hand |= {message.delivery_tag: message for message in found}
        return found

    def holds(self, message: AbstractIncomingMessage) -> bool:
        """Return whether `message` was received here and is not settled."""
        return self._in_hand.get(message.delivery_tag) is message

    async def acknowledge(self, message: AbstractIncomingMessage) -> None:
        """Have the broker forget a message. If the channel is lost, the message comes again."""
        if (taken := self._in_hand.pop(message.delivery_tag, None)) is not None:
            await self._tell(self._underlay.basic_ack(_tag(taken), wait=False))

    async def give_back(self, message: AbstractIncomingMessage) -> None:
        """Have the broker deliver a message again, at once."""
        if (taken := self._in_hand.pop(message.delivery_tag, None)) is not None:
            await self._tell(self._underlay.basic_nack(_tag(taken), wait=False))

    async def stop(self) -> None:
        """Receive no more, and give back what was not received."""
        self._stopping = True
        self._changed.set()
        async with self._consuming:
            with lost_connection():
                await self._consume(0)
                while self._waiting:
                    tag = _tag(self._waiting.popleft())
                    await self._tell(self._underlay.basic_nack(tag, wait=False))

    async def flush(self) -> None:
        """Return when the broker has read all settlements: it has when it answers a later request."""
        with lost_connection():
            await self._channel.set_qos(prefetch_count=1, timeout=ANSWER)

    async def depths(self, *queues: str) -> dict[str, int]:
        """Return how many messages wait in each of the queues; raise `ProviderError`."""
        return await depths(self._connection, queues)

    async def close(self) -> None:
        """Close the connection; the broker delivers again what is not settled."""
        self.end = self.end or "closed"
        await disconnect(self._connection)

    async def _tell(self, frame: Awaitable[None]) -> None:
        """Send what has no answer.

        It does not wait until it is written: aiormq would wait forever if the connection broke now.
        """
        with lost_connection():
            await asyncio.wait_for(frame, ANSWER)

    async def _follow_room(self, limit: int) -> None:
        """Have the broker push as many messages as are in hand and asked for."""
        async with self._consuming:
            if self._stopping or self.end:
                return
            wanted = self._fixed or len(self._in_hand) + limit
            grows = wanted > self._prefetch
            due = asyncio.get_running_loop().time() - self._prefetch_since >= _PAUSE
            starved = self._prefetch <= len(self._in_hand)
            if (
                self._consumer_tag is None
                or (grows and (due or starved))
                or (due and wanted < self._prefetch // 2)
            ):
                await self._consume(wanted)

    async def _consume(self, prefetch: int) -> None:
        """Consume with another prefetch count, which counts for new consumers only; 0: not at all."""
        if self._consumer_tag is not None:
            await self._queue.cancel(self._consumer_tag, timeout=ANSWER)
            self._consumer_tag = None
        if prefetch:
            await self._channel.set_qos(prefetch_count=prefetch, timeout=ANSWER)
            self._prefetch = prefetch
            self._prefetch_since = asyncio.get_running_loop().time()
            self._consumer_tag = await self._queue.consume(self._arrived, timeout=ANSWER)

    async def _arrived(self, message: AbstractIncomingMessage) -> None:
        self._waiting.append(message)
        self._changed.set()

    async def _cancelled(self, _: object) -> None:
        self._ended("the broker cancelled the consumer: the queue was deleted or moved")

    def _closed(self, _: object, error: BaseException | None) -> None:
        self._ended(reason_of(error))

    def _ended(self, reason: str) -> None:
        if self.end:
            return
        self.end = reason
        in_hand, self._in_hand = list(self._in_hand.values()), {}
        facts = {"queue": self._queue.name, "in_hand": len(in_hand), "reason": reason}
        log_event(logger, logging.WARNING, "connection.lost", facts, reason)
        self._waiting.clear()
        self._changed.set()
        for message in in_hand:
            self._lost(message)


def _tag(message: AbstractIncomingMessage) -> int:
    return message.delivery_tag or 0
