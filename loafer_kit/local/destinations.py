"""Where `loafer-kit send` sends to: the local server that has the queue, else AWS."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local import records
from loafer_kit.local.clients import Clients, ServiceError


@dataclass(frozen=True, slots=True)
class Destination:
    """A queue and who has it. A queue with a `topic` gets its messages through that."""

    queue: str
    url: str
    place: str
    clients: Clients
    topic: str | None = None

    @property
    def described(self) -> dict[str, str | None]:
        """What a machine is told of it."""
        return {"queue": self.queue, "url": self.url, "topic": self.topic, "place": self.place}

    def __str__(self) -> str:
        via = f" through topic {self.topic}" if self.topic else ""
        return f"{self.queue}{via} on {self.place}"


def find_destination(queue: str) -> Destination:
    """Return where messages to `queue`, a name or a URL, go.

    A name goes to the local server that has the queue, the one started last before the others;
    when none runs, to AWS. Raises `ConfigurationError` when there is neither.
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
        refusals.append(f"the one of {record.service} ({record.url}) has {names}")
    if refusals:
        raise ConfigurationError(
            f"No local server has a queue {queue!r}: {'; '.join(refusals)}; "
            "to send to AWS in the meantime, give the queue's URL"
        )
    return _on_aws(queue)


def _at_url(url: str) -> Destination:
    parts = urlsplit(url)
    queue = parts.path.rpartition("/")[2]
    if parts.hostname in {"127.0.0.1", "localhost"}:
        endpoint = f"{parts.scheme}://{parts.netloc}"
        return Destination(queue, url, endpoint, Clients(endpoint))
    return Destination(queue, url, f"AWS ({parts.netloc})", _aws_clients())


def _on_aws(queue: str) -> Destination:
    clients = _aws_clients()
    url = clients.call("sqs", "get_queue_url", QueueName=queue)["QueueUrl"]
    return Destination(queue, url, f"AWS ({urlsplit(url).netloc})", clients)


def _aws_clients() -> Clients:
    from botocore.exceptions import BotoCoreError

    clients = Clients()
    try:
        credentials = clients.session.get_credentials()
        region = clients.aws_region()
    except BotoCoreError as error:
        raise ConfigurationError(f"AWS cannot be reached: {error}") from error
    if credentials is None:
        raise ConfigurationError(
            "No local server runs, and there are no AWS credentials: start `loafer-kit dev` in the"
            " service's folder, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if region is None:
        raise ConfigurationError("AWS needs a region: set AWS_REGION")
    return clients
