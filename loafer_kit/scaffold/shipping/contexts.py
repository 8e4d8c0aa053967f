"""What the templates of shipped artefacts are told about a spec: plain values only."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from loafer_kit.scaffold.shipping import figures, permissions, resources
from loafer_kit.scaffold.shipping.identifiers import Identifier, identifiers
from loafer_kit.scaffold.shipping.resources import Queue, Topic
from loafer_kit.scaffold.spec.artefacts import NAMES
from loafer_kit.scaffold.spec.specs import ServiceSpec

Context = dict[str, Any]

# What Kubernetes takes for a name of anything.
_LONGEST_LABEL = 63


def service(spec: ServiceSpec) -> Context:
    """Which artefacts are wanted, and what AWS is to hold for the service."""
    queues = resources.queues(spec)
    topics = [topic for topic in resources.topics(queues) if not topic.arn]
    words = identifiers(queue.name for queue in queues)
    topic_words = identifiers(topic.name for topic in topics)
    references = {queue.name: _reference(queue, words) for queue in queues}
    return {
        "with": {name: name in spec.ships for name in NAMES},
        "label": _label(spec.name),
        "stop_seconds": figures.STOP,
        "queues": [
            _queue(queue, references) | {"topic": _topic(queue.topic, topic_words)}
            for queue in queues
        ],
        "topics": [_topic(topic, topic_words) for topic in topics],
        "statements": [
            {
                "actions": list(statement.actions),
                "queues": [references[queue.name] for queue in statement.queues],
            }
            for statement in permissions.statements(queues)
        ],
    }


def _label(name: str) -> str:
    """The project's name as Kubernetes and CloudFormation take one: a letter comes first."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower())
    label = words if words[0].isalpha() else f"service-{words}"
    return label[:_LONGEST_LABEL].strip("-")


def _reference(queue: Queue, words: Mapping[str, Identifier]) -> Context:
    """How other resources speak of a queue."""
    return {
        "name": queue.name,
        "id": words[queue.name].camel_case,
        "label": words[queue.name].snake_case,
        "arn": _arn(queue),
        "exists": queue.exists,
        "region": queue.region or "",
        "account": queue.account or "",
        "fifo": queue.fifo,
    }


def _arn(queue: Queue) -> str:
    """A queue's ARN as CloudFormation's Sub takes it."""
    region = queue.region or "${AWS::Region}"
    account = queue.account or "${AWS::AccountId}"
    return f"arn:${{AWS::Partition}}:sqs:{region}:{account}:{queue.name}"


def _queue(queue: Queue, references: Mapping[str, Context]) -> Context:
    options = queue.spec.options if queue.spec else {}
    count = queue.spec.max_receive_count if queue.spec else None
    return references[queue.name] | {
        "consumed": queue.spec is not None,
        "address": queue.spec.name if queue.spec else "",
        "visibility_timeout": options.get("visibility_timeout", 0),
        "dead_letter_queue": references.get(queue.dead_letter_queue or "", {}),
        "max_receive_count": count or 0,
        "holds_dead_letters": bool(queue.dead_letters_of),
        "redrive_sources": _known(queue.redrive_sources, references),
        "alarm_age": figures.alarm_age(options),
        "backlog": _backlog(figures.backlog(options)),
    }


def _known(names: Sequence[str], references: Mapping[str, Context]) -> list[Context]:
    return [references[name] for name in names]


def _backlog(backlog: figures.Backlog) -> Context:
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
        "region": topic.region or "",
        "fifo": topic.fifo,
    }
