"""SQSHandler and SNSHandler: publish messages, by hand or as the handler of a route."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from loafer_kit.config import check_names
from loafer_kit.ext.aws.addresses import is_fifo
from loafer_kit.ext.aws.producer import Producer, json_text, order_facts
from loafer_kit.ext.aws.requests import clients
from loafer_kit.ext.aws.requests.transport import copied_parameters

#: Returns the text to publish for a message; None: the message is the text.
Encoder = Callable[[Any], str] | None

#: An answer of AWS, with AWS's keys.
Answer = dict[str, Any]

#: Attempts to publish a message; the message that is handled can be tried again.
_ATTEMPTS = 3


class _Publisher:
    """The common half of both handlers: the producer, made at the first message."""

    def __init__(self, client_options: dict[str, Any]) -> None:
        check_names(type(self).__name__, client_options, clients.CLIENT_OPTIONS)
        self._options = {"attempts": _ATTEMPTS, **client_options}
        self._producer: Producer | None = None

    def _make_producer(self) -> Producer:
        raise NotImplementedError

    async def publish(
        self, message: Any, encoder: Encoder = json_text, **parameters: Any
    ) -> Answer:
        """Send one message and return AWS's answer.

        `parameters` are those of SendMessage (`DelaySeconds`, `MessageGroupId` …) or of Publish.
        Raises `ProviderError`, for a transient failure after three attempts; `ValueError` without a
        queue or a topic.
        """
        if self._producer is None:
            self._producer = self._make_producer()
        body = encoder(message) if encoder else message
        return dict(await self._producer.publish(body, parameters))


class SQSHandler(_Publisher):
    """Publishes to a queue (name, URL or ARN); a subclass may set it: `queue_name = "orders"`.

    As a route's handler it passes each message on. `client_options` are those of boto's client.
    Connections are shared with the service's providers; there is nothing to close.
    """

    queue_name: str | None = None

    def __init__(self, queue_name: str | None = None, **client_options: Any) -> None:
        super().__init__(client_options)
        self.queue_name = queue_name or self.queue_name

    def _make_producer(self) -> Producer:
        if not self.queue_name:
            raise ValueError(f"{type(self).__name__} has no queue: name one, SQSHandler('orders').")
        return Producer(self.queue_name, **self._options)

    async def handle(self, message: Any, *args: Any) -> Answer:
        """Publish the message of a route; SQS's answer acknowledges it.

        Its message attributes, trace header, group and deduplication id go along.
        """
        fifo = is_fifo(self.queue_name or "")
        return await self.publish(message, **_forwarded(_metadata(args), fifo=fifo))


class SNSHandler(_Publisher):
    """Publishes to a topic (name or ARN); a subclass may set it: `topic = "orders"`.

    A name means a topic of the caller's account in the client's region. Otherwise as `SQSHandler`.
    """

    topic: str | None = None

    def __init__(self, topic: str | None = None, **client_options: Any) -> None:
        super().__init__(client_options)
        self.topic = topic or self.topic

    def _make_producer(self) -> Producer:
        if not self.topic:
            raise ValueError(f"{type(self).__name__} has no topic: name one, SNSHandler('orders').")
        return Producer(topic=self.topic, **self._options)

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


def _metadata(args: tuple[Any, ...]) -> Mapping[str, Any]:
    """Return the metadata of one message; a batch handler gets a list of them, which none is."""
    return args[0] if args and isinstance(args[0], Mapping) else {}


def _forwarded(metadata: Mapping[str, Any], *, fifo: bool) -> dict[str, Any]:
    """Return what goes along with a message that is passed on, as parameters of SendMessage.

    These are its attributes, its trace header and what `order_facts` says.
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
    return parameters | order_facts(metadata, fifo=fifo)


def _sqs_attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message attribute as SQS names its parts; SNS's envelope has Type and Value."""
    if "Value" not in attribute:
        return dict(attribute)
    kind, value = str(attribute.get("Type")), attribute["Value"]
    if kind.startswith("Binary"):
        return {"DataType": kind, "BinaryValue": base64.b64decode(value)}
    return {"DataType": kind, "StringValue": value}
