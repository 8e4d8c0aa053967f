"""SQSHandler and SNSHandler: publish messages, by hand or as the handler of a route."""

import asyncio
import base64
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from loafer_kit.engine.backoff import full_jitter
from loafer_kit.engine.route_options import suggestion
from loafer_kit.events import publishing
from loafer_kit.exceptions import ConfigurationError, ProviderError, TransientProviderError
from loafer_kit.ext.aws.addresses import bare_name, is_fifo
from loafer_kit.ext.aws.requests import answers, clients, errors
from loafer_kit.ext.aws.requests.clients import Clients
from loafer_kit.ext.aws.requests.transport import copied_parameters

logger = logging.getLogger(__name__)

#: Returns the text to publish for a message; None: the message is the text.
Encoder = Callable[[Any], str] | None

#: An answer of AWS, with AWS's keys.
Answer = dict[str, Any]

_ATTEMPTS = 3
_DELAY = 0.2
_LONGEST_DELAY = 2.0


#: Characters that SQS and SNS refuse in a text.
_REFUSED = re.compile("[\ud800-\udfff\ufffe\uffff]")


def json_text(message: Any) -> str:
    """Return a message as JSON; only characters that AWS refuses are escaped."""
    text = json.dumps(message, ensure_ascii=False)
    return _REFUSED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class SQSHandler:
    """Publishes to a queue (name, URL or ARN); a subclass may set it: `queue_name = "orders"`.

    As a route's handler it passes each message on. `client_options` are those of boto's client.
    Connections are shared with the service's providers; there is nothing to close.
    """

    queue_name: str | None = None

    def __init__(self, queue_name: str | None = None, **client_options: Any) -> None:
        self.queue_name = queue_name or self.queue_name
        self._client_options = _checked(type(self).__name__, client_options)
        self._queue_url: str | None = None

    async def publish(
        self, message: Any, encoder: Encoder = json_text, **parameters: Any
    ) -> Answer:
        """Send one message and return SQS's answer.

        `parameters` are those of SendMessage (`DelaySeconds`, `MessageGroupId` …). Raises
        `ProviderError`, for a transient failure after three attempts; `ValueError` without a queue.
        """
        if not self.queue_name:
            raise ValueError(f"{type(self).__name__} has no queue: name one, SQSHandler('orders').")
        _check_group("Queue", self.queue_name, parameters)
        body = encoder(message) if encoder else message
        with publishing(bare_name(self.queue_name)):
            async with clients.borrowed(self._client_options, self.queue_name) as shared:
                return await _repeated(self._send, shared, {"MessageBody": body, **parameters})

    async def _send(self, shared: Clients, parameters: dict[str, Any]) -> Answer:
        if self._queue_url is None:
            self._queue_url = await shared.queue_url(str(self.queue_name))
        subject = errors.queue_subject(self._queue_url)
        parameters = {"QueueUrl": self._queue_url, **parameters}
        answer = await shared.request("sqs", "SendMessage", subject, parameters)
        answers.check_published(answer, parameters, "SendMessage", subject)
        return answer

    async def handle(self, message: Any, *args: Any) -> Answer:
        """Publish the message of a route; SQS's answer acknowledges it.

        Its message attributes, trace header, group and deduplication id go along.
        """
        fifo = is_fifo(self.queue_name or "")
        return await self.publish(message, **_forwarded(_metadata(args), fifo=fifo))


