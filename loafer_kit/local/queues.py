"""Queues on a local server: filled, looked at, removed."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit.local.clients import Clients
from loafer_kit.local.creation import (
    LocalQueue,
    create_queue,
    create_topic,
    queue_attributes,
    queue_url,
)
from loafer_kit.local.environments import DEFAULT_REGION
from loafer_kit.local.messages import MessageOptions, message_parameters, publish_parameters


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many messages a queue holds: to be received, with a consumer, and not yet due."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """How many messages are not done with."""
        return self.visible + self.in_flight + self.delayed

    def __str__(self) -> str:
        numbers = (self.visible, self.in_flight, self.delayed)
        words = zip(numbers, ("visible", "in flight", "delayed"), strict=True)
        return " and ".join(f"{number} {word}" for number, word in words if number) or "none"


class LocalQueues:
    """The queues and topics of the server at `url`.

    Every call blocks; every failure is a `ServiceError` of one line.
    """

    def __init__(self, url: str, region: str = DEFAULT_REGION) -> None:
        self.url = url
        self._clients = Clients(url, region)

    def create(self, *queues: LocalQueue | str) -> None:
        """Create queues, with their dead-letter queues and subscriptions.

        A queue that exists already is left as it is.
        """
        for queue in queues:
            create_queue(self._clients, LocalQueue(queue) if isinstance(queue, str) else queue)

    def fresh(self, prefix: str = "queue", *, fifo: bool = False, **options: Any) -> str:
        """Create a queue with a name of its own and return the name.

        `options` are those of `LocalQueue`.
        """
        name = f"{prefix}-{uuid.uuid4().hex[:12]}{'.fifo' if fifo else ''}"
        self.create(LocalQueue(name, **options))
        return name

    def send(
        self,
        queue: str,
        body: Any,
        *,
        group: str | None = None,
        attributes: Mapping[str, str] | None = None,
        delay: int | None = None,
    ) -> str:
        """Send one message and return its id; a body that is no string is sent as JSON."""
        details = MessageOptions(group=group, attributes=attributes or {}, delay=delay)
        answer = self._clients.call(
            "sqs",
            "send_message",
            QueueUrl=self.queue_url(queue),
            **message_parameters(queue, _text(body), details),
        )
        return str(answer["MessageId"])

    def publish(
        self,
        topic: str,
        body: Any,
        *,
        group: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """Publish one message to a topic and return its id; `body` as in `send`."""
        details = MessageOptions(group=group, attributes=attributes or {})
        answer = self._clients.call(
            "sns",
            "publish",
            TopicArn=create_topic(self._clients, topic),
            **publish_parameters(topic, _text(body), details),
        )
        return str(answer["MessageId"])

    def counts(self, queue: str) -> QueueCounts:
        """Return how many messages a queue holds now."""
        attributes = self.attributes(queue)
        return QueueCounts(
            visible=int(attributes["ApproximateNumberOfMessages"]),
            in_flight=int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            delayed=int(attributes["ApproximateNumberOfMessagesDelayed"]),
        )

    def attributes(self, queue: str) -> dict[str, str]:
        """Return all attributes of a queue, under AWS's names."""
        return queue_attributes(self._clients, queue)

    def receive(self, queue: str) -> list[dict[str, Any]]:
        """Receive up to ten visible messages, as AWS shapes them: they are in flight afterwards."""
        answer = self._clients.call(
            "sqs",
            "receive_message",
            QueueUrl=self.queue_url(queue),
            MaxNumberOfMessages=10,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))

    def delete_messages(self, queue: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """Delete messages as `receive` gave them."""
        url = self.queue_url(queue)
        for message in messages:
            self._clients.call(
                "sqs", "delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
            )

    def queue_url(self, queue: str) -> str:
        """Return the URL of a queue that exists."""
        return queue_url(self._clients, queue)

    def queue_arn(self, queue: str) -> str:
        """Return the ARN of a queue that exists."""
        return self.attributes(queue)["QueueArn"]

    def names(self) -> list[str]:
        """Return the names of all queues."""
        urls = self._clients.call("sqs", "list_queues").get("QueueUrls", [])
        return [url.rpartition("/")[2] for url in urls]

    def delete(self, *queues: str) -> None:
        """Delete queues with what they hold."""
        for queue in queues:
            self._clients.call("sqs", "delete_queue", QueueUrl=self.queue_url(queue))

    def clear(self) -> None:
        """Delete every queue and every topic of the server."""
        self.delete(*self.names())
        for topic in self._clients.call("sns", "list_topics")["Topics"]:
            self._clients.call("sns", "delete_topic", TopicArn=topic["TopicArn"])

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)
