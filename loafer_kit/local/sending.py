"""Sending messages, in batches where SQS takes them."""

from collections.abc import Iterable, Iterator

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local.clients import Clients, ServiceError
from loafer_kit.local.creation import create_topic
from loafer_kit.local.destinations import Destination
from loafer_kit.local.messages import MessageOptions, message_parameters, publish_parameters

#: SQS takes so many entries in a batch, and so many bytes in all of them together.
_BATCH_ENTRIES, _BATCH_BYTES = 10, 1024 * 1024


def send(destination: Destination, bodies: Iterable[str], details: MessageOptions) -> Iterator[str]:
    """Send a message for each of `bodies` in order; yield the id of each once it is sent.

    Raises `ServiceError` for the first message that is refused: those before it are sent, and
    perhaps some of the nine after it.
    """
    if destination.topic is not None:
        yield from _publish(destination.clients, destination.topic, bodies, details)
        return
    for batch in batches(bodies):
        entries = [
            {"Id": str(position)} | message_parameters(destination.queue, body, details)
            for position, body in enumerate(batch)
        ]
        answer = destination.clients.call(
            "sqs", "send_message_batch", QueueUrl=destination.url, Entries=entries
        )
        yield from (sent["MessageId"] for sent in answer.get("Successful", []))
        for failure in answer.get("Failed", []):
            reason = failure.get("Message") or failure["Code"]
            body = batch[int(failure["Id"])]
            raise ServiceError(f"{destination.queue}: {reason}: {body[:60]!r}", failure["Code"])


def batches(bodies: Iterable[str]) -> Iterator[list[str]]:
    """Group bodies into what one SendMessageBatch takes."""
    batch: list[str] = []
    size = 0
    for body in bodies:
        length = len(body.encode())
        if batch and (len(batch) == _BATCH_ENTRIES or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch


def _publish(
    clients: Clients, topic: str, bodies: Iterable[str], details: MessageOptions
) -> Iterator[str]:
    if details.delay is not None:
        raise ConfigurationError(f"A message to topic {topic} cannot be delayed: leave it out")
    arn = create_topic(clients, topic)
    for body in bodies:
        parameters = publish_parameters(topic, body, details)
        yield clients.call("sns", "publish", TopicArn=arn, **parameters)["MessageId"]
