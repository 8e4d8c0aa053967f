"""The variables of the artefacts that `--with` adds: what AWS holds for a service, and its permissions.

Queues and topics that the spec names are created; those given by URL or ARN exist already. The
policies of all templates come from `statements`; a test compares them with the requests of a running
service.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from loafer_kit.scaffold.spec.fields import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_CONCURRENCY,
    DEFAULT_HANDLER_TIMEOUT,
    DEFAULT_VISIBILITY_TIMEOUT,
    FIFO,
    SUBSCRIPTION,
    Field,
    Value,
)
from loafer_kit.scaffold.spec.names import fill, fixed_part
from loafer_kit.scaffold.spec.specs import Parameter, QueueSpec, ServiceSpec

Context = dict[str, Any]

_ACCOUNT = re.compile(r"[0-9]{12}")
_AWS_HOST = re.compile(r"sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")

#: SQS limits the source queues that a redrive-allow policy names.
MOST_SOURCES = 10
FIND = "sqs:GetQueueUrl"
# IAM has no actions for batches: DeleteMessage allows DeleteMessageBatch, and so on.
CONSUME = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
)
DEAD_LETTER = ("sqs:SendMessage",)

# Seconds that a message may wait before another task is worth its cost.
_ACCEPTABLE_WAIT = 60
# Seconds to handle a message if its limit is the default; the templates call it a guess.
_ASSUMED_HANDLING = 1.0
# SQS limits the messages of a queue that are in flight.
_MOST_IN_FLIGHT = 120_000
# Seconds within which a service stops: its grace time, and some to settle and close.
STOP = 45
_LEAST_ALARM_AGE = 300
# The longest name that Kubernetes accepts.
_LONGEST_LABEL = 63
# The boundaries of words in camel case: between `orders` and `Created`, `HTTP` and `Errors`.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


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


def service(spec: ServiceSpec) -> Context:
    """The variables of the artefacts of a service."""
    found = queues(spec)
    known_topics = [topic for topic in topics(found) if not topic.arn]
    words = identifiers(queue.name for queue in found)
    topic_words = identifiers(topic.name for topic in known_topics)
    references = {
        queue.name: words[queue.name] | _reference(queue, spec.stand_ins) for queue in found
    }
    # Lambda needs a longer visibility timeout.
    defaults: dict[str, Value] = {}
    if "lambda" in spec.ships:
        defaults["visibility_timeout"] = spec.least_visibility_timeout
    return {
        "label": _label(spec.name),
        "compose": _compose(spec),
        "stop_seconds": STOP,
        "function_seconds": spec.function_seconds,
        "queues": [
            references[queue.name]
            | _queue(queue, references, defaults)
            | {"topic": _topic(queue.topic, topic_words) if queue.topic else {}}
            for queue in found
        ],
        "topics": [_topic(topic, topic_words) for topic in known_topics if not topic.exists],
        "found_topics": [_topic(topic, topic_words) for topic in known_topics if topic.exists],
        "statements": [
            {"actions": list(actions), "queues": [references[queue.name] for queue in allowed]}
            for actions, allowed in statements(found).items()
        ],
    }


def queues(spec: ServiceSpec) -> tuple[Queue, ...]:
    """Every queue of a service once: first those it consumes, then other dead-letter queues."""
    sources: dict[str, list[QueueSpec]] = {}
    for queue in spec.queues:
        if queue.dead_letter_queue:
            sources.setdefault(queue.dead_letter_queue, []).append(queue)
    senders = {name: tuple(queue.queue_name for queue in found) for name, found in sources.items()}
    consumed = [_consumed(queue, senders.get(queue.queue_name, ())) for queue in spec.queues]
    known = {queue.name for queue in consumed}
    others = (
        _dead_letter_queue(name, found, senders[name])
        for name, found in sources.items()
        if name not in known
    )
    return (*consumed, *others)


def topics(found: Iterable[Queue]) -> tuple[Topic, ...]:
    """Every topic that queues are subscribed to, once."""
    return tuple(dict.fromkeys(queue.topic for queue in found if queue.topic))


def identifiers(of: Iterable[str]) -> Mapping[str, Context]:
    """Each name's `id` for CloudFormation and `label` for Terraform, unique in any case.

    Those of `orders-created.fifo` are OrdersCreated and `orders_created`.
    """
    found: dict[str, Context] = {}
    for name in dict.fromkeys(of):
        words = _words(fixed_part(name).removesuffix(".fifo"))
        taken = {other["id"].lower() for other in found.values()}
        for number in range(1, len(found) + 2):
            numbered = words if number == 1 else [*words, str(number)]
            camel_case = "".join(word[0].upper() + word[1:] for word in numbered)
            if camel_case.lower() not in taken:
                found[name] = {"id": camel_case, "label": "_".join(numbered).lower()}
                break
    return found


def statements(queues: Iterable[Queue]) -> Mapping[tuple[str, ...], list[Queue]]:
    """IAM actions and the queues on which they are allowed: what the service does, nothing else."""
    allowed: dict[tuple[str, ...], list[Queue]] = {}
    for queue in queues:
        found: set[str] = set()
        if queue.spec is not None:
            found.update(CONSUME)
            if not queue.exists:  # of a queue given by URL, the URL is known
                found.add(FIND)
        if queue.dead_letters_of:
            found.update((FIND, *DEAD_LETTER))
        allowed.setdefault(tuple(sorted(found)), []).append(queue)
    return allowed


def backlog(options: Mapping[str, Value]) -> Context:
    """The number of waiting messages for which there should be one task, and what it follows from.

    It is the number that a task handles in a minute. With `at_once` it is the number that a task
    handles at the same time, because that is larger.
    """
    concurrency = int(options.get("concurrency", DEFAULT_CONCURRENCY))
    limit_of_one = options.get("handler_timeout", DEFAULT_HANDLER_TIMEOUT)
    assumed = limit_of_one == DEFAULT_HANDLER_TIMEOUT
    seconds = _ASSUMED_HANDLING if assumed else float(limit_of_one)
    rate_limit = float(options["rate_limit"]) if "rate_limit" in options else None
    rate = concurrency / seconds
    if rate_limit is not None:
        rate = min(rate, rate_limit)
    worked_off = int(min(rate * _ACCEPTABLE_WAIT, _MOST_IN_FLIGHT))
    return {
        "messages": max(worked_off, concurrency),
        "concurrency": concurrency,
        "seconds": f"{seconds:g}",
        "assumed": assumed,
        "at_once": worked_off < concurrency,
        "rate_limit": "" if rate_limit is None else f"{rate_limit:g}",
    }


def alarm_age(options: Mapping[str, Value]) -> int:
    """The age of the oldest message, in seconds, at which the alarm goes off.

    A message ages while it is handled too: one failed attempt does not set off the alarm.
    """
    round_trip = max(
        float(options.get("visibility_timeout", DEFAULT_VISIBILITY_TIMEOUT)),
        float(options.get("handler_timeout", 0)),
    )
    return max(_LEAST_ALARM_AGE, int(2 * round_trip))


def _consumed(queue: QueueSpec, senders: tuple[str, ...]) -> Queue:
    exists = queue.name != queue.queue_name
    region, account = _place(queue.name) if exists else (None, None)
    return Queue(
        name=queue.queue_name,
        spec=queue,
        exists=exists,
        region=region,
        account=account,
        dead_letter_queue=queue.dead_letter_queue,
        topic=_topic_of(queue) if queue.topic and not exists else None,
        dead_letters_of=senders,
    )


def _topic_of(queue: QueueSpec) -> Topic:
    topic = str(queue.topic)
    if topic.startswith("arn:"):
        return Topic(topic.rpartition(":")[2], topic, exists=True)
    return Topic(topic, exists=not queue.creates_topic)


def _dead_letter_queue(name: str, sources: list[QueueSpec], senders: tuple[str, ...]) -> Queue:
    """A dead-letter queue; that of an existing queue exists as well, in the same region."""
    elsewhere = [source.name for source in sources if source.name != source.queue_name]
    region = _place(elsewhere[0])[0] if elsewhere else None
    return Queue(name, exists=bool(elsewhere), region=region, dead_letters_of=senders)


def _place(url: str) -> tuple[str | None, str | None]:
    """The region and the account in a queue's URL; None for what it does not contain."""
    parts = urlsplit(url)
    host = _AWS_HOST.fullmatch(parts.netloc)
    account = parts.path.split("/")[1]
    return host and host["region"], account if _ACCOUNT.fullmatch(account) else None


