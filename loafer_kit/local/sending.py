"""Sending for `loafer-kit send`: to a queue or a topic of a local server, otherwise of AWS."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError

from loafer_kit.exceptions import ConfigurationError, ServiceError
from loafer_kit.ext.aws.addresses import bare_name, is_arn, is_url
from loafer_kit.ext.aws.limits import SQS_BATCH_BYTES, SQS_BATCH_SIZE
from loafer_kit.ext.aws.requests.transport import confirms_send, unconfirmed
from loafer_kit.local import servers
from loafer_kit.local.queues import Clients, MessageOptions, message_parameters, publish_parameters
from loafer_kit.local.servers import is_local

#: The variables that name an endpoint; the first that is set counts.
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL")


@dataclass(frozen=True, slots=True)
class Destination:
    """A queue, a topic, or a queue that is reached through its topic; and where they are.

    `queue` is a name, `url` the queue's URL, `topic` the ARN of a topic.
    """

    place: str
    clients: Clients
    queue: str | None = None
    url: str | None = None
    topic: str | None = None

    @property
    def described(self) -> dict[str, str | None]:
        """The destination as JSON output shows it."""
        return {
            "queue": self.queue,
            "url": self.url,
            "topic": bare_name(self.topic) if self.topic else None,
            "place": self.place,
        }

    def __str__(self) -> str:
        topic = f"topic {bare_name(self.topic)}" if self.topic else None
        names = " through ".join(filter(None, (self.queue, topic)))
        return f"{names} on {self.place}"


@dataclass(frozen=True, slots=True)
class Server:
    """A server, and how a person knows it. A local one has no subscribers but the developer's."""

    place: str
    clients: Clients
    is_local: bool = True

    def find(self, name: str) -> Destination | None:
        """Return the queue or else the topic with this name or ARN, if the server has it."""
        if not is_arn(name) and (url := self._queue_url(name)):
            return self.queue(url)
        for topic in self.topics():
            if name in (topic, bare_name(topic)):
                return Destination(self.place, self.clients, topic=topic)
        return None

    def has_queue(self, name: str) -> bool:
        """Return whether a server has a queue; one that does not answer has none."""
        with contextlib.suppress(ServiceError):
            return self._queue_url(name) is not None
        return False

    def queue(self, url: str) -> Destination:
        """Return the destination of messages for a queue.

        A queue to which a topic delivers in SNS's envelope is reached through that topic. Raises
        `ConfigurationError` if that is not a local server: a topic may have other subscribers.
        """
        queue = bare_name(url)
        try:
            topic, policy = next(self._topics_of(url), (None, None))
        except ServiceError:
            doubt = "" if self.is_local else ", which does not tell whether a topic delivers to it"
            return Destination(f"{self.place}{doubt}", self.clients, queue, url)
        if topic is not None and not self.is_local:
            raise ConfigurationError(
                f"{queue} on {self.place} expects SNS's envelope: publish to its topic, which may "
                f"have other subscribers: loafer-kit send {topic}"
            )
        filtered = f", which delivers what the filter policy {policy} matches" if policy else ""
        return Destination(f"{self.place}{filtered}", self.clients, queue, url, topic)

    def names(self) -> str:
        """Return the names of all queues and topics, as text."""
        urls = _pages(self.clients, "sqs", "list_queues", "QueueUrls")
        names = [*map(bare_name, urls), *(f"topic {bare_name(arn)}" for arn in self.topics())]
        return ", ".join(names) or "no queue"

    def topics(self) -> Iterator[str]:
        """Yield the ARN of each topic; none if there is no SNS, or the user may not list them."""
        with contextlib.suppress(ServiceError):
            for topic in _pages(self.clients, "sns", "list_topics", "Topics"):
                yield topic["TopicArn"]

    def _queue_url(self, name: str) -> str | None:
        try:
            return str(self.clients.call("sqs", "get_queue_url", QueueName=name)["QueueUrl"])
        except ServiceError as error:
            if error.code.rpartition(".")[2] in {"NonExistentQueue", "QueueDoesNotExist"}:
                return None
            raise

    def _topics_of(self, url: str) -> Iterator[tuple[str, str | None]]:
        """Yield the topics that deliver to a queue in SNS's envelope, and their filter policies."""
        owner = f":{':'.join(url.split('/')[-2:])}"
        for item in _pages(self.clients, "sns", "list_subscriptions", "Subscriptions"):
            if item["Protocol"] != "sqs" or not item["Endpoint"].endswith(owner):
                continue
            subscription = {"SubscriptionArn": item["SubscriptionArn"]}
            answer = self.clients.call("sns", "get_subscription_attributes", **subscription)
            attributes = answer["Attributes"]
            if attributes.get("RawMessageDelivery") != "true":
                yield item["TopicArn"], attributes.get("FilterPolicy")


def _pages(clients: Clients, service: str, operation: str, key: str) -> Iterator[Any]:
    """Yield the items of every page of a list."""
    token: Mapping[str, str] = {}
    while True:
        answer = clients.call(service, operation, **token)
        yield from answer.get(key, [])
        if not answer.get("NextToken"):
            return
        token = {"NextToken": answer["NextToken"]}


