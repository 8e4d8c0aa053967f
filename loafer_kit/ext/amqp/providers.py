"""AMQPProvider: the provider of messages from a RabbitMQ queue."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import aio_pika
from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from loafer_kit.engine.flow import full_jitter
from loafer_kit.events import sending
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.amqp import letters
from loafer_kit.ext.amqp.connections import Publisher, Session, address_of, broker_url
from loafer_kit.ext.amqp.options import AMQPOptions, Topology
from loafer_kit.logs import log_event
from loafer_kit.outcomes import ACKNOWLEDGE, Acknowledge, DeadLetter, Leave, Outcome, Release, Retry
from loafer_kit.providers import AbstractProvider
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Seconds: RabbitMQ's consumer_timeout, unless its configuration says otherwise. It closes the channel
#: of a message that is in hand for longer.
CONSUMER_TIMEOUT = 1_800.0


class AMQPProvider(AbstractProvider):
    """Delivers the messages of a RabbitMQ queue; they are `aio_pika`'s.

    `keywords` are the fields of `AMQPOptions`. A lost connection is opened again by the next fetch,
    and the topology is declared again. Raises `ConfigurationError` for options that cannot work.
    """

    broker = "rabbitmq"
    batch_size = 1_000

    #: Seconds: the longest wait of a fetch.
    wait_time = 20.0

    #: The most unsettled messages; None: as many as the route has room for.
    prefetch: int | None = None

    #: How long a handler may take; only the start-up check uses it.
    handler_timeout: float | None = None

    def __init__(
        self,
        queue: str,
        *,
        connection_options: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        self.name = queue
        self.options = AMQPOptions.from_keywords(queue, keywords)
        self.max_deliveries = self.options.max_deliveries
        if self.options.url:
            broker_url(self.options.url)  # raises for another scheme
        if self.options.single_active_consumer:
            self.batch_size = self.prefetch = 1
        self._connection_options = dict(connection_options or {})
        self._topology = Topology(queue, self.options)
        self._lost: Callable[[Message], None] = _ignore
        self._session: Session | None = None
        self._publisher: Publisher | None = None
        self._opening: asyncio.Lock | None = None
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry_queues: set[str] = set()

    def __str__(self) -> str:
        return f"<{type(self).__name__}: {self.name}>"

    async def start(self, lost: Callable[[Message], None]) -> None:
        """Connect and declare the topology.

        Raises `ProviderError` for what the broker refuses. After a transient failure the first fetch
        tries again.
        """
        self._lost = lost
        self._stopping = asyncio.Event()
        if (self.handler_timeout or 0) >= CONSUMER_TIMEOUT:
            self._warn(
                "queue.doubtful",
                f"handler_timeout ({self.handler_timeout:g} s) is not below RabbitMQ's "
                f"consumer_timeout, which is {CONSUMER_TIMEOUT:g} s unless it was raised: the broker "
                "then closes the channel and delivers the message again; lower it",
            )
        try:
            await self._opened()
        except TransientProviderError as error:
            self._warn("queue.unreachable", str(error))

    async def connect(self) -> None:
        """Connect and declare the topology, without fetching; raise `ProviderError`."""
        await self._opened()

    async def fetch_messages(self) -> Sequence[Message]:
        """Return the next messages; wait for `wait_time` at most."""
        return await self.fetch(self.batch_size)

    async def fetch(self, limit: int) -> Sequence[Message]:
        """Return up to `limit` messages, or none if none arrives in time."""
        if self._stopping.is_set():
            return []
        session = await self._opened()
        found = await session.receive(min(limit, self.batch_size), self.wait_time)
        most = self.max_deliveries
        exhausted = [m for m in found if most is not None and letters.deliveries(m) > most]
        for message in exhausted:
            reason = f"delivered {most} times without an outcome"
            await self.settle(message, DeadLetter(reason))
        return [message for message in found if message not in exhausted] if exhausted else found

    @property
    def dead_letter_queue(self) -> str:
        """The name of the queue for dead letters; empty: there is none."""
        return self._topology.dead_letter_queue

    async def put(self, *bodies: bytes) -> list[str]:
        """Put messages into the queue, for tests and tools; return their ids when the broker has them."""
        return [await self.publish(body, self.name) for body in bodies]

    async def publish(
        self,
        body: bytes,
        routing_key: str,
        exchange: str = "",
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish a message to an exchange; return its id when the broker has it.

        Raises `ProviderError`.
        """
        mode = DeliveryMode.PERSISTENT if self.options.durable else DeliveryMode.NOT_PERSISTENT
        name = uuid.uuid4().hex
        message = aio_pika.Message(
            body, headers=dict(headers or {}), delivery_mode=mode, message_id=name
        )
        await self._to_publish_with().publish(message, routing_key, exchange)
        return name

    async def confirm_message(self, message: Message) -> None:
        """Acknowledge `message`."""
        await self.settle(message, ACKNOWLEDGE)

    async def settle(self, message: Message, outcome: Outcome) -> None:
        """Carry out the outcome of `message`; nothing if it was settled, or lost with its channel."""
        session = self._session
        if session is None or not session.holds(message):
            return
        match self._within_limit(message, outcome):
            case Acknowledge():
                await session.acknowledge(message)
            case Release():
                await session.give_back(message)
            case DeadLetter(reason) if self._topology.dead_letter_queue:
                await self._move(session, message, reason)
            case Retry(float() | int() as delay):
                await self._deliver_again(session, message, delay)
            case Retry():
                delay = full_jitter(
                    letters.deliveries(message) - 1,
                    base=self.options.retry_delay,
                    cap=self.options.retry_delay_cap,
                )
                await self._deliver_again(session, message, delay)
            case _:
                await self._deliver_again(session, message, self.options.redelivery_delay)

    def stop(self) -> None:
        """Have open fetches return, and give back what was not fetched."""
        if self._session is not None and not self._stopping.is_set():
            self._run(self._session.stop())
        self._stopping.set()

    async def flush(self) -> None:
        """Return when the broker has read all settlements."""
        if self._stopping.is_set() and self._tasks:
            await asyncio.wait(self._tasks)
        if self._session is not None:
            await self._session.flush()

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        publisher, self._publisher = self._publisher, None
        self._opening = None
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if session is not None:
            await session.close()
        if publisher is not None:
            await publisher.close()

    async def depth(self) -> Mapping[str, int]:
        """Return how many messages are ready, how many wait for a retry, and how many are dead.

        The retries are those of this process.
        """
        if self._session is None:
            return {}
        kinds = {self.name: "visible", self.dead_letter_queue: "dead_letters"}
        retries = tuple(self._retry_queues)
        found = await self._session.depths(*filter(None, kinds), *retries)
        self._retry_queues -= set(retries) - found.keys()  # these have expired
        depth = {kind: found[name] for name, kind in kinds.items() if name in found}
        delayed = sum(found.get(name, 0) for name in retries)
        return {**depth, "delayed": delayed} if delayed else depth

    def holds(self, message: Message) -> bool:
        """Return whether the channel of `message` is still open."""
        return self._session is not None and self._session.holds(message)

    def order_key(self, message: Message) -> Hashable | None:
        """Return one key for all messages of a queue with a single active consumer."""
        return self.name if self.options.single_active_consumer else None

    def is_last_delivery(self, message: Message) -> bool:
        """Return whether `message` becomes a dead letter instead of being delivered again."""
        most = self.max_deliveries
        return most is not None and letters.deliveries(message) >= most

    def describe(self, message: Message) -> Mapping[str, object]:
        """Return the queue, the message's id and how often it was delivered."""
        return {
            "queue": self.name,
            "message_id": message.message_id,
            "receive_count": letters.deliveries(message),
        }

    def trace_headers(self, message: Message) -> Mapping[str, str]:
        """Return the W3C trace headers of the message."""
        return letters.trace_headers(message.headers)

    def first_received(self, message: Message) -> float | None:
        """Return when the message was first delivered, if it was retried since."""
        first = letters.first_received(message)
        return first.timestamp() if first else None

    def sent_at(self, message: Message) -> float | None:
        """Return when the message was sent, if its sender says so."""
        return message.timestamp.timestamp() if message.timestamp else None

    async def _opened(self) -> Session:
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._session is not None and self._session.end:
                await self._session.close()
                self._session = None
            if self._session is None:
                url = broker_url(self.options.url)
                self.address = address_of(url)
                self._session = await Session.open(
                    url,
                    self.name,
                    self._topology.declare,
                    self._lost,
                    self.prefetch,
                    **self._connection_options,
                )
            return self._session

    def _within_limit(self, message: AbstractIncomingMessage, outcome: Outcome) -> Outcome:
        """Return the outcome, or a dead letter for a message that failed on its last delivery."""
        if isinstance(outcome, Release) or not isinstance(outcome, Leave | Retry):
            return outcome
        failures = outcome.failures if isinstance(outcome, Retry) else 0
        most = self.max_deliveries
        if most is None or max(letters.deliveries(message), failures) < most:
            return outcome
        return DeadLetter(outcome.reason or f"failed {most} times")

    async def _deliver_again(
        self, session: Session, message: AbstractIncomingMessage, delay: float
    ) -> None:
        """Deliver a message again after `delay` seconds.

        In an ordered queue it stays in hand, so that no later message overtakes it.
        """
        if self.options.single_active_consumer:
            self._run(self._give_back_later(session, message, delay))
            return
        copy = letters.retried(message, persistent=self.options.durable)

        async def declare(channel: AbstractChannel) -> str:
            name = await self._topology.declare_retry_queue(channel, delay)
            self._retry_queues.add(name)
            return name

        async with self._published(session, message):
            await self._to_publish_with().publish(copy, declare if delay else self.name)

    async def _move(self, session: Session, message: AbstractIncomingMessage, reason: str) -> None:
        target = self._topology.dead_letter_queue
        carried = letters.trace_headers(message.headers)
        async with self._published(session, message):
            with sending(self.broker, target, self.address, carried) as told:
                letter = letters.dead(message, reason, self.name, persistent=self.options.durable)
                letter.headers |= told.headers
                await self._to_publish_with().publish(letter, target)

    @contextlib.asynccontextmanager
    async def _published(self, session: Session, message: AbstractIncomingMessage) -> Any:
        """Acknowledge the original of what the block publishes; keep it if that fails."""
        try:
            yield
        except ProviderError as error:
            delay = self.options.redelivery_delay
            self._warn("message.not_moved", f"{error}: it comes again in {delay:g} s")
            self._run(self._give_back_later(session, message, delay))
        else:
            await session.acknowledge(message)

    async def _give_back_later(
        self, session: Session, message: AbstractIncomingMessage, delay: float
    ) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)
        await session.give_back(message)

    def _to_publish_with(self) -> Publisher:
        if self._publisher is None:
            self._publisher = Publisher(
                broker_url(self.options.url),
                f"{self.name}: retries and dead letters",
                **self._connection_options,
            )
        return self._publisher

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _warn(self, event: str, text: str) -> None:
        log_event(logger, logging.WARNING, event, {"queue": self.name}, text)


def _ignore(message: Message) -> None:
    """Do nothing: the provider is used without an engine."""
