"""Producer: sends messages to a queue or a topic, ten in a request."""

import asyncio
import functools
import json
import re
import weakref
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from loafer_kit.config import check_names, check_number
from loafer_kit.events import publishing
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws import trace_headers
from loafer_kit.ext.aws.addresses import bare_name, is_fifo
from loafer_kit.ext.aws.limits import SNS_BATCH_BYTES, SQS_BATCH_BYTES
from loafer_kit.ext.aws.requests import clients, errors
from loafer_kit.ext.aws.requests.clients import Clients
from loafer_kit.ext.aws.requests.errors import RefusedError, TooLargeError
from loafer_kit.ext.aws.requests.transport import text_attribute
from loafer_kit.ext.aws.sending import ATTEMPTS, BUFFER, Entry, GivenUpError, Sender
from loafer_kit.services import Service

__all__ = ["GivenUpError", "Prepare", "Producer", "RefusedError", "TooLargeError"]

#: Returns the body and the message attributes, in AWS's shape, that are sent in the place of those
#: that it gets.
Prepare = Callable[[str, dict[str, Any]], Awaitable[tuple[str, dict[str, Any]]]]

#: Characters that SQS and SNS refuse in a text.
_REFUSED = re.compile("[\ud800-\udfff\ufffe\uffff]")


