"""Dead letters: copies of rejected messages, sent to a dead-letter queue."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from loafer_kit.events import sending
from loafer_kit.ext.aws import trace_headers
from loafer_kit.ext.aws.addresses import bare_name, is_fifo
from loafer_kit.ext.aws.limits import SQS_MESSAGE_ATTRIBUTES
from loafer_kit.ext.aws.requests.clients import Clients
from loafer_kit.ext.aws.requests.errors import RefusedError, TooLargeError, queue_subject
from loafer_kit.ext.aws.requests.transport import Queue, copied_parameters, text_attribute
from loafer_kit.ext.aws.sending import Sender
from loafer_kit.types import Message

#: Message attributes that a dead letter has in addition to the original's.
REASON = "DeadLetterReason"
SOURCE_QUEUE = "DeadLetterSourceQueue"
MESSAGE_ID = "DeadLetterMessageId"
#: All three as one JSON object, if SQS's limit of ten attributes leaves no room for three.
COMBINED = "DeadLetter"

#: Characters.
_LONGEST_REASON = 1_000


def dead_letter_entry(
    message: Message,
    reason: str | None,
    source_queue: str,
    *,
    fifo: bool,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the entry of a SendMessageBatch, without its id, that carries `message` with its attributes.

    The reason, the source queue and the message id are added as message attributes, unless the
    original has ten already, or there is no reason. They come before the original's trace context:
    what is left of it travels as X-Ray's header. `headers` is a context for a message without one.
    The message group is kept on a FIFO queue, and for fair queues from a standard queue to another.
    """
    entry = {"MessageBody": message["Body"], **copied_parameters(message)}
    original = entry.pop("MessageAttributes", {})
    context = trace_headers.carried(original)
    ours = {REASON, SOURCE_QUEUE, MESSAGE_ID, COMBINED}
    kept = {name: value for name, value in original.items() if name not in ours | context.keys()}
    if reason is not None:
        facts = {REASON: reason, SOURCE_QUEUE: source_queue, MESSAGE_ID: message["MessageId"]}
        kept |= _added_attributes(facts, room=SQS_MESSAGE_ATTRIBUTES - len(kept))
    if attributes := trace_headers.fit(kept, context):
        entry["MessageAttributes"] = attributes
    if headers or (context and "traceparent" not in attributes):
        entry = trace_headers.add(entry, headers or trace_headers.read(message))
    group = (message.get("Attributes") or {}).get("MessageGroupId")
    if fifo:
        entry["MessageGroupId"] = group or message["MessageId"]
        # The message's own deduplication id may be that of another message: of another source queue
        # or, with DeduplicationScope=messageGroup, of another group. SQS would accept the second
        # letter and store nothing. SQS's own redrive uses the message id, too.
        entry["MessageDeduplicationId"] = message["MessageId"]
    elif group and not is_fifo(source_queue):
        entry["MessageGroupId"] = group
    return entry


def _added_attributes(facts: dict[str, str], room: int) -> dict[str, Any]:
    facts = {name: _printable(value) for name, value in facts.items()}
    if room >= len(facts):
        return {name: text_attribute(value) for name, value in facts.items()}
    if room:
        return {COMBINED: text_attribute(json.dumps(facts))}
    return {}


def _printable(text: str) -> str:
    """Return at most a thousand characters of `text` that SQS accepts: few control characters."""
    allowed = (
        character
        for character in text[:_LONGEST_REASON]
        if character.isprintable() or character in "\t\n\r"
    )
    return "".join(allowed) or "unknown"


class DeadLetterQueue:
    """Sends the dead letters of `source`. `target` is the name, URL or ARN of the queue to send to.

    Its requests are counted with those of `source`.
    """

    def __init__(self, target: str, source: Queue, clients: Clients) -> None:
        self._target = target
        self._source = source
        self._clients = clients
        self._queue: Queue | None = None
        self._sender: Sender | None = None

    async def find(self) -> Queue:
        """Return the queue to send to; raise `ProviderError` if it cannot be found."""
        if self._queue is None:
            url = await self._clients.queue_url(self._target)
            self._queue = Queue(
                bare_name(url), url, self._source.transport, self._source.statistics
            )
        return self._queue

    async def send(self, message: Message, reason: str, deadline: Callable[[], float]) -> None:
        """Send a dead letter; repeat transient failures until the deadline.

        Raises `ProviderError` if SQS did not accept it.
        """
        carried = trace_headers.read(message)
        with sending("sqs", bare_name(self._target), self._url, carried) as told:
            await self._send(message, reason, deadline, told.headers)
            told.address = self._url

    async def close(self) -> None:
        """Cancel the requests that nobody waits for."""
        if self._sender is not None:
            await self._sender.close()

    @property
    def _url(self) -> str | None:
        return None if self._queue is None else self._queue.url

    async def _send(
        self,
        message: Message,
        reason: str,
        deadline: Callable[[], float],
        headers: Mapping[str, str],
    ) -> None:
        source, fifo = self._source.name, is_fifo(self._target)
        entry = dead_letter_entry(message, reason, source, fifo=fifo, headers=headers)
        plain = dead_letter_entry(message, None, source, fifo=fifo)
        if self._sender is None:
            self._sender = Sender(
                self._ask,
                subject=queue_subject(self._target),
                action="SendMessageBatch",
                linger=0,
            )
        async with self._sender.turn(entry["MessageGroupId"] if fifo else None):
            try:
                await self._sender.send(entry, deadline)
            except RefusedError as error:
                # The added attributes may be what SQS refuses: they make a message of the largest
                # size too long.
                if plain == entry:
                    raise _helped(error, entry) from error
                try:
                    await self._sender.send(plain, deadline)
                except RefusedError as final:
                    raise _helped(final, plain) from final

    async def _ask(self, entries: list[dict[str, Any]]) -> Mapping[str, Any]:
        return await (await self.find()).send(entries)


def _helped(error: RefusedError, entry: dict[str, Any]) -> RefusedError:
    """Return the error with what to do if the message is larger than the queue allows."""
    remedy = ""
    if isinstance(error, TooLargeError):
        size = len(entry["MessageBody"].encode())
        remedy = (
            f" The body has {size:,} bytes: raise the MaximumMessageSize of the dead-letter queue to "
            "that of the source queue."
        )
    return type(error)(f"{error}{remedy}")
