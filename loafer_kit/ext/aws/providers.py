"""SQSProvider: messages of an SQS queue."""

import asyncio
import logging
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from loafer_kit.exceptions import TransientProviderError
from loafer_kit.ext.aws import checks, clients, errors, options
from loafer_kit.ext.aws.clients import Clients, TransportKind
from loafer_kit.ext.aws.consumption import (
    ConsumedQueue,
    QueueSession,
    group_of,
    receive_count,
)
from loafer_kit.ext.aws.dead_letters import DeadLetterQueue
from loafer_kit.ext.aws.metering import ActionStatistics, MeteredTransport
from loafer_kit.ext.aws.queues import bare_name, is_fifo, queue_url, region_of
from loafer_kit.ext.aws.transport import SQSTransport
from loafer_kit.outcomes import ACKNOWLEDGE, Outcome
from loafer_kit.providers import AbstractProvider
from loafer_kit.types import Message

logger = logging.getLogger(__name__)


class SQSProvider(AbstractProvider):
    """Delivers the messages of the queue with this name, URL or ARN.

    `options` are those of ReceiveMessage; by default ten messages a time, a long poll of 20 s,
    and all attributes are asked for. Further keywords are the client's options (`CLIENT_OPTIONS`,
    as in boto) and the queue's settings (`SQSOptions`).

    Raises `ConfigurationError` for what cannot work.
    """

    #: How long a handler may take; only looked at by the start-up check.
    handler_timeout: float | None = None

    def __init__(
        self, queue_name: str, options: Mapping[str, Any] | None = None, **keywords: Any
    ) -> None:
        self.queue_name = queue_name
        self.name = bare_name(queue_name)
        self._is_fifo = is_fifo(self.name)
        self._client_options, self.settings, self._receive_parameters = _check(
            queue_name, options or {}, keywords
        )
        self.batch_size = self._receive_parameters["MaxNumberOfMessages"]
        self.max_receivers = self.settings.max_receivers
        self.poll_grace = self.settings.poll_grace
        #: The counts and durations of this queue's requests, by AWS's action name.
        self.statistics: dict[str, ActionStatistics] = {}
        self._lost: Callable[[Message], None] = _ignore
        self._clients: Clients | None = None
        self._consumption: QueueSession | None = None
        self._opening: asyncio.Lock | None = None

    def __str__(self) -> str:
        return f"<{type(self).__name__}: {self.name}>"

    async def start(self, lost: Callable[[Message], None]) -> None:
        """Find the queue and check its attributes.

        Raises `ProviderError` for what trying again does not cure: no such queue, no access, no
        credentials, no region. What may pass is tried again by the first fetch.
        """
        self._lost = lost
        try:
            await self._open()
        except TransientProviderError as error:
            logger.warning("queue.unreachable queue=%s: %s", self.name, error)
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> QueueSession:
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._consumption is None:
                self._consumption = await self._begin()
            return self._consumption

    async def _begin(self) -> QueueSession:
        if self._clients is None:
            self._clients = clients.share(_with_region(self._client_options, self.queue_name))
        transport = MeteredTransport(
            await _open_transport(self._clients, self.queue_name, self.settings.transport),
            self.statistics,
        )
        url = await queue_url(self._clients, self.queue_name)
        attributes = await self._attributes(transport, url)
        target = self.settings.dead_letter_queue or checks.redrive_target(attributes)
        dead_letters = (
            DeadLetterQueue(target, self.name, transport, self._clients) if target else None
        )
        if dead_letters and self.settings.dead_letter_queue:
            await dead_letters.find()
        queue = self._consumed_queue(url, attributes)
        return QueueSession(queue, transport, dead_letters, self._lost)

    async def _attributes(self, transport: SQSTransport, url: str) -> dict[str, str]:
        try:
            attributes = await transport.get_queue_attributes(url)
        except errors.AccessDeniedError as error:
            logger.warning("queue.unchecked queue=%s: %s", self.name, error)
            return {}
        for warning in checks.warnings(attributes, self.settings, self.handler_timeout):
            logger.warning(
                "queue.doubtful queue=%s: %s", self.name, warning, extra={"queue": self.name}
            )
        return attributes

    def _consumed_queue(self, url: str, attributes: Mapping[str, str]) -> ConsumedQueue:
        parameters = dict(self._receive_parameters)
        timeout = self.settings.visibility_timeout
        if timeout is None and "VisibilityTimeout" not in attributes:
            timeout = checks.DEFAULT_VISIBILITY  # unknown: then it is asked for
        if timeout is None:
            timeout = int(attributes["VisibilityTimeout"])
        else:
            parameters["VisibilityTimeout"] = timeout
        return ConsumedQueue(
            name=self.name,
            url=url,
            fifo=self._is_fifo,
            visibility_timeout=timeout,
            receive_parameters=parameters,
            options=self.settings,
        )

    async def fetch_messages(self) -> Sequence[Message]:
        """Return the next messages, after at most one long poll."""
        return await self.fetch(self.batch_size)

    async def fetch(self, limit: int) -> Sequence[Message]:
        """Return up to `limit` messages; none when there were none within the long poll."""
        consumption = self._consumption or await self._open()
        return await consumption.receive(limit)

    async def confirm_message(self, message: Message) -> bool:
        """Delete `message`, and return when SQS has been told."""
        await self.settle(message, ACKNOWLEDGE)
        await self.flush()
        return True

    async def settle(self, message: Message, outcome: Outcome) -> None:
        """Carry out what became of `message`, together with other messages' outcomes."""
        consumption = self._consumption or await self._open()
        await consumption.settle(message, outcome)

    async def flush(self) -> None:
        """Return when everything settled so far has reached SQS, or was given up."""
        if self._consumption is not None:
            await self._consumption.flush()

    async def close(self) -> None:
        """End the heartbeat and give back the clients."""
        consumption, self._consumption = self._consumption, None
        shared, self._clients = self._clients, None
        self._opening = None
        if consumption is not None:
            await consumption.close()
        if shared is not None:
            await clients.release(shared)

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

    def first_received(self, message: Message) -> float | None:
        """Return when SQS delivered the message for the first time."""
        attributes = message.get("Attributes") or {}
        milliseconds = attributes.get("ApproximateFirstReceiveTimestamp")
        return None if milliseconds is None else int(milliseconds) / 1000


