"""Blocking requests to SQS and SNS, for tools and tests; queues and topics on a local server."""

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError  # noqa: A004
from botocore.parsers import ResponseParserError
from botocore.session import Session

from loafer_kit.exceptions import ServiceError
from loafer_kit.ext.aws.addresses import bare_name, find_region, region_of
from loafer_kit.ext.aws.limits import SQS_BATCH_SIZE
from loafer_kit.ext.aws.options import message_counts
from loafer_kit.local.servers import ACCESS_KEY_ID, DEFAULT_REGION, SECRET_ACCESS_KEY

#: The message group of a message to a FIFO queue, unless one is given.
DEFAULT_GROUP = "default"

# Where botocore reads each variable from: (configuration key, environment, default, type).
_NO_CONFIGURATION = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


class Clients:
    """One client for each of SQS and SNS.

    `endpoint_url` None means AWS, with the user's configuration; the region is then the one that
    `address`, a queue's URL, names, or the configured one. `region` is for a local server.
    """

    def __init__(
        self, endpoint_url: str | None = None, region: str = DEFAULT_REGION, *, address: str = ""
    ) -> None:
        self.endpoint_url = endpoint_url
        self._region = region
        self._address = address
        self._clients: dict[str, Any] = {}

    @cached_property
    def session(self) -> Any:
        """The botocore session; for a local server it reads no configuration file."""
        return Session(session_vars=None if self.endpoint_url is None else _NO_CONFIGURATION)

    @property
    def options(self) -> dict[str, Any]:
        """The options with which other clients ask the same server."""
        if self.endpoint_url is None:
            return {}
        return {
            "endpoint_url": self.endpoint_url,
            "region_name": self._region,
            "aws_access_key_id": ACCESS_KEY_ID,
            "aws_secret_access_key": SECRET_ACCESS_KEY,
        }

    def aws_region(self) -> str | None:
        """Return the region of requests to AWS."""
        return find_region(self.session, region_of(self._address))

    def call(self, service: str, operation: str, **parameters: Any) -> Any:
        """Return the answer to one operation; raise `ServiceError` of one line."""
        try:
            return getattr(self._client(service), operation)(**parameters)
        except ClientError as error:
            reason = error.response["Error"]
            raise ServiceError(
                f"{_subject(parameters)}{reason.get('Message') or error}", reason.get("Code", "")
            ) from error
        except BotoCoreError as error:
            if self.endpoint_url is not None and isinstance(error, ConnectionError):
                message = f"Nothing answers on {self.endpoint_url}: start a server there"
                raise ServiceError(f"{message}, or name another") from error
            raise ServiceError(f"{_subject(parameters)}{error}") from error
        except ResponseParserError as error:
            raise ServiceError(
                f"{_subject(parameters)}what answered to {operation} is not AWS"
            ) from error

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            try:
                self._clients[service] = self.session.create_client(service, **self._options())
            except ValueError as error:
                raise ServiceError(
                    f"{error}: name a server by its URL, as in http://127.0.0.1:4566"
                ) from error
        return self._clients[service]

    def _options(self) -> dict[str, Any]:
        if self.endpoint_url is None:
            return {"region_name": self.aws_region()}
        return {**self.options, "config": Config(proxies={})}


def _subject(parameters: dict[str, Any]) -> str:
    for name in ("QueueName", "QueueUrl", "TopicArn", "Name"):
        if name in parameters:
            return f"{parameters[name].rpartition('/')[2]}: "
    return ""


