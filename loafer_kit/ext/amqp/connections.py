"""Connections to a broker: how they open and close, what their failures mean, and the publisher on one."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

import aio_pika
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.connection import make_url
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


def url_of(settings: Mapping[str, Any]) -> str:
    """Return the URL of the broker that the settings of an Application name."""
    url = make_url(
        host=settings["AMQP_HOST"],
        port=int(settings["AMQP_PORT"]),
        login=settings["AMQP_USERNAME"],
        password=settings["AMQP_PASSWORD"],
        virtualhost=settings["AMQP_VIRTUAL_HOST"],
        ssl=bool(settings["AMQP_USE_SSL"]),
        heartbeat=settings["AMQP_HEARTBEAT_INTERVAL"],
    )
    return str(url)


def address_of(url: str) -> str:
    """Return a broker's URL without its user and password."""
    return str(URL(url).with_user(None).with_query(None))


def bytes_of(message: Any) -> bytes:
    """Return the body for a message: text and bytes as they are, anything else as JSON."""
    if isinstance(message, bytes):
        return message
    return (message if isinstance(message, str) else json.dumps(message)).encode()


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