def _words(name: str) -> list[str]:
    """The words of a name; the first begins with a letter."""
    parts = re.findall(r"[A-Za-z0-9]+", name)
    words = [word for part in parts for word in _HUMP.split(part)] or ["Unnamed"]
    if len(words) > 1 and words[-1].lower() == "queue":
        del words[-1]
    return words if words[0][0].isalpha() else ["The", *words]


def _label(name: str) -> str:
    """The project's name as Kubernetes and CloudFormation accept it: a letter first."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower())
    label = words if words[0].isalpha() else f"service-{words}"
    return label[:_LONGEST_LABEL].strip("-")


def _compose(spec: ServiceSpec) -> Context:
    """The parameters as compose.yaml gives them to the service, and the queues with them."""
    values = {
        parameter.name: f"${{{parameter.name}:{_or_else(parameter)}}}"
        for parameter in spec.parameters
    }
    queues = [
        {
            "shown": queue.queue_name,
            "topic": queue.topic or "",
            "dead_letter_queue": queue.dead_letter_queue or "",
            "max_receive_count": queue.max_receive_count or 0,
            "attributes": _unfilled(queue.attribute_texts(FIFO)),
            "subscription": _unfilled(queue.attribute_texts(SUBSCRIPTION)),
        }
        for queue in spec.filled(values).queues
    ]
    return {"environment": values, "queues": queues}


def _unfilled(attributes: Mapping[str, str]) -> Mapping[str, str]:
    """Texts in which compose fills in no variable."""
    return {name: text.replace("$", "$$") for name, text in attributes.items()}


def _or_else(parameter: Parameter) -> str:
    return f"?set {parameter.name}" if parameter.default is None else f"-{parameter.default}"


def _reference(queue: Queue, stand_ins: Mapping[str, str]) -> Context:
    """What other resources say of a queue."""
    # The ARN is an argument of CloudFormation's `Sub`.
    region = queue.region or "${AWS::Region}"
    account = queue.account or "${AWS::AccountId}"
    return {
        "name": queue.name,
        "shown": fill(queue.name, stand_ins),
        "address": fill(queue.spec.name, stand_ins) if queue.spec else "",
        "arn": f"arn:${{AWS::Partition}}:sqs:{region}:{account}:{queue.name}",
        "exists": queue.exists,
        "region": queue.region or "",
        "account": queue.account or "",
        "fifo": queue.fifo,
    }


def _queue(
    queue: Queue, references: Mapping[str, Context], defaults: Mapping[str, Value]
) -> Context:
    """What a queue has beside its reference; `defaults` are options of queues that are consumed."""
    options = {**defaults, **queue.spec.options} if queue.spec else {}
    count = queue.spec.max_receive_count if queue.spec else None
    return {
        "consumed": queue.spec is not None,
        "visibility_timeout": options.get("visibility_timeout"),
        "wait_time": options.get("wait_time"),
        "attributes": _attributes(queue, FIFO),
        "subscription": _attributes(queue, SUBSCRIPTION),
        "dead_letter_queue": references.get(queue.dead_letter_queue or "", {}),
        "max_receive_count": count or 0,
        "holds_dead_letters": bool(queue.dead_letters_of),
        "redrive_sources": [references[name] for name in queue.redrive_sources],
        "batch_size": options.get("batch_size", DEFAULT_BATCH_SIZE),
        "alarm_age": alarm_age(options),
        "backlog": backlog(options),
    }


def _attributes(queue: Queue, rows: Sequence[Field]) -> list[Context]:
    """The attributes of a queue or its subscription, under AWS's names and under Terraform's."""
    found = queue.spec.attributes if queue.spec else {}
    return [
        {
            "name": row.attribute,
            "label": row.name,
            "value": json.loads(str(value)) if row.kind == "object" else value,
        }
        for row in rows
        if (value := found.get(row.name)) is not None
    ]


def _topic(topic: Topic, words: Mapping[str, Context]) -> Context:
    here = "arn:${AWS::Partition}:sns:${AWS::Region}:${AWS::AccountId}"
    return {
        "name": topic.name,
        **({"id": "", "label": ""} if topic.arn else words[topic.name]),
        "arn": topic.arn or "",
        "exists": topic.exists,
        "sub": topic.arn or f"{here}:{topic.name}",  # an argument of `Sub`
        "region": topic.region or "",
        "fifo": topic.fifo,
    }
