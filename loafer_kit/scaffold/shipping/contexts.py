"""The variables of the shipped artefacts: what AWS holds for a service, and its permissions.

The policies of all templates come from `statements`; a test compares it with the requests of a
running service.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit.scaffold.shipping import resources, sizing
from loafer_kit.scaffold.shipping.resources import Identifier, Queue, Topic, identifiers
from loafer_kit.scaffold.spec.fields import DEFAULT_BATCH_SIZE, FIFO, SUBSCRIPTION, Field, Value
from loafer_kit.scaffold.spec.names import REFERENCE
from loafer_kit.scaffold.spec.specs import Parameter, ServiceSpec

Context = dict[str, Any]

# The longest name that Kubernetes accepts.
_LONGEST_LABEL = 63

FIND = "sqs:GetQueueUrl"
# IAM has no actions for batches: DeleteMessage allows DeleteMessageBatch, and so on.
CONSUME = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
)
DEAD_LETTER = ("sqs:SendMessage",)


@dataclass(frozen=True, slots=True)
class Statement:
    """IAM actions, and the queues on which they are allowed."""

    actions: tuple[str, ...]
    queues: tuple[Queue, ...]


def service(spec: ServiceSpec) -> Context:
    """The variables of the artefacts of a service."""
    queues = resources.queues(spec)
    topics = [topic for topic in resources.topics(queues) if not topic.arn]
    words = identifiers(queue.name for queue in queues)
    topic_words = identifiers(topic.name for topic in topics)
    references = {queue.name: _reference(queue, words, spec.stand_ins) for queue in queues}
    return {
        "label": _label(spec.name),
        "compose": _compose(spec),
        "stop_seconds": sizing.STOP,
        "function_seconds": spec.function_seconds,
        "queues": [
            _queue(queue, references, _visibility_timeout(spec))
            | {"topic": _topic(queue.topic, topic_words)}
            for queue in queues
        ],
        "topics": [_topic(topic, topic_words) for topic in topics if not topic.exists],
        "found_topics": [_topic(topic, topic_words) for topic in topics if topic.exists],
        "statements": [
            {
                "actions": list(statement.actions),
                "queues": [references[queue.name] for queue in statement.queues],
            }
            for statement in statements(queues)
        ],
    }


def statements(queues: Iterable[Queue]) -> tuple[Statement, ...]:
    """The fewest statements that allow what the service does, and nothing else."""
    allowed: dict[tuple[str, ...], list[Queue]] = {}
    for queue in queues:
        allowed.setdefault(_actions(queue), []).append(queue)
    return tuple(Statement(names, tuple(found)) for names, found in allowed.items())


def _actions(queue: Queue) -> tuple[str, ...]:
    """The actions of a service on one queue, in alphabetical order."""
    found: set[str] = set()
    if queue.spec is not None:
        found.update(CONSUME)
        if not queue.exists:  # of a queue given by URL, the URL is known
            found.add(FIND)
    if queue.dead_letters_of:
        found.update((FIND, *DEAD_LETTER))
    return tuple(sorted(found))


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


def _reference(
    queue: Queue, words: Mapping[str, Identifier], stand_ins: Mapping[str, str]
) -> Context:
    """The names by which other resources refer to a queue."""

    def shown(text: str) -> str:
        return REFERENCE.sub(lambda found: stand_ins[found["parameter"]], text)

    return {
        "name": queue.name,
        "shown": shown(queue.name),
        "address": shown(queue.spec.name) if queue.spec else "",
        "id": words[queue.name].camel_case,
        "label": words[queue.name].snake_case,
        "arn": _arn(queue),
        "exists": queue.exists,
        "region": queue.region or "",
        "account": queue.account or "",
        "fifo": queue.fifo,
    }


def _arn(queue: Queue) -> str:
    """A queue's ARN as an argument of CloudFormation's `Sub`."""
    region = queue.region or "${AWS::Region}"
    account = queue.account or "${AWS::AccountId}"
    return f"arn:${{AWS::Partition}}:sqs:{region}:{account}:{queue.name}"


def _topic_arn(topic: Topic) -> str:
    """The ARN of a topic that exists in the deployment's account, as an argument of `Sub`."""
    return f"arn:${{AWS::Partition}}:sns:${{AWS::Region}}:${{AWS::AccountId}}:{topic.name}"


def _visibility_timeout(spec: ServiceSpec) -> Mapping[str, Value]:
    """The visibility timeout of consumed queues that set none: Lambda needs a longer one."""
    if "lambda" not in spec.ships:
        return {}
    return {"visibility_timeout": spec.least_visibility_timeout}


def _queue(
    queue: Queue, references: Mapping[str, Context], defaults: Mapping[str, Value]
) -> Context:
    options = {**defaults, **queue.spec.options} if queue.spec else {}
    count = queue.spec.max_receive_count if queue.spec else None
    return references[queue.name] | {
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
        "alarm_age": sizing.alarm_age(options),
        "backlog": _backlog(sizing.backlog(options)),
    }


def _attributes(queue: Queue, rows: Sequence[Field]) -> list[Context]:
    """The attributes of a queue or its subscription, under AWS's names and under Terraform's."""
    found = queue.spec.attributes if queue.spec else {}
    return [
        {"name": row.attribute, "label": row.name, "value": _plain(row, found[row.name])}
        for row in rows
        if row.name in found
    ]


def _plain(row: Field, value: Value) -> object:
    return json.loads(str(value)) if row.kind == "object" else value


def _backlog(backlog: sizing.Backlog) -> Context:
    return {
        "messages": backlog.messages,
        "concurrency": backlog.concurrency,
        "seconds": f"{backlog.seconds:g}",
        "assumed": backlog.assumed,
        "at_once": backlog.at_once,
        "rate_limit": "" if backlog.rate_limit is None else f"{backlog.rate_limit:g}",
    }


def _topic(topic: Topic | None, words: Mapping[str, Identifier]) -> Context:
    if topic is None:
        return {}
    word = None if topic.arn else words[topic.name]
    return {
        "name": topic.name,
        "id": word.camel_case if word else "",
        "label": word.snake_case if word else "",
        "arn": topic.arn or "",
        "exists": topic.exists,
        "sub": topic.arn or _topic_arn(topic),
        "region": topic.region or "",
        "fifo": topic.fifo,
    }