@dataclass(frozen=True, slots=True)
class LocalQueue:
    """A queue to create, with its dead-letter queue and the topic it is subscribed to.

    A name that ends in `.fifo` makes a FIFO queue. `topic` is a name or an ARN;
    `visibility_timeout` is in seconds. `attributes` are further ones of the queue, `subscription`
    those of its subscription, both under AWS's names: `{"RawMessageDelivery": "true"}`.
    """

    name: str
    topic: str | None = None
    dead_letter_queue: str | None = None
    max_receive_count: int = 5
    visibility_timeout: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    subscription: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """Everything about a message to send but its body.

    On a FIFO queue the group defaults to `DEFAULT_GROUP`, the deduplication id to a new one.
    `delay` is in seconds.
    """

    group: str | None = None
    deduplication_id: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    delay: int | None = None


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many messages of a queue are visible, in flight with a consumer, and delayed."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """How many messages are not deleted."""
        return self.visible + self.in_flight + self.delayed

    def __str__(self) -> str:
        numbers = (self.visible, self.in_flight, self.delayed)
        words = zip(numbers, ("visible", "in flight", "delayed"), strict=True)
        return " and ".join(f"{number} {word}" for number, word in words if number) or "none"


class LocalQueues:
    """The queues and topics of the server at `url`.

    Every method blocks, and raises `ServiceError` of one line.
    """

    def __init__(self, url: str, region: str = DEFAULT_REGION) -> None:
        self.url = url
        self._clients = Clients(url, region)
        self._urls: dict[str, str] = {}

    def create(self, *queues: LocalQueue | str) -> None:
        """Create queues, with their dead-letter queues and subscriptions.

        A queue that exists already is left as it is.
        """
        for queue in queues:
            self._create(LocalQueue(queue) if isinstance(queue, str) else queue)

    def fresh(self, prefix: str = "queue", *, fifo: bool = False, **options: Any) -> str:
        """Create a queue with a new name, and return the name.

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
        """Send one message and return its id; a body that is not a string is sent as JSON."""
        options = MessageOptions(group=group, attributes=attributes or {}, delay=delay)
        answer = self._clients.call(
            "sqs",
            "send_message",
            QueueUrl=self._url_of(queue),
            **message_parameters(queue, _text(body), options),
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
        options = MessageOptions(group=group, attributes=attributes or {})
        answer = self._clients.call(
            "sns",
            "publish",
            TopicArn=create_topic(self._clients, topic),
            **publish_parameters(topic, _text(body), options),
        )
        return str(answer["MessageId"])

    def counts(self, queue: str) -> QueueCounts:
        """Return how many messages a queue holds now."""
        return QueueCounts(**message_counts(self.attributes(queue)))

    def attributes(self, queue: str) -> dict[str, str]:
        """Return all attributes of a queue, under AWS's names."""
        answer = self._clients.call(
            "sqs",
            "get_queue_attributes",
            QueueUrl=self._url_of(queue),
            AttributeNames=["All"],
        )
        return dict(answer["Attributes"])

    def receive(self, queue: str, *, visibility_timeout: int | None = None) -> list[dict[str, Any]]:
        """Receive up to ten visible messages, in AWS's shape: they are in flight afterwards.

        They stay so for `visibility_timeout` seconds, by default the queue's own.
        """
        timeout = {} if visibility_timeout is None else {"VisibilityTimeout": visibility_timeout}
        answer = self._clients.call(
            "sqs",
            "receive_message",
            QueueUrl=self._url_of(queue),
            MaxNumberOfMessages=SQS_BATCH_SIZE,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
            **timeout,
        )
        return list(answer.get("Messages", []))

    def delete_messages(self, queue: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """Delete messages that `receive` returned."""
        url = self._url_of(queue)
        for message in messages:
            self._clients.call(
                "sqs", "delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
            )

    def make_visible(self, queue: str, receipt_handle: str) -> None:
        """Make a message in flight visible again."""
        self._clients.call(
            "sqs",
            "change_message_visibility",
            QueueUrl=self._url_of(queue),
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=0,
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
        return [*map(bare_name, urls)]

    def delete(self, *queues: str) -> None:
        """Delete queues and their messages."""
        for queue in queues:
            self._clients.call("sqs", "delete_queue", QueueUrl=self._url_of(queue))

    def clear(self) -> None:
        """Delete every queue and every topic of the server."""
        self.delete(*self.names())
        for topic in self._clients.call("sns", "list_topics")["Topics"]:
            self._clients.call("sns", "delete_topic", TopicArn=topic["TopicArn"])

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()

    def _url_of(self, queue: str) -> str:
        """Return the URL that `queue_url` returned first; a request to a deleted queue fails."""
        if queue not in self._urls:
            self._urls[queue] = self.queue_url(queue)
        return self._urls[queue]

    def _create(self, queue: LocalQueue) -> None:
        attributes = dict(queue.attributes)
        topic_arn = create_topic(self._clients, queue.topic) if queue.topic else None
        if topic_arn is not None:
            attributes["Policy"] = json.dumps(_policy(queue.name, topic_arn))
        if queue.visibility_timeout is not None:
            attributes["VisibilityTimeout"] = str(queue.visibility_timeout)
        if queue.dead_letter_queue:
            self._create_one(queue.dead_letter_queue, {})
            policy = {
                "deadLetterTargetArn": self.queue_arn(queue.dead_letter_queue),
                "maxReceiveCount": queue.max_receive_count,
            }
            attributes["RedrivePolicy"] = json.dumps(policy)
        self._create_one(queue.name, attributes)
        if topic_arn is not None:
            self._clients.call(
                "sns",
                "subscribe",
                TopicArn=topic_arn,
                Protocol="sqs",
                Endpoint=self.queue_arn(queue.name),
                Attributes=dict(queue.subscription),
            )

    def _create_one(self, name: str, attributes: Mapping[str, str]) -> None:
        fifo = {"FifoQueue": "true"}
        try:
            self._clients.call(
                "sqs",
                "create_queue",
                QueueName=name,
                Attributes={**attributes, **(fifo if name.endswith(".fifo") else {})},
            )
        except ServiceError as error:
            # It exists with other attributes: the code of SQS's JSON protocol, then of the query one.
            if error.code.rpartition(".")[2] not in {"QueueNameExists", "QueueAlreadyExists"}:
                raise


def message_parameters(queue: str, body: str, options: MessageOptions) -> dict[str, Any]:
    """Return the parameters of SendMessage for one message to `queue`, a name or a URL."""
    parameters = {"MessageBody": body} | _common_parameters(queue, options)
    return parameters if options.delay is None else parameters | {"DelaySeconds": options.delay}


def publish_parameters(topic: str, body: str, options: MessageOptions) -> dict[str, Any]:
    """Return the parameters of Publish for one message to `topic`, a name or an ARN."""
    return {"Message": body} | _common_parameters(topic, options)


def _common_parameters(destination: str, options: MessageOptions) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if options.attributes:
        parameters["MessageAttributes"] = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in options.attributes.items()
        }
    if destination.endswith(".fifo"):
        parameters["MessageGroupId"] = options.group or DEFAULT_GROUP
        parameters["MessageDeduplicationId"] = options.deduplication_id or uuid.uuid4().hex
    elif options.group:
        parameters["MessageGroupId"] = options.group  # a standard queue is fair among groups
    return parameters


def create_topic(clients: Clients, topic: str) -> str:
    """Create a topic (name or ARN) unless it exists, and return its ARN."""
    name = topic.rpartition(":")[2]
    attributes = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
    return str(clients.call("sns", "create_topic", Name=name, Attributes=attributes)["TopicArn"])


def _policy(queue: str, topic_arn: str) -> dict[str, object]:
    """Return the policy that lets a topic send to a queue of the same account; AWS requires it."""
    place = topic_arn.rpartition(":")[0].replace(":sns:", ":sqs:")
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": f"{place}:{queue}",
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)