def find_destination(name: str) -> Destination:
    """Return the destination of messages to a queue (name or URL) or a topic (name or ARN).

    A URL says itself where the queue is. A name means the endpoint that the environment names; else
    a local server, first the one that was started last; else AWS. Raises `ConfigurationError` if a
    local server runs without the name, so that a mistyped name does not send a test message to
    production; and if AWS is not configured.
    """
    if is_url(name):
        return server_of(name).queue(name)
    if is_arn(name) and name.split(":")[2] != "sns":
        raise ConfigurationError(f"{name!r} is not the ARN of a topic: give a queue's name or URL")
    variable = _endpoint_variable()
    if variable is not None:
        server = _named_server(variable)
        if found := server.find(name):
            return found
        raise ConfigurationError(
            f"There is no queue or topic {name!r} on {server.place}, which has {server.names()}"
        )
    return _on_local_server(name) or _on_aws(name)


def server_of(url: str) -> Server:
    """Return the server of a queue's URL; nothing is asked of it."""
    parts = urlsplit(url)
    if is_local(url):
        endpoint = f"{parts.scheme}://{parts.netloc}"
        return Server(endpoint, Clients(endpoint))
    if variable := _endpoint_variable():
        return _named_server(variable)
    return Server(f"AWS ({parts.netloc})", _aws_clients(url), is_local=False)


def server_with(queue: str | None = None) -> Server:
    """Return the server that has a queue (name, URL or ARN), by the rule of `find_destination`.

    Without a queue it is the first server of that rule. AWS is not asked whether it has the queue.
    """
    if queue and is_url(queue):
        return server_of(queue)
    if variable := _endpoint_variable():
        return _named_server(variable)
    local = list(_local_servers())
    for server in local:
        if not queue or server.has_queue(bare_name(queue)):
            return server
    if queue and local and not is_arn(queue):
        raise ConfigurationError(
            f"No local server has a queue {queue!r}; to ask AWS while one runs, give the queue's URL"
        )
    clients = _aws_clients(queue or "")
    return Server(f"AWS ({clients.aws_region()})", clients, is_local=False)


def _endpoint_variable() -> str | None:
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return next((name for name in _ENDPOINT_VARIABLES if os.environ.get(name)), None)


def _named_server(variable: str) -> Server:
    endpoint = os.environ[variable]
    local = is_local(endpoint)
    try:
        clients = _aws_clients()
    except ConfigurationError:
        if not local:
            raise
        clients = Clients(endpoint)  # a local server needs neither credentials nor a region
    return Server(f"{endpoint}, which {variable} names", clients, local)


def _on_local_server(name: str) -> Destination | None:
    """Return the destination on a local server; None if no local server runs."""
    refusals = []
    for server in _local_servers():
        try:
            if found := server.find(name):
                return found
            refusals.append(f"the {server.place.removeprefix('the local ')} has {server.names()}")
        except ServiceError as error:
            refusals.append(f"{server.clients.endpoint_url} does not answer ({error})")
    if refusals and not is_arn(name):
        raise ConfigurationError(
            f"No local server has a queue or a topic {name!r}: {'; '.join(refusals)}; to send to AWS "
            "while it runs, give the queue's URL or the topic's ARN"
        )
    return None


def _local_servers() -> Iterator[Server]:
    """Yield the running local servers, the one started last first."""
    for record in servers.running():
        yield Server(f"the local server of {record.service} ({record.url})", Clients(record.url))


def _on_aws(name: str) -> Destination:
    clients = _aws_clients(name)
    region = clients.aws_region()
    server = Server(f"AWS ({region})", clients, is_local=False)
    if is_arn(name):
        return Destination(server.place, clients, topic=name)
    if found := server.find(name):
        return found
    raise ConfigurationError(
        f"There is no queue or topic {name!r} on {server.place}, or these credentials may not see it"
    )


def _aws_clients(address: str = "") -> Clients:
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
    queue = str(destination.queue)
    for batch in batches(bodies):
        entries = [
            {"Id": str(position)} | message_parameters(queue, body, options)
            for position, body in enumerate(batch)
        ]
        answer = destination.clients.call(
            "sqs", "send_message_batch", QueueUrl=destination.url, Entries=entries
        )
        failures = unconfirmed(entries, answer, confirms_send)
        failed = {failure["Id"] for failure in failures}
        successes = answer.get("Successful") or ()
        yield from (sent["MessageId"] for sent in successes if sent["Id"] not in failed)
        for failure in failures:
            reason = failure["Message"] or failure["Code"]
            body = batch[int(failure["Id"])]
            raise ServiceError(f"{queue}: {reason}: {body[:60]!r}", failure["Code"])


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
            f"A message to topic {bare_name(topic)} cannot be delayed: leave the delay out"
        )
    for body in bodies:
        parameters = publish_parameters(topic, body, options)
        answer = clients.call("sns", "publish", TopicArn=topic, **parameters)
        if not confirms_send(parameters, answer):
            raise ServiceError(
                f"{bare_name(topic)}: the answer does not confirm the message: {body[:60]!r}"
            )
        yield answer["MessageId"]
