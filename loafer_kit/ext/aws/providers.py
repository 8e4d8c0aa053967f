"""SQSProvider: the provider of messages from an SQS queue."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws import trace_headers
from loafer_kit.ext.aws.addresses import bare_name, is_fifo
from loafer_kit.ext.aws.consumption import Connection, QueueSession
from loafer_kit.ext.aws.dead_letters import DeadLetterQueue
from loafer_kit.ext.aws.options import (
    max_receive_count,
    message_counts,
    parse_options,
    queue_warnings,
    redrive_target,
)
from loafer_kit.ext.aws.receiving import group_of, is_last_receive, receive_count
from loafer_kit.ext.aws.requests import clients, errors
from loafer_kit.ext.aws.requests.clients import Clients
from loafer_kit.ext.aws.requests.transport import ActionStatistics, Queue
from loafer_kit.logs import log_event
from loafer_kit.outcomes import ACKNOWLEDGE, Outcome
from loafer_kit.providers import AbstractProvider
from loafer_kit.types import Message

logger = logging.getLogger(__name__)


class QueueProvider(AbstractProvider):
    """The base of providers of SQS's messages: what it reads from them."""

    settles_later = True
    broker = "sqs"

    def __init__(self, queue_name: str) -> None:
        self.name = bare_name(queue_name)
        self._is_fifo = is_fifo(self.name)

    async def fetch_messages(self) -> Sequence[Message]:
        """Return the next messages, of one fetch; there may be none."""
        return await self.fetch(self.batch_size)

    def order_key(self, message: Message) -> Hashable | None:
        """Return the message group on a FIFO queue."""
        return group_of(message) if self._is_fifo else None

    def describe(self, message: Message) -> Mapping[str, object]:
        """Return the queue, the message's id and its receive count."""
        return {
            "queue": self.name,
            "message_id": message["MessageId"],
            "receive_count": receive_count(message),
        }

    def trace_headers(self, message: Message) -> Mapping[str, str]:
        """Return the W3C trace headers of the message, from wherever SQS or SNS put them."""
        return trace_headers.read(message)

    def first_received(self, message: Message) -> float | None:
        """Return when SQS delivered the message for the first time."""
        return _timestamp(message, "ApproximateFirstReceiveTimestamp")

    def sent_at(self, message: Message) -> float | None:
        """Return when the message was sent to the queue."""
        return _timestamp(message, "SentTimestamp")


def _timestamp(message: Message, attribute: str) -> float | None:
    milliseconds = (message.get("Attributes") or {}).get(attribute)
    return None if milliseconds is None else int(milliseconds) / 1000


