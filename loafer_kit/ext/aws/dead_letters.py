"""Dead letters: what is sent to a dead-letter queue for a message that no attempt can cure."""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

from loafer_kit.engine.backoff import full_jitter
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.clients import Clients
from loafer_kit.ext.aws.errors import queue_subject
from loafer_kit.ext.aws.queues import is_fifo, queue_url
from loafer_kit.ext.aws.transport import SQSTransport
from loafer_kit.types import Message

#: What a dead letter carries besides the original's attributes.
REASON = "DeadLetterReason"
SOURCE_QUEUE = "DeadLetterSourceQueue"
MESSAGE_ID = "DeadLetterMessageId"
#: All three as one JSON object, where SQS's limit of ten attributes leaves no room for three.
COMBINED = "DeadLetter"

_MOST_ATTRIBUTES = 10
_LONGEST_REASON = 1_000

#: Seconds: the first and the longest pause before a send is repeated; and how often it is.
_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0
_MOST_ATTEMPTS = 10


def dead_letter_entry(
    message: Message, reason: str, source_queue: str, *, fifo: bool
) -> dict[str, Any]:
    """Return the entry of a SendMessageBatch that carries `message` with its attributes.

    The reason, the source queue and the message id are added as message attributes; where the
    original has ten of its own already, there is no room for them. On a FIFO queue the message
    group and the deduplication id are kept.
    """
    original: dict[str, Any] = {
        name: _sendable(value) for name, value in (message.get("MessageAttributes") or {}).items()
    }
    added = _added_attributes(
        {REASON: reason, SOURCE_QUEUE: source_queue, MESSAGE_ID: message["MessageId"]},
        room=_MOST_ATTRIBUTES - len(original.keys() - {REASON, SOURCE_QUEUE, MESSAGE_ID, COMBINED}),
    )
    entry: dict[str, Any] = {"Id": "0", "MessageBody": message["Body"]}
    attributes = original | added
    if attributes:
        entry["MessageAttributes"] = attributes
    system: dict[str, str] = message.get("Attributes") or {}
    if "AWSTraceHeader" in system:
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": _text(system["AWSTraceHeader"])}
    if fifo:
        entry["MessageGroupId"] = system.get("MessageGroupId", message["MessageId"])
        entry["MessageDeduplicationId"] = system.get("MessageDeduplicationId", message["MessageId"])
    return entry


def without_reason(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry without what was added, for a message that has no byte to spare."""
    attributes = {
        name: value
        for name, value in entry.get("MessageAttributes", {}).items()
        if name not in (REASON, SOURCE_QUEUE, MESSAGE_ID, COMBINED)
    }
    plain = {name: value for name, value in entry.items() if name != "MessageAttributes"}
    return plain | ({"MessageAttributes": attributes} if attributes else {})


def _added_attributes(facts: dict[str, str], room: int) -> dict[str, Any]:
    facts = {name: _printable(value) for name, value in facts.items()}
    if room >= len(facts):
        return {name: _text(value) for name, value in facts.items()}
    if room:
        return {COMBINED: _text(json.dumps(facts))}
    return {}


def _sendable(attribute: dict[str, Any]) -> dict[str, Any]:
    """Return a received attribute without the empty lists that SendMessage refuses."""
    return {name: value for name, value in attribute.items() if not name.endswith("ListValues")}


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def _printable(text: str) -> str:
    """Return at most a thousand characters that SQS takes; it refuses most control characters."""
    allowed = (
        character
        for character in text[:_LONGEST_REASON]
        if character.isprintable() or character in "\t\n\r"
    )
    return "".join(allowed) or "unknown"


class DeadLetterQueue:
    """Sends dead letters of one source queue. `queue` is the target's name, URL or ARN."""

    def __init__(
        self, queue: str, source_queue: str, transport: SQSTransport, clients: Clients
    ) -> None:
        self._queue = queue
        self._source_queue = source_queue
        self._transport = transport
        self._clients = clients
        self._url: str | None = None

    async def find(self) -> str:
        """Return the queue's URL; raise `ProviderError` when it cannot be found."""
        if self._url is None:
            self._url = await queue_url(self._clients, self._queue)
        return self._url

    async def send(self, message: Message, reason: str, deadline: Callable[[], float]) -> None:
        """Return when the dead letter has been taken; repeat what may pass until the deadline.

        Raises `ProviderError` when it was not taken.
        """
        loop = asyncio.get_running_loop()
        for attempt in itertools.count():
            try:
                await self._send(message, reason)
            except TransientProviderError as error:
                pause = full_jitter(attempt, base=_BACKOFF, cap=_LONGEST_BACKOFF)
                pause = max(pause, error.retry_after or 0.0)
                if attempt >= _MOST_ATTEMPTS or loop.time() + pause >= deadline():
                    raise
                await asyncio.sleep(pause)
            else:
                return

    async def _send(self, message: Message, reason: str) -> None:
        url = await self.find()
        entry = dead_letter_entry(message, reason, self._source_queue, fifo=is_fifo(url))
        failures = await self._transport.send_message_batch(url, [entry])
        if failures and failures[0].get("SenderFault"):
            failures = await self._transport.send_message_batch(url, [without_reason(entry)])
        if failures:
            failure = failures[0]
            kind = ProviderError if failure.get("SenderFault") else TransientProviderError
            raise kind(
                f"{queue_subject(url)} did not take the message: "
                f"{failure.get('Code', '')} {failure.get('Message', '')}".rstrip()
            )