def json_text(message: Any) -> str:
    """Return a message as JSON; only characters that AWS refuses are escaped."""
    text = json.dumps(message, ensure_ascii=False)
    return _REFUSED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class Producer:
    """Sends messages to a queue (name, URL or ARN), or to a topic (name or ARN).

    Messages that are sent at the same time share requests, up to ten; each waits `linger` seconds for
    others. What may pass is repeated up to so many `attempts`. The messages in hand take at most
    `buffer` bytes; further sends wait. `await prepare(body, attributes)` may replace both before a
    message is sent. `client_options` are those of boto's client.

    `init_app(service)` has the service send everything before it ends; outside a service, use
    `async with`. Without either, each send opens the connections anew, unless a service has them
    open. Raises `ConfigurationError` for options that cannot work.
    """

    def __init__(
        self,
        queue: str | None = None,
        *,
        topic: str | None = None,
        linger: float = 0.005,
        attempts: int = ATTEMPTS,
        buffer: int = BUFFER,
        prepare: Prepare | None = None,
        **client_options: Any,
    ) -> None:
        if bool(queue) == bool(topic):
            raise ConfigurationError("A Producer sends to a queue or to a topic: name one of them.")
        check_names("A Producer", client_options, clients.CLIENT_OPTIONS)
        check_number("linger", linger, at_least=0)
        check_number("attempts", attempts, at_least=1, whole=True)
        check_number("buffer", buffer, at_least=1, whole=True)
        self._service = "sqs" if queue else "sns"
        self._words = _WORDS[self._service]
        self._given = str(queue or topic)
        #: The URL of the queue or the ARN of the topic, once it is known.
        self.address: str | None = None
        self._is_fifo = is_fifo(self._given)
        self._may_delay = self._service == "sqs" and not self._is_fifo
        find_subject = errors.queue_subject if queue else errors.topic_subject
        self._subject = find_subject(self._given)
        self._make_sender = functools.partial(
            Sender,
            subject=self._subject,
            action=self._words.batch,
            linger=linger,
            attempts=attempts,
            buffer=buffer,
        )
        self._prepare = prepare
        self._client_options = client_options
        self._batch_bytes = SQS_BATCH_BYTES if queue else SNS_BATCH_BYTES
        self._at_work: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _AtWork] = (
            weakref.WeakKeyDictionary()
        )

    def __str__(self) -> str:
        return f"<Producer: {bare_name(self._given)}>"

    def init_app(self, service: Service) -> None:
        """Keep the connections open while the service runs, and send everything before it ends."""
        service.startup(self._start)
        service.teardown(self._end)

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def send(
        self,
        body: Any,
        *,
        group: str | None = None,
        delay: int | None = None,
        attributes: Mapping[str, Any] | None = None,
        deduplication_id: str | None = None,
    ) -> str:
        """Send a message; return its id when SQS or SNS has it.

        Text is sent as it is, anything else as JSON. `group` is the message group: on a FIFO queue
        or topic, which needs one, messages of a group are sent in the order of the calls; on a
        standard queue it is that of fair queues. `delay` is in seconds. Values of `attributes` are
        texts, numbers or bytes, or in AWS's shape.

        Raises `TooLargeError` or `RefusedError` if AWS refuses the message, `GivenUpError` if it
        confirms none of the attempts, any other `ProviderError` if no message can be sent, such as
        to a queue that does not exist.
        """
        parameters: Entry = {
            "MessageGroupId": group,
            "DelaySeconds": delay if self._may_delay or delay else None,
            "MessageAttributes": {
                name: _attribute(name, value) for name, value in (attributes or {}).items()
            },
            "MessageDeduplicationId": deduplication_id,
        }
        given = {name: value for name, value in parameters.items() if value not in (None, {})}
        return str((await self.publish(_text(body), given))["MessageId"])

    async def publish(self, body: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a text with the parameters of SendMessage or Publish; return AWS's answer.

        Raises as `send` does.
        """
        group = parameters.get("MessageGroupId") if self._is_fifo else None
        self._check(group, parameters)
        at_work = self._enter()
        try:
            with publishing(self._service, bare_name(self._given), self.address) as sending:
                async with at_work.sender.turn(group):
                    if self._prepare is not None:
                        attributes = dict(parameters.get("MessageAttributes") or {})
                        body, attributes = await self._prepare(body, attributes)
                        parameters = {**parameters, "MessageAttributes": attributes}
                    entry = {self._words.body: body, **parameters}
                    if "traceparent" in sending.headers:
                        is_queue = self._service == "sqs"
                        entry = trace_headers.add(entry, sending.headers, sqs=is_queue)
                    sending.answer = answer = await at_work.sender.send(entry)
                sending.address = self.address
        finally:
            await self._leave(at_work)
        return answer

    async def forward(self, result: Any, source: Mapping[str, Any], position: int = 0) -> None:
        """Send a result of a handled message: the metadata or the message is its `source`.

        It gets the source's group, and for a FIFO queue the source's deduplication id or else its
        message id, so that a result that is sent again is stored once. `position` tells the results
        of one message apart.
        """
        facts = order_facts(source, fifo=self._is_fifo)
        if self._service == "sns" and not self._is_fifo:
            facts.pop("MessageGroupId", None)
        if position and "MessageDeduplicationId" in facts:
            facts["MessageDeduplicationId"] += f"-{position}"
        await self.publish(_text(result), facts)

    def _check(self, group: str | None, parameters: Mapping[str, Any]) -> None:
        if self._is_fifo and not group:
            kind = "queue" if self._service == "sqs" else "topic"
            raise RefusedError(
                f"{self._subject} is a FIFO {kind}: every message needs a group, "
                "send(body, group=…) or publish(message, MessageGroupId=…)."
            )
        if parameters.get("DelaySeconds") and not self._may_delay:
            raise RefusedError(
                f"{self._subject} delays no single message: only a standard queue does. "
                "Set the queue's own DelaySeconds."
            )

    async def _start(self, _: object = None) -> None:
        self._enter().holders += 1

    async def _end(self, _: object = None) -> None:
        """Wait until all that was passed to `send` is sent or given up; close the connections."""
        at_work = self._at_work.get(asyncio.get_running_loop())
        if at_work is None or not at_work.holders:  # the service has ended before it was started
            return
        at_work.holders -= 1
        try:
            if not at_work.holders:
                at_work.sender.hurry()
                while at_work.users > 1:
                    at_work.changed.clear()
                    await at_work.changed.wait()
        finally:
            await self._leave(at_work)

    def _enter(self) -> "_AtWork":
        loop = asyncio.get_running_loop()
        at_work = self._at_work.get(loop)
        if at_work is None:
            at_work = self._at_work[loop] = self._open()
        at_work.users += 1
        return at_work

    async def _leave(self, at_work: "_AtWork") -> None:
        at_work.users -= 1
        at_work.changed.set()
        if at_work.users:
            return
        self._batch_bytes = at_work.sender.batch_bytes
        del self._at_work[asyncio.get_running_loop()]
        try:
            await at_work.sender.close()
        finally:
            await clients.release(at_work.clients)

    def _open(self) -> "_AtWork":
        shared = clients.share(self._client_options, self._given, self._service)
        finding = asyncio.Lock()
        call: _Call | None = None

        async def ask(entries: list[Entry]) -> Mapping[str, Any]:
            nonlocal call
            async with finding:
                if call is None:
                    call = await self._find(shared)
            if len(entries) > 1:
                return await call(self._words.batch, {self._words.entries: entries})
            # A single message needs no batch: the answer to it is the message's own.
            [entry] = entries
            parameters = {name: value for name, value in entry.items() if name != "Id"}
            answer = await call(self._words.single, parameters)
            return {"Successful": [{"Id": entry["Id"], **answer}]}

        return _AtWork(shared, self._make_sender(ask, batch_bytes=self._batch_bytes))

    async def _find(self, shared: Clients) -> "_Call":
        """Find the queue or the topic; return what calls an action of it."""
        if self._service == "sns":
            arn = self.address = self.address or await shared.topic_arn(self._given)
            return lambda action, parameters: shared.request(
                "sns", action, self._subject, {"TopicArn": arn, **parameters}
            )
        url = self.address = self.address or await shared.queue_url(self._given)
        transport = await clients.open_transport(shared, url)
        return lambda action, parameters: transport.call(action, url, **parameters)


#: Calls an action with its parameters and returns the answer.
_Call = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class _Words:
    """What a service calls its actions and their parts."""

    single: str
    batch: str
    entries: str
    body: str


_WORDS = {
    "sqs": _Words("SendMessage", "SendMessageBatch", "Entries", "MessageBody"),
    "sns": _Words("Publish", "PublishBatch", "PublishBatchRequestEntries", "Message"),
}


class _AtWork:
    """A producer in one event loop. It ends with its last user: a send, or a holder."""

    def __init__(self, shared: Clients, sender: Sender) -> None:
        self.clients = shared
        self.sender = sender
        self.users = 0
        #: Services and blocks.
        self.holders = 0
        self.changed = asyncio.Event()


def order_facts(source: Mapping[str, Any], *, fifo: bool) -> dict[str, str]:
    """Return group and deduplication id of what follows from a message, as parameters of a send.

    For a FIFO target the deduplication id is the source's, or else its message id, so that a message
    that is passed on twice is stored once.
    """
    system = source.get("Attributes") or {}
    facts = {}
    if group := system.get("MessageGroupId"):
        facts["MessageGroupId"] = group
    if fifo:
        message_id = source.get("SQSMessageId") or source.get("MessageId")
        if deduplication_id := system.get("MessageDeduplicationId") or message_id:
            facts["MessageDeduplicationId"] = deduplication_id
    return facts


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json_text(body)


def _attribute(name: str, value: Any) -> dict[str, Any]:
    """Return a message attribute in AWS's shape."""
    match value:
        case str():
            return text_attribute(value)
        case bool():
            pass
        case int() | float() | Decimal():
            return {"DataType": "Number", "StringValue": str(value)}
        case bytes():
            return {"DataType": "Binary", "BinaryValue": value}
        case Mapping():
            return dict(value)
    raise TypeError(f"The attribute {name!r} must be a text, a number or bytes, not {value!r}.")
