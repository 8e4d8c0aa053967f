"""Queues on a local server: made from plain data, filled, looked at, removed."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit.local.clients import Clients, ServiceError
from loafer_kit.local.environments import DEFAULT_REGION
from loafer_kit.local.messages import Details, message_parameters, publish_parameters


@dataclass(frozen=True, slots=True)
class LocalQueue:
    """What to create: a queue, its dead-letter queue, and the topic it is subscribed to.

    A name that ends in `.fifo` makes a FIFO queue. `topic` is a name or an ARN;
    `visibility_timeout` is in seconds.
    """

    name: str
    topic: str | None = None
    dead_letter_queue: str | None = None
    max_receive_count: int = 5
    visibility_timeout: int | None = None


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
        for item in queues:
            queue = LocalQueue(item) if isinstance(item, str) else item
            attributes = {}
            if queue.visibility_timeout is not None:
                attributes["VisibilityTimeout"] = str(queue.visibility_timeout)
            if queue.dead_letter_queue:
                self._create(queue.dead_letter_queue, {})
                attributes["RedrivePolicy"] = self._redrive_policy(queue)
            self._create(queue.name, attributes)
            if queue.topic:
                self._subscribe(queue.name, queue.topic)

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
        details = Details(group=group, attributes=attributes or {}, delay=delay)
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
        details = Details(group=group, attributes=attributes or {})
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
        answer = self._clients.call(
            "sqs",
            "get_queue_attributes",
            QueueUrl=self.queue_url(queue),
            AttributeNames=["All"],
        )
        return dict(answer["Attributes"])

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
        return str(self._clients.call("sqs", "get_queue_url", QueueName=queue)["QueueUrl"])

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

    def _create(self, name: str, attributes: Mapping[str, str]) -> None:
        fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        try:
            self._clients.call(
                "sqs",
                "create_queue",
                QueueName=name,
                Attributes={**attributes, **(fifo if name.endswith(".fifo") else {})},
            )
        except ServiceError as error:
            # It exists with other attributes; SQS's own name for that, then its query protocol's.
            if error.code.rpartition(".")[2] not in {"QueueNameExists", "QueueAlreadyExists"}:
                raise

    def _redrive_policy(self, queue: LocalQueue) -> str:
        policy = {
            "deadLetterTargetArn": self.queue_arn(queue.dead_letter_queue or ""),
            "maxReceiveCount": queue.max_receive_count,
        }
        return json.dumps(policy)

    def _subscribe(self, queue: str, topic: str) -> None:
        self._clients.call(
            "sns",
            "subscribe",
            TopicArn=create_topic(self._clients, topic),
            Protocol="sqs",
            Endpoint=self.queue_arn(queue),
        )


def create_topic(clients: Clients, topic: str) -> str:
    """Create a topic, named or given by its ARN, unless it exists; return its ARN."""
    name = topic.rpartition(":")[2]
    attributes = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
    return str(clients.call("sns", "create_topic", Name=name, Attributes=attributes)["TopicArn"])


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)