class SNSHandler:
    """Publishes to a topic (name or ARN); a subclass may set it: `topic = "orders"`.

    A name means a topic of the caller's account in the client's region. Otherwise as `SQSHandler`.
    """

    topic: str | None = None

    def __init__(self, topic: str | None = None, **client_options: Any) -> None:
        self.topic = topic or self.topic
        self._client_options = _checked(type(self).__name__, client_options)
        self._topic_arn: str | None = None

    async def publish(
        self, message: Any, encoder: Encoder = json_text, **parameters: Any
    ) -> Answer:
        """Publish one message and return SNS's answer; `parameters` are those of Publish.

        Raises as `SQSHandler.publish` does.
        """
        if not self.topic:
            raise ValueError(f"{type(self).__name__} has no topic: name one, SNSHandler('orders').")
        _check_group("Topic", self.topic, parameters)
        body = encoder(message) if encoder else message
        with publishing(bare_name(self.topic)):
            async with clients.borrowed(self._client_options, self.topic, "sns") as shared:
                return await _repeated(self._publish, shared, {"Message": body, **parameters})

    async def _publish(self, shared: Clients, parameters: dict[str, Any]) -> Answer:
        if self._topic_arn is None:
            self._topic_arn = await shared.topic_arn(str(self.topic))
        subject = errors.topic_subject(self._topic_arn)
        parameters = {"TopicArn": self._topic_arn, **parameters}
        answer = await shared.request("sns", "Publish", subject, parameters)
        answers.check_published(answer, parameters, "Publish", subject)
        return answer

    async def handle(self, message: Any, *args: Any) -> Answer:
        """Publish the message of a route; SNS's answer acknowledges it.

        Its message attributes go along; to a FIFO topic its group and deduplication id too.
        """
        fifo = is_fifo(self.topic or "")
        parameters = _forwarded(_metadata(args), fifo=fifo)
        parameters.pop("MessageSystemAttributes", None)
        if not fifo:
            parameters.pop("MessageGroupId", None)
        return await self.publish(message, **parameters)


def _check_group(kind: str, address: str, parameters: Mapping[str, Any]) -> None:
    if is_fifo(address) and not parameters.get("MessageGroupId"):
        raise ProviderError(
            f"{kind} {bare_name(address)!r} is a FIFO {kind.lower()}: every message needs a group, "
            "publish(message, MessageGroupId=…)."
        )


def _metadata(args: tuple[Any, ...]) -> Mapping[str, Any]:
    """Return the metadata of one message; a batch handler gets a list of them, which none is."""
    return args[0] if args and isinstance(args[0], Mapping) else {}


def _forwarded(metadata: Mapping[str, Any], *, fifo: bool) -> dict[str, Any]:
    """Return what goes along with a message that is passed on, as parameters of SendMessage.

    These are its attributes, its trace header and its group; and for a FIFO target its
    deduplication id or else its message id, so that a message passed on twice is stored once.
    """
    attributes = metadata.get("MessageAttributes") or {}
    parameters = copied_parameters(
        {
            **metadata,
            "MessageAttributes": {
                name: _sqs_attribute(value) for name, value in attributes.items()
            },
        }
    )
    system = metadata.get("Attributes") or {}
    if group := system.get("MessageGroupId"):
        parameters["MessageGroupId"] = group
    if fifo:
        message_id = metadata.get("SQSMessageId") or metadata.get("MessageId")
        if deduplication_id := system.get("MessageDeduplicationId") or message_id:
            parameters["MessageDeduplicationId"] = deduplication_id
    return parameters


def _sqs_attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message attribute as SQS names its parts; SNS's envelope has Type and Value."""
    if "Value" not in attribute:
        return dict(attribute)
    kind, value = str(attribute.get("Type")), attribute["Value"]
    if kind.startswith("Binary"):
        return {"DataType": kind, "BinaryValue": base64.b64decode(value)}
    return {"DataType": kind, "StringValue": value}


def _checked(handler: str, options: dict[str, Any]) -> dict[str, Any]:
    for name in options:
        if name not in clients.CLIENT_OPTIONS:
            raise ConfigurationError(
                f"{handler} has no option {name!r}.{suggestion(name, clients.CLIENT_OPTIONS)}"
            )
    return options


async def _repeated(
    publish: Callable[[Clients, dict[str, Any]], Awaitable[Answer]],
    shared: Clients,
    parameters: dict[str, Any],
) -> Answer:
    for attempt in range(1, _ATTEMPTS):
        try:
            return await publish(shared, parameters)
        except TransientProviderError as error:
            pause = full_jitter(attempt, base=_DELAY, cap=_LONGEST_DELAY)
            logger.warning(
                "publish.repeated attempt=%d: %s",
                attempt,
                error,
                extra={"event": "publish.repeated", "attempt": attempt},
            )
            await asyncio.sleep(max(pause, error.retry_after or 0))
    return await publish(shared, parameters)
