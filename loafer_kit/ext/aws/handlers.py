"""SQSHandler and SNSHandler: publish messages, by hand or as the handler of a route."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from loafer_kit.engine.backoff import full_jitter
from loafer_kit.engine.route_options import suggestion
from loafer_kit.exceptions import ConfigurationError, TransientProviderError
from loafer_kit.ext.aws import answers, clients, errors
from loafer_kit.ext.aws.clients import Clients

logger = logging.getLogger(__name__)

#: Returns the text to publish for a message; None: the message is the text.
Encoder = Callable[[Any], str] | None

#: An answer of AWS, with AWS's keys.
Answer = dict[str, Any]

_ATTEMPTS = 3
_DELAY = 0.2
_LONGEST_DELAY = 2.0


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
        self, message: Any, encoder: Encoder = json.dumps, **parameters: Any
    ) -> Answer:
        """Send one message and return SQS's answer.

        `parameters` are those of SendMessage (`DelaySeconds`, `MessageGroupId` …). Raises
        `ProviderError`, for a transient failure after three attempts; `ValueError` without a queue.
        """
        if not self.queue_name:
            raise ValueError(f"{type(self).__name__} has no queue: name one, SQSHandler('orders').")
        body = encoder(message) if encoder else message
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
        """Publish the message of a route; SQS's answer acknowledges it."""
        return await self.publish(message)


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
        self, message: Any, encoder: Encoder = json.dumps, **parameters: Any
    ) -> Answer:
        """Publish one message and return SNS's answer; `parameters` are those of Publish.

        Raises as `SQSHandler.publish` does.
        """
        if not self.topic:
            raise ValueError(f"{type(self).__name__} has no topic: name one, SNSHandler('orders').")
        body = encoder(message) if encoder else message
        async with clients.borrowed(self._client_options, self.topic, "sns") as shared:
            return await _repeated(self._publish, shared, {**json_message(body), **parameters})

    async def _publish(self, shared: Clients, parameters: dict[str, Any]) -> Answer:
        if self._topic_arn is None:
            self._topic_arn = await shared.topic_arn(str(self.topic))
        subject = errors.topic_subject(self._topic_arn)
        parameters = {"TopicArn": self._topic_arn, **parameters}
        answer = await shared.request("sns", "Publish", subject, parameters)
        answers.check_published(answer, parameters, "Publish", subject)
        return answer

    async def handle(self, message: Any, *args: Any) -> Answer:
        """Publish the message of a route; SNS's answer acknowledges it."""
        return await self.publish(message)


def json_message(text: str) -> dict[str, str]:
    """Return the parameters of Publish that send every subscriber the same text."""
    return {"MessageStructure": "json", "Message": json.dumps({"default": text})}


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
            logger.warning("publish.repeated attempt=%d: %s", attempt, error)
            await asyncio.sleep(max(pause, error.retry_after or 0))
    return await publish(shared, parameters)
