"""Requests to SQS: the queue they are about, and what carries them."""

import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from loafer_kit.events import requesting
from loafer_kit.ext.aws.addresses import is_fifo
from loafer_kit.ext.aws.requests import answers
from loafer_kit.ext.aws.requests.errors import (
    REQUEST_ERRORS,
    BatchEntryFailure,
    from_exception,
    queue_subject,
)
from loafer_kit.types import Message


class SQSTransport(Protocol):
    """Carries requests to SQS. It repeats none: heartbeat, settlement and engine decide that."""

    async def call(self, action: str, url: str, /, **parameters: Any) -> dict[str, Any]:
        """Return SQS's answer to `action` on the queue at `url`; names and shapes are AWS's.

        Raises `TransientProviderError` if repeating may help (connections, 5xx, throttling), any
        other `ProviderError` if not.
        """

    async def close(self) -> None:
        """Close the connections."""


class BotocoreTransport:
    """An `SQSTransport` of aiobotocore's clients; `request` is `Clients.request`.

    Long polls have a client of their own, so that a deletion never waits for a connection that a
    long poll occupies.
    """

    def __init__(self, request: Callable[..., Awaitable[dict[str, Any]]]) -> None:
        self._request = request

    async def call(self, action: str, url: str, /, **parameters: Any) -> dict[str, Any]:
        """Return SQS's answer to `action`."""
        return await self._request(
            "sqs",
            action,
            queue_subject(url),
            {"QueueUrl": url, **parameters},
            long_polling=action == "ReceiveMessage",
        )

    async def close(self) -> None:
        """Do nothing: the clients belong to `Clients`."""


def copied_parameters(message: Message) -> dict[str, Any]:
    """Return what a copy of a received message takes over, as parameters of SendMessage.

    These are its message attributes and its trace header. The lists that SQS answers in an attribute
    are left out: SendMessage refuses them.
    """
    parameters: dict[str, Any] = {}
    if attributes := message.get("MessageAttributes"):
        parameters["MessageAttributes"] = {
            name: {key: part for key, part in value.items() if not key.endswith("ListValues")}
            for name, value in attributes.items()
        }
    if trace_header := (message.get("Attributes") or {}).get("AWSTraceHeader"):
        parameters["MessageSystemAttributes"] = {"AWSTraceHeader": text_attribute(trace_header)}
    return parameters


def text_attribute(value: str) -> dict[str, str]:
    """Return a message attribute that holds a string."""
    return {"DataType": "String", "StringValue": value}


@dataclass(slots=True)
class ActionStatistics:
    """The requests of one action; `seconds` is the sum of their durations."""

    requests: int = 0
    failures: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue and the requests that a consumer makes to it, counted by action.

    Errors are those of `SQSTransport.call`. A batch takes up to ten entries and returns those that
    SQS does not confirm. Entry ids are positions, not message ids: a message that was received twice may be in one
    batch twice, and SQS refuses a batch with equal ids.
    """

    name: str
    url: str
    transport: SQSTransport
    statistics: dict[str, ActionStatistics] = field(default_factory=dict)

    @property
    def is_fifo(self) -> bool:
        """Whether SQS keeps the order of each message group."""
        return is_fifo(self.name)

    async def receive(self, **parameters: Any) -> list[Message]:
        """Return the messages of one ReceiveMessage, which may be none."""
        answer = await self._call("ReceiveMessage", **parameters)
        messages: list[Message] = answer.get("Messages") or []
        answers.check_digests(messages, self.url)
        return messages

    async def delete(self, receipt_handles: Iterable[str]) -> list[BatchEntryFailure]:
        """Delete messages."""
        entries = [
            {"Id": str(position), "ReceiptHandle": handle}
            for position, handle in enumerate(receipt_handles)
        ]
        return answers.unconfirmed(entries, await self._call("DeleteMessageBatch", Entries=entries))

    async def change_visibility(
        self, timeouts: Iterable[tuple[str, int]]
    ) -> list[BatchEntryFailure]:
        """Hide messages for so many seconds from now; each is given by its receipt handle."""
        entries = _visibility_entries(timeouts)
        answer = await self._call("ChangeMessageVisibilityBatch", Entries=entries)
        return answers.unconfirmed(entries, answer)

    async def send(self, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Send messages; return SQS's answer."""
        return await self._call("SendMessageBatch", Entries=entries)

    async def attributes(self) -> dict[str, str]:
        """Return all attributes of the queue."""
        answer = await self._call("GetQueueAttributes", AttributeNames=["All"])
        return answer.get("Attributes") or {}

    async def _call(self, action: str, **parameters: Any) -> dict[str, Any]:
        statistics = self.statistics.setdefault(action, ActionStatistics())
        statistics.requests += 1
        started = time.monotonic()
        try:
            return await self.transport.call(action, self.url, **parameters)
        except BaseException:
            statistics.failures += 1
            raise
        finally:
            statistics.seconds += time.monotonic() - started

    def log(
        self, logger: logging.Logger, level: int, event: str, message_id: str, text: str
    ) -> None:
        """Log one line about a message of the queue."""
        logger.log(
            level,
            "%s queue=%s message_id=%s: %s",
            event,
            self.name,
            message_id,
            text,
            extra={"event": event, "queue": self.name, "message_id": message_id},
        )


class BlockingQueue:
    """The requests to a queue that are made in another thread than the loop's.

    `open_client` returns a client of botocore; it is called at the first request. Errors are those
    of `SQSTransport.call`.
    """

    def __init__(self, url: str, open_client: Callable[[], Any]) -> None:
        self._url = url
        self._open_client = open_client
        self._client: Any = None
        #: Its own, which the other thread lacks: it names the observers.
        self._context = contextvars.copy_context()

    def change_visibility(self, timeouts: Iterable[tuple[str, int]]) -> list[BatchEntryFailure]:
        """Hide messages for so many seconds from now; each is given by its receipt handle."""
        entries = _visibility_entries(timeouts)
        return answers.unconfirmed(entries, self._context.run(self._ask, entries))

    def _ask(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        action = "ChangeMessageVisibilityBatch"
        parameters = {"QueueUrl": self._url, "Entries": entries}
        with requesting("sqs", action, parameters, lambda _: {}) as told:
            try:
                if self._client is None:
                    self._client = self._open_client()
                answer: dict[str, Any] = self._client.change_message_visibility_batch(**parameters)
            except REQUEST_ERRORS as exc:
                raise from_exception(exc, action=action, subject=queue_subject(self._url)) from exc
            if told is not None:
                told.answer = answer
        return answer

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()


def _visibility_entries(timeouts: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    return [
        {"Id": str(position), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
        for position, (handle, seconds) in enumerate(timeouts)
    ]
