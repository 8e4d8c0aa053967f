"""The queues and topics of a spec on AWS, and their identifiers in CloudFormation and Terraform.

Those that the spec names are created; those given by URL or ARN exist already.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from loafer_kit.scaffold.spec.names import fixed_part
from loafer_kit.scaffold.spec.specs import QueueSpec, ServiceSpec

_ACCOUNT = re.compile(r"[0-9]{12}")
_AWS_HOST = re.compile(r"sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")

#: SQS limits the source queues that a redrive-allow policy names.
MOST_SOURCES = 10


@dataclass(frozen=True, slots=True)
class Topic:
    """An SNS topic. One with an `arn` exists; without it, it is in the deployment's account."""

    name: str
    arn: str | None = None
    exists: bool = False

    @property
    def fifo(self) -> bool:
        """Whether the topic keeps order."""
        return self.name.endswith(".fifo")

    @property
    def region(self) -> str | None:
        """The region of a topic that exists."""
        return self.arn.split(":")[3] if self.arn else None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that is consumed as `spec` says, or, without `spec`, a dead-letter queue only.

    `region` and `account` of an existing queue are None if they are those of the deployment.
    """

    name: str
    spec: QueueSpec | None = None
    exists: bool = False
    region: str | None = None
    account: str | None = None
    dead_letter_queue: str | None = None
    topic: Topic | None = None
    dead_letters_of: tuple[str, ...] = ()

    @property
    def fifo(self) -> bool:
        """Whether the queue keeps order."""
        return self.name.endswith(".fifo")

    @property
    def redrive_sources(self) -> tuple[str, ...]:
        """The queues that a redrive-allow policy names; none if it must allow all."""
        return self.dead_letters_of if len(self.dead_letters_of) <= MOST_SOURCES else ()


def queues(spec: ServiceSpec) -> tuple[Queue, ...]:
    """Every queue of a service once: first those it consumes, then other dead-letter queues."""
    sources: dict[str, list[QueueSpec]] = {}
    for queue in spec.queues:
        if queue.dead_letter_queue:
            sources.setdefault(queue.dead_letter_queue, []).append(queue)
    consumed = [_consumed(queue, sources.get(queue.queue_name, [])) for queue in spec.queues]
    known = {queue.name for queue in consumed}
    return (
        *consumed,
        *(_dead_letter_queue(name, users) for name, users in sources.items() if name not in known),
    )


def topics(found: Iterable[Queue]) -> tuple[Topic, ...]:
    """Every topic that queues are subscribed to, once."""
    return tuple(dict.fromkeys(queue.topic for queue in found if queue.topic))


def _consumed(queue: QueueSpec, sources: Iterable[QueueSpec]) -> Queue:
    exists = queue.name != queue.queue_name
    region, account = _place(queue.name) if exists else (None, None)
    return Queue(
        name=queue.queue_name,
        spec=queue,
        exists=exists,
        region=region,
        account=account,
        dead_letter_queue=queue.dead_letter_queue,
        topic=_topic(queue) if queue.topic and not exists else None,
        dead_letters_of=_names_of(sources),
    )


def _dead_letter_queue(name: str, sources: list[QueueSpec]) -> Queue:
    """A dead-letter queue; that of an existing queue exists as well, in the same region."""
    elsewhere = [source.name for source in sources if source.name != source.queue_name]
    return Queue(
        name=name,
        exists=bool(elsewhere),
        region=_place(elsewhere[0])[0] if elsewhere else None,
        dead_letters_of=_names_of(sources),
    )


def _names_of(sources: Iterable[QueueSpec]) -> tuple[str, ...]:
    return tuple(source.queue_name for source in sources)


def _place(url: str) -> tuple[str | None, str | None]:
    """The region and the account in a queue's URL; None for what it does not contain."""
    parts = urlsplit(url)
    host = _AWS_HOST.fullmatch(parts.netloc)
    account = parts.path.split("/")[1]
    return host and host["region"], account if _ACCOUNT.fullmatch(account) else None


def _topic(queue: QueueSpec) -> Topic:
    topic = str(queue.topic)
    if topic.startswith("arn:"):
        return Topic(topic.rpartition(":")[2], topic, exists=True)
    return Topic(topic, exists=not queue.creates_topic)


# The boundaries of words in camel case: between `orders` and `Created`, `HTTP` and `Errors`.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Identifier:
    """The words of a name; the first begins with a letter."""

    words: tuple[str, ...]

    @property
    def camel_case(self) -> str:
        """For CloudFormation: OrdersCreated."""
        return "".join(word[0].upper() + word[1:] for word in self.words)

    @property
    def snake_case(self) -> str:
        """For Terraform: `orders_created`."""
        return "_".join(self.words).lower()


def identifiers(of: Iterable[str]) -> Mapping[str, Identifier]:
    """An identifier for each name, unique in any case: `orders.fifo` becomes Orders."""
    found: dict[str, Identifier] = {}
    for name in dict.fromkeys(of):
        words = _words(fixed_part(name).removesuffix(".fifo"))
        taken = {other.camel_case.lower() for other in found.values()}
        numbers = ("" if n == 1 else str(n) for n in range(1, len(found) + 2))
        free = (Identifier((*words, number) if number else words) for number in numbers)
        found[name] = next(word for word in free if word.camel_case.lower() not in taken)
    return found


def _words(name: str) -> tuple[str, ...]:
    parts = re.findall(r"[A-Za-z0-9]+", name)
    words = [word for part in parts for word in _HUMP.split(part)] or ["Unnamed"]
    if len(words) > 1 and words[-1].lower() == "queue":
        del words[-1]
    return tuple(words) if words[0][0].isalpha() else ("The", *words)
