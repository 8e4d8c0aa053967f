"""Connections to a broker: how they open, what failures mean, the session and the publisher on one."""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import aio_pika
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
    PublishError,
)
from aiormq.abc import AbstractChannel as UnderlayChannel
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed
from yarl import URL

from loafer_kit.engine.flow import full_jitter
from loafer_kit.exceptions import ConfigurationError, ProviderError, TransientProviderError
from loafer_kit.logs import log_event

logger = logging.getLogger(__name__)

# aiormq logs each failure that it raises as well, and we report it.
logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)

#: Seconds: until a connection is open, until the broker answers a request, until it closes.
_OPEN, ANSWER, _CLOSE = 10.0, 30.0, 5.0

#: Turns of the event loop in which aio_pika's own tasks end after a close.
_LAST_TURNS = 5

#: The broker said no: it will say so again.
_REFUSALS = (
    AuthenticationError,
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ConnectionNotAllowed,
    InvalidFrameError,  # instead of the answer: the virtual host is not opened
    ProbableAuthenticationError,
    PublishError,
)

_DEFAULT_URL = "amqp://guest:guest@localhost:5672/"


#: Of a publish.
_ATTEMPTS = 3

#: Seconds: the prefetch count follows the route's room no more often than this.
_PAUSE = 1.0

#: Seconds between two attempts.
_DELAY, _LONGEST_DELAY = 0.2, 2.0


def broker_url(url: str | None = None) -> str:
    """Return the URL of the broker: the given one, LOAFER_AMQP_URL, or a guest on this machine.

    Raises `ConfigurationError` for one that cannot be used.
    """
    found = url or os.environ.get("LOAFER_AMQP_URL") or _DEFAULT_URL
    if not found.startswith(("amqp://", "amqps://")):
        raise ConfigurationError(
            f"The broker's URL must begin with amqp:// or amqps://, not with {found[:8]!r}."
        )
    try:
        host = URL(found).host
    except ValueError as error:  # it does not show the password
        raise ConfigurationError(f"The broker's URL cannot be read: {error}.") from None
    if not host:
        raise ConfigurationError("The broker's URL names no host: amqp://user:password@host/vhost.")
    return found


def address_of(url: str) -> str:
    """Return a broker's URL without its user and password."""
    return str(URL(url).with_user(None).with_query(None))


async def connect(url: str, name: str, **options: Any) -> AbstractConnection:
    """Open a connection that does not restore itself; raise `ProviderError`."""
    with provider_errors(f"The broker {address_of(url)}"):
        connection: AbstractConnection = await aio_pika.connect(
            url,
            timeout=_OPEN,
            client_properties={"connection_name": f"loafer_kit {name}"},
            **options,
        )
    return connection


async def disconnect(connection: AbstractConnection) -> None:
    """Close a connection, also one that is broken."""
    with lost_connection():
        await asyncio.wait_for(connection.close(), _CLOSE)
    for _ in range(_LAST_TURNS):
        await asyncio.sleep(0)


async def depths(connection: AbstractConnection, queues: Iterable[str]) -> dict[str, int]:
    """Return how many messages are ready in each of the queues that exist; nothing is created."""
    found = {}
    for name in queues:
        with provider_errors(f"Queue {name!r}"), contextlib.suppress(ChannelNotFoundEntity):
            async with connection.channel() as channel:
                queue = await channel.declare_queue(name, passive=True, timeout=ANSWER)
            found[name] = queue.declaration_result.message_count or 0
    return found


@contextlib.contextmanager
def provider_errors(subject: str) -> Iterator[None]:
    """Raise what the broker refuses as `ProviderError`, what may pass as `TransientProviderError`."""
    try:
        yield
    except Exception as error:
        if not _is_amqp(error):
            raise
        reason = _text(error)
        refused = isinstance(error, _REFUSALS) and "inaccessible" not in reason
        kind = ProviderError if refused else TransientProviderError
        raise kind(f"{subject}: {reason}{_hint(error)}") from error


@contextlib.contextmanager
def lost_connection() -> Iterator[None]:
    """Do without what the block sends to the broker if the connection is lost."""
    try:
        yield
    except Exception as error:
        if not _is_amqp(error):
            raise


def _is_amqp(error: Exception) -> bool:
    """Return whether a request failed; aiormq raises a bare `Exception` for what it did not write."""
    return isinstance(error, (*CONNECTION_EXCEPTIONS, TimeoutError)) or type(error) is Exception


def _text(error: BaseException) -> str:
    if isinstance(error, ChannelInvalidStateError):
        return "its channel was closed"  # aiormq's text names an object
    if isinstance(error, TimeoutError):
        return "the broker has not answered in time"
    return str(error) or type(error).__name__


def _hint(error: BaseException) -> str:
    match error:
        case InvalidFrameError():
            return ". The virtual host does not exist, or the user may not use it."
        case ChannelPreconditionFailed() if "inequivalent arg" in str(error):
            return (
                ". It exists with other settings: give the route those, or declare=False to use it "
                "as it is."
            )
        case ChannelNotFoundEntity():
            return ". Create it, or let the route declare it: declare=True."
        case ChannelPreconditionFailed() if "timed out" in str(error):
            return (
                ". A message was in hand for longer than the broker's consumer_timeout: set "
                "handler_timeout below it (30 minutes, unless the broker says otherwise)."
            )
    return ""


def reason_of(error: BaseException | None) -> str:
    """Return why a connection or channel ended, and what to do about it."""
    if error is None:
        return "closed"
    return f"{_text(error)}{_hint(error)}"


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
        name: str,
        declare: Callable[[AbstractChannel], Awaitable[AbstractQueue]],
        lost: Callable[[AbstractIncomingMessage], None],
        prefetch: int | None,
        **options: object,
    ) -> "Session":
        """Connect, and consume the queue that `declare` returns; raise `ProviderError`."""
        connection = await connect(url, name, **options)
        try:
            with provider_errors(f"Queue {name!r}"):
                channel = await connection.channel(publisher_confirms=False)
                queue = await declare(channel)
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
                log_event(
                    logger, logging.WARNING, "publish.repeated", {"attempt": attempt}, str(error)
                )
                if isinstance(error.__cause__, TimeoutError):  # the connection may be a dead one
                    await self.close()
                await asyncio.sleep(full_jitter(attempt, base=_DELAY, cap=_LONGEST_DELAY))
        return await self._publish(message, routing_key, exchange)

    async def channel(self) -> AbstractChannel:
        """Return the open channel; raise `ProviderError`."""
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                if self._connection is None or not self._connection.connected.is_set():
                    await self.close()  # `is_closed` is False for a connection that was lost
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