def _check(
    queue: str, receive_options: Mapping[str, Any], keywords: Mapping[str, Any]
) -> tuple[dict[str, Any], options.SQSOptions, dict[str, Any]]:
    client_options, settings = options.split_keywords(queue, keywords)
    parameters = options.receive_parameters(queue, receive_options)
    options.check_read_timeout(queue, client_options.get("config"), parameters["WaitTimeSeconds"])
    return client_options, options.make_settings(queue, settings, receive_options), parameters


def _with_region(client_options: dict[str, Any], queue: str) -> dict[str, Any]:
    """A queue's URL or ARN names its region, unless requests go to an endpoint that was set."""
    endpoint = (
        client_options.get("endpoint_url")
        or os.environ.get("AWS_ENDPOINT_URL_SQS")
        or os.environ.get("AWS_ENDPOINT_URL")
    )
    if client_options.get("region_name") or endpoint:
        return client_options
    return {**client_options, "region_name": region_of(queue)}


async def _open_transport(shared: Clients, queue: str, kind: TransportKind) -> SQSTransport:
    try:
        return await shared.transport(kind)
    except errors.REQUEST_ERRORS as exc:
        subject = errors.queue_subject(queue)
        raise errors.from_exception(exc, action="Opening the client", subject=subject) from exc


def _ignore(message: Message) -> None:
    """Stand in for the engine where a provider is used without one."""