class SQSProvider(QueueProvider):
    """Delivers the messages of the queue with this name, URL or ARN.

    `options` are parameters of ReceiveMessage; the default is ten messages, a long poll of 20 s and
    all attributes. Other keywords are the client's options (`CLIENT_OPTIONS`, as in boto) and the
    queue's settings (`SQSOptions`).

    Raises `ConfigurationError` for options that cannot work.
    """

    #: How long a handler may take, and how many messages may wait; only the start-up check uses them.
    handler_timeout: float | None = None
    prefetch: int | None = None

    def __init_subclass__(cls) -> None:
        """Reject a method that would never be called."""
        super().__init_subclass__()
        for theirs, ours in (("fetch_messages", "fetch"), ("confirm_message", "settle")):
            is_changed = getattr(cls, theirs) is not getattr(SQSProvider, theirs)
            if is_changed and getattr(cls, ours) is getattr(SQSProvider, ours):
                raise TypeError(
                    f"{cls.__name__} overrides {theirs}, which the engine does not call on a provider "
                    f"of SQS: override {ours} instead."
                )

    def __init__(
        self, queue_name: str, options: Mapping[str, Any] | None = None, **keywords: Any
    ) -> None:
        super().__init__(queue_name)
        self.queue_name = queue_name
        self._client_options, self.settings, self._receive_parameters = parse_options(
            queue_name, options or {}, keywords
        )
        self.batch_size = self._receive_parameters["MaxNumberOfMessages"]
        self.max_receivers = self.settings.max_receivers
        self.poll_grace = self.settings.poll_grace
        #: The counts and durations of this queue's requests, by AWS's action name.
        self.statistics: dict[str, ActionStatistics] = {}
        self._lost: Callable[[Message], None] = _ignore
        self._clients: Clients | None = None
        self._session: QueueSession | None = None
        self._connection: Connection | None = None
        self._opening: asyncio.Lock | None = None

    def __str__(self) -> str:
        return f"<{type(self).__name__}: {self.name}>"

    async def start(self, lost: Callable[[Message], None]) -> None:
        """Find the queue and check its attributes.

        Raises `ProviderError` if trying again does not help: no such queue, no access, no
        credentials, no region. After a transient failure the first fetch tries again.
        """
        self._lost = lost
        try:
            await self._open()
        except TransientProviderError as error:
            log_event(
                logger, logging.WARNING, "queue.unreachable", {"queue": self.name}, str(error)
            )
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> QueueSession:
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._session is None:
                self._connection = await self.connect()
                self._session = QueueSession(
                    self._connection, self.settings, self._receive_parameters, self, self._lost
                )
            return self._session

    async def connect(self) -> Connection:
        """Find the queue, check its attributes and find out where its dead letters go.

        Raises `ProviderError`.
        """
        if self._clients is None:
            self._clients = clients.share(self._client_options, self.queue_name)
        transport = await clients.open_transport(
            self._clients, self.queue_name, self.settings.transport
        )
        self.address = url = await self._clients.queue_url(self.queue_name)
        queue = Queue(self.name, url, transport, self.statistics)
        attributes = await self._check_attributes(queue)
        self.max_deliveries = max_receive_count(attributes)
        target = redrive_target(attributes)
        exhausted = DeadLetterQueue(target, queue, self._clients) if target else None
        dead_letters = exhausted
        if self.settings.dead_letter_queue:
            dead_letters = DeadLetterQueue(self.settings.dead_letter_queue, queue, self._clients)
            await dead_letters.find()
        return Connection(queue, attributes, self._clients, dead_letters, exhausted)

    async def _check_attributes(self, queue: Queue) -> dict[str, str]:
        try:
            attributes = await queue.attributes()
        except errors.AccessDeniedError as error:
            log_event(logger, logging.WARNING, "queue.unchecked", {"queue": self.name}, str(error))
            return {}
        for warning in queue_warnings(
            attributes, self.settings, self.handler_timeout, self.prefetch
        ):
            log_event(logger, logging.WARNING, "queue.doubtful", {"queue": self.name}, warning)
        return attributes

    async def fetch(self, limit: int) -> Sequence[Message]:
        """Return up to `limit` messages, or none if the long poll ends without any."""
        session = self._session or await self._open()
        return await session.receive(limit)

    async def confirm_message(self, message: Message) -> bool:
        """Delete `message`, and return when the request was sent."""
        await self.settle(message, ACKNOWLEDGE)
        await self.flush()
        return True

    async def settle(self, message: Message, outcome: Outcome) -> None:
        """Carry out the outcome of `message`, in one request with those of other messages."""
        session = self._session or await self._open()
        session.settle(message, outcome)

    @property
    def unsettled(self) -> int:
        """How many messages SQS has not yet settled, though it was asked to."""
        return 0 if self._session is None else self._session.unsettled

    async def flush(self) -> None:
        """Return when everything settled so far was sent to SQS or given up."""
        if self._session is not None:
            await self._session.flush()

    async def close(self) -> None:
        """Stop the heartbeat and release the clients."""
        session, self._session = self._session, None
        shared, self._clients = self._clients, None
        self._opening = None
        if session is not None:
            await session.close()
        if shared is not None:
            await clients.release(shared)

    async def depth(self) -> Mapping[str, int]:
        """Return SQS's approximate counts of the queue, and of its dead-letter queue.

        Raises `ProviderError` if SQS refuses to tell.
        """
        if self._connection is None:
            return {}
        found = message_counts(await self._connection.queue.attributes())
        if (dead_letters := self._connection.dead_letters) is not None:
            # The service may be allowed to send there, and no more.
            with contextlib.suppress(ProviderError):
                attributes = await (await dead_letters.find()).attributes()
                found["dead_letters"] = message_counts(attributes)["visible"]
        return found

    def holds(self, message: Message) -> bool:
        """Return whether the lease of `message` lasts."""
        return self._session is None or self._session.holds(message)

    def lease_left(self, message: Message) -> float | None:
        """Return for how many seconds the lease of `message` lasts, unless it is extended."""
        return None if self._session is None else self._session.lease_left(message)

    def is_last_delivery(self, message: Message) -> bool:
        """Return whether SQS moves `message` to the dead-letter queue instead of delivering it again."""
        return is_last_receive(message, self.max_deliveries)


def _ignore(message: Message) -> None:
    """Do nothing: the provider is used without an engine."""
