"""Creating queues and topics from plain data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from loafer_kit.local.clients import Clients, ServiceError


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


def create_queue(clients: Clients, queue: LocalQueue) -> None:
    """Create a queue, its dead-letter queue and its subscription; leave what exists as it is."""
    attributes = {}
    topic_arn = create_topic(clients, queue.topic) if queue.topic else None
    if topic_arn is not None:
        attributes["Policy"] = json.dumps(_policy(queue.name, topic_arn))
    if queue.visibility_timeout is not None:
        attributes["VisibilityTimeout"] = str(queue.visibility_timeout)
    if queue.dead_letter_queue:
        _create(clients, queue.dead_letter_queue, {})
        policy = {
            "deadLetterTargetArn": _queue_arn(clients, queue.dead_letter_queue),
            "maxReceiveCount": queue.max_receive_count,
        }
        attributes["RedrivePolicy"] = json.dumps(policy)
    _create(clients, queue.name, attributes)
    if topic_arn is not None:
        clients.call(
            "sns",
            "subscribe",
            TopicArn=topic_arn,
            Protocol="sqs",
            Endpoint=_queue_arn(clients, queue.name),
        )


def create_topic(clients: Clients, topic: str) -> str:
    """Create a topic, named or given by its ARN, unless it exists; return its ARN."""
    name = topic.rpartition(":")[2]
    attributes = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
    return str(clients.call("sns", "create_topic", Name=name, Attributes=attributes)["TopicArn"])


def queue_url(clients: Clients, queue: str) -> str:
    """Return the URL of a queue that exists."""
    return str(clients.call("sqs", "get_queue_url", QueueName=queue)["QueueUrl"])


def queue_attributes(clients: Clients, queue: str) -> dict[str, str]:
    """Return all attributes of a queue, under AWS's names."""
    answer = clients.call(
        "sqs",
        "get_queue_attributes",
        QueueUrl=queue_url(clients, queue),
        AttributeNames=["All"],
    )
    return dict(answer["Attributes"])


def _queue_arn(clients: Clients, queue: str) -> str:
    return queue_attributes(clients, queue)["QueueArn"]


def _policy(queue: str, topic_arn: str) -> dict[str, object]:
    """Let a topic send to a queue beside it, which AWS asks for."""
    place = topic_arn.rpartition(":")[0].replace(":sns:", ":sqs:")
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": f"{place}:{queue}",
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _create(clients: Clients, name: str, attributes: Mapping[str, str]) -> None:
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    try:
        clients.call(
            "sqs",
            "create_queue",
            QueueName=name,
            Attributes={**attributes, **(fifo if name.endswith(".fifo") else {})},
        )
    except ServiceError as error:
        # It exists with other attributes; SQS's own name for that, then its query protocol's.
        if error.code.rpartition(".")[2] not in {"QueueNameExists", "QueueAlreadyExists"}:
            raise
