"""Sending for `loafer-kit send`: to the local server that has the queue, otherwise to AWS."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws.limits import SQS_BATCH_BYTES, SQS_BATCH_SIZE
from loafer_kit.ext.aws.requests import answers
from loafer_kit.local import records
from loafer_kit.local.clients import Clients, ServiceError
from loafer_kit.local.queues import (
    MessageOptions,
    create_topic,
    message_parameters,
    publish_parameters,
)


@dataclass(frozen=True, slots=True)
class Destination:
    """A queue and where it is. Messages to a queue with a `topic` are published to the topic."""

    queue: str
    url: str
    place: str
    clients: Clients
    topic: str | None = None

    @property
    def described(self) -> dict[str, str | None]:
        """The destination as JSON output shows it."""
        return {"queue": self.queue, "url": self.url, "topic": self.topic, "place": self.place}

    def __str__(self) -> str:
        via = f" through topic {self.topic}" if self.topic else ""
        return f"{self.queue}{via} on {self.place}"


def find_destination(queue: str) -> Destination:
    """Return the destination of messages to `queue`, a name or a URL.

    A name means the queue of a local server, first of the one that was started last; if none runs,
    of AWS. Raises `ConfigurationError` if a local server runs without the queue, so that a mistyped
    name does not send a test message to production; and if AWS is not configured.
    """
    if "/" in queue:
        return _at_url(queue)
    refusals = []
    for record in records.running():
        clients = Clients(record.url)
        try:
            urls = clients.call("sqs", "list_queues").get("QueueUrls", [])
        except ServiceError as error:
            refusals.append(f"{record.url} does not answer ({error})")
            continue
        by_name = {url.rpartition("/")[2]: url for url in urls}
        if queue in by_name:
            place = f"the local server of {record.service} ({record.url})"
            return Destination(queue, by_name[queue], place, clients, record.topics.get(queue))
        names = ", ".join(by_name) or "no queue"
        refusals.append(f"the server of {record.service} ({record.url}) has {names}")
    if refusals:
        raise ConfigurationError(
            f"No local server has a queue {queue!r}: {'; '.join(refusals)}; "
            "to send to AWS while it runs, give the queue's URL"
        )
    return _on_aws(queue)


def _at_url(url: str) -> Destination:
    parts = urlsplit(url)
    queue = parts.path.rpartition("/")[2]
    if parts.hostname in {"127.0.0.1", "localhost"}:
        endpoint = f"{parts.scheme}://{parts.netloc}"
        return Destination(queue, url, endpoint, Clients(endpoint))
    return Destination(queue, url, f"AWS ({parts.netloc})", _aws_clients(url))


def _on_aws(queue: str) -> Destination:
    clients = _aws_clients()
    url = clients.call("sqs", "get_queue_url", QueueName=queue)["QueueUrl"]
    return Destination(queue, url, f"AWS ({urlsplit(url).netloc})", clients)


def _aws_clients(address: str = "") -> Clients:
    from botocore.exceptions import BotoCoreError

    clients = Clients(address=address)
    try:
        credentials = clients.session.get_credentials()
        region = clients.aws_region()
    except BotoCoreError as error:
        raise ConfigurationError(f"AWS cannot be reached: {error}") from error
    if credentials is None:
        raise ConfigurationError(
            "No local server runs and there are no AWS credentials: start `loafer-kit dev` in the"
            " service's folder, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if region is None:
        raise ConfigurationError("AWS needs a region: set AWS_REGION")
    return clients


def send(destination: Destination, bodies: Iterable[str], options: MessageOptions) -> Iterator[str]:
    """Send a message for each of `bodies` in order; yield each message's id when it is sent.

    Raises `ServiceError` for the first message that is refused, or that the answer does not confirm:
    those before it are sent, and maybe some of the nine after it.
    """
    if destination.topic is not None:
        yield from _publish(destination.clients, destination.topic, bodies, options)
        return
    for batch in batches(bodies):
        entries = [
            {"Id": str(position)} | message_parameters(destination.queue, body, options)
            for position, body in enumerate(batch)
        ]
        answer = destination.clients.call(
            "sqs", "send_message_batch", QueueUrl=destination.url, Entries=entries
        )
        failures = answers.unconfirmed(entries, answer, answers.confirms_send)
        failed = {failure["Id"] for failure in failures}
        successes = answer.get("Successful") or ()
        yield from (sent["MessageId"] for sent in successes if sent["Id"] not in failed)
        for failure in failures:
            reason = failure["Message"] or failure["Code"]
            body = batch[int(failure["Id"])]
            raise ServiceError(f"{destination.queue}: {reason}: {body[:60]!r}", failure["Code"])


def batches(bodies: Iterable[str]) -> Iterator[list[str]]:
    """Group bodies into the batches that SendMessageBatch accepts."""
    batch: list[str] = []
    size = 0
    for body in bodies:
        length = len(body.encode())
        if batch and (len(batch) == SQS_BATCH_SIZE or size + length > SQS_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch


def _publish(
    clients: Clients, topic: str, bodies: Iterable[str], options: MessageOptions
) -> Iterator[str]:
    if options.delay is not None:
        raise ConfigurationError(
            f"A message to topic {topic} cannot be delayed: leave the delay out"
        )
    arn = create_topic(clients, topic)
    for body in bodies:
        parameters = publish_parameters(topic, body, options)
        answer = clients.call("sns", "publish", TopicArn=arn, **parameters)
        if not answers.confirms_send(parameters, answer):
            raise ServiceError(f"{topic}: the answer does not confirm the message: {body[:60]!r}")
        yield answer["MessageId"]
