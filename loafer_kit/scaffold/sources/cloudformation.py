"""The source CloudFormation: the queues, topics and subscriptions of a template, SAM's too."""

from collections.abc import Iterator
from pathlib import Path

from loafer_kit.scaffold import names
from loafer_kit.scaffold.drafts import Draft
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.sources.findings import (
    Findings,
    Queue,
    Subscription,
    draft_of,
    last_part,
    most_messages,
    whole_number,
)
from loafer_kit.scaffold.sources.intrinsics import UNKNOWN, Intrinsics
from loafer_kit.scaffold.sources.nodes import Node

_FORMATS = {**documents.YAML_WITH_TAGS, **documents.JSON}
_SETTINGS = {
    "ReceiveMessageWaitTimeSeconds": "wait_time",
    "VisibilityTimeout": "visibility_timeout",
}
_QUEUE_KEYS = [*_SETTINGS, "FifoQueue", "QueueName", "RedrivePolicy"]
_SUBSCRIPTION_KEYS = ["Endpoint", "Protocol", "RawMessageDelivery", "TopicArn"]
_WHEN_DEPLOYED = "is known only when the stack is deployed"


def read(path: Path) -> Draft:
    """The draft of a service for the queues of a template."""
    document = documents.read(path, _FORMATS, what="a CloudFormation template")
    return draft_of(document, lambda root: _Reader(root).read())


class _Reader:
    """Walks over one template."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._findings = Findings()
        self._intrinsics = Intrinsics(root)
        self._settings: dict[str, dict[str, Node]] = {}
        self._nodes: dict[str, Node] = {}

    def read(self) -> Findings:
        others: set[str] = set()
        readers = {
            "AWS::Lambda::EventSourceMapping": self._mapping,
            "AWS::Serverless::Function": self._function,
            "AWS::SNS::Subscription": self._subscription,
            "AWS::SNS::Topic": self._topic,
        }
        resources = list(self._resources())
        for logical_id, resource in resources:
            if resource["Type"].value == "AWS::SQS::Queue":
                self._queue(logical_id, resource)
        for logical_id, resource in resources:
            kind = str(resource["Type"].value)
            if kind in readers:
                readers[kind](logical_id, resource)
            elif kind != "AWS::SQS::Queue":
                others.add(names.shown(kind).strip("'"))
        if others:
            self._findings.note(
                self._root["Resources"], f"not looked at: {', '.join(sorted(others))}"
            )
        for name, settings in self._settings.items():
            self._findings.queues.append(Queue(name, self._nodes[name], settings))
        if not self._findings.queues:
            self._findings.problem(self._root["Resources"], "describes no queue (AWS::SQS::Queue)")
        return self._findings

    def _resources(self) -> Iterator[tuple[str, Node]]:
        for logical_id, resource in self._root["Resources"].items():
            condition = resource["Condition"]
            holds = self._intrinsics.condition(condition.value) if condition.is_there else True
            if holds is False:
                self._findings.note(resource, "is left out: its condition does not hold")
                continue
            if holds is None:
                self._findings.note(condition, _WHEN_DEPLOYED)
            yield logical_id, resource

    def _queue(self, logical_id: str, resource: Node) -> None:
        name = self._intrinsics.name(logical_id)
        if not self._intrinsics.is_named(resource):
            called = names.shown(name).strip("'")
            self._findings.note(resource, f"its name {_WHEN_DEPLOYED}: the spec calls it {called}")
        properties = resource["Properties"]
        settings = {"name": properties["QueueName"].with_value(name)} | {
            key: whole_number(node)
            for word, key in _SETTINGS.items()
            if (node := self._known(properties[word])).is_there
        }
        fifo = properties["FifoQueue"].with_value(
            self._intrinsics.boolean(properties["FifoQueue"].value)
        )
        if fifo.value is True:
            settings["fifo"] = fifo
        self._add(name, resource, settings | self._redrive(properties["RedrivePolicy"]))
        self._findings.left_out(properties, _QUEUE_KEYS)

    def _add(self, name: str, node: Node, settings: dict[str, Node]) -> None:
        self._nodes.setdefault(name, node)
        self._settings.setdefault(name, {}).update(settings)

    def _known(self, node: Node) -> Node:
        """The place with its resolved value, or none where that is not known."""
        value = self._intrinsics.resolve(node.value)
        if isinstance(value, str) and UNKNOWN in value:
            self._findings.note(node, _WHEN_DEPLOYED)
            value = None
        return node.with_value(value)

    def _redrive(self, node: Node) -> dict[str, Node]:
        policy = node.with_value(self._intrinsics.resolve(node.value))
        if not policy.is_there:
            return {}
        target = policy["deadLetterTargetArn"]
        name = last_part(str(target.value))
        if UNKNOWN in name:
            self._findings.note(node, f"the dead-letter queue {_WHEN_DEPLOYED}")
            return {}
        settings = {"dead_letter_queue": target.with_value(name)}
        if policy["maxReceiveCount"].is_there:
            settings["max_receive_count"] = whole_number(policy["maxReceiveCount"])
        return settings

    def _target(self, node: Node) -> str | None:
        """The name of the queue or topic that a place refers to."""
        name = last_part(self._intrinsics.text(node.value))
        if UNKNOWN not in name:
            return name
        self._findings.note(node, f"{_WHEN_DEPLOYED}: left out")
        return None

    def _topic(self, logical_id: str, resource: Node) -> None:
        for place in resource.at("Properties", "Subscription").elements():
            self._subscribe(place, resource.with_value(f":{self._intrinsics.name(logical_id)}"))

    def _subscription(self, _logical_id: str, resource: Node) -> None:
        properties = resource["Properties"]
        self._subscribe(properties, properties["TopicArn"])

    def _subscribe(self, place: Node, topic_node: Node) -> None:
        protocol = self._intrinsics.text(place["Protocol"].value)
        if protocol != "sqs":
            self._findings.note(place, f"delivers by {names.shown(protocol)}, not to a queue")
            return
        topic, queue = self._target(topic_node), self._target(place["Endpoint"])
        if topic and queue:
            raw = self._intrinsics.boolean(place["RawMessageDelivery"].value) is True
            self._findings.subscriptions.append(Subscription(topic, queue, place, raw))
            self._add(queue, place, {})
            self._findings.left_out(place, _SUBSCRIPTION_KEYS)

    def _mapping(self, _logical_id: str, resource: Node) -> None:
        properties = resource["Properties"]
        arn = self._intrinsics.text(properties["EventSourceArn"].value)
        if properties["EventSourceArn"].is_there and ":kinesis:" not in arn:
            self._consume(properties["EventSourceArn"], properties["BatchSize"])

    def _function(self, logical_id: str, resource: Node) -> None:
        for event_id, event in resource.at("Properties", "Events").items():
            properties = event["Properties"]
            if event["Type"].value == "SQS":
                self._consume(properties["Queue"], properties["BatchSize"])
            elif event["Type"].value == "SNS":
                self._sns_event(f"{logical_id}{event_id}Queue", properties)
            else:
                self._findings.note(event, "is no event from a queue")

    def _sns_event(self, queue_id: str, properties: Node) -> None:
        """SAM can put a queue between a topic and a function: its own, or one that is named."""
        through = properties["SqsSubscription"]
        topic = self._target(properties["Topic"])
        if isinstance(through.value, dict):
            queue = self._target(through["QueueArn"])
            if queue:
                self._consume(through["QueueArn"], through["BatchSize"])
        elif self._intrinsics.boolean(through.value) is True:
            queue = queue_id
            self._findings.note(
                through, f"its queue's name {_WHEN_DEPLOYED}: called {names.shown(queue)}"
            )
            self._add(queue, through, {})
        else:
            self._findings.note(properties, "the topic calls the function: there is no queue")
            return
        if topic and queue:
            self._findings.subscriptions.append(Subscription(topic, queue, properties))

    def _consume(self, queue_node: Node, batch_size: Node) -> None:
        """A queue whose messages call a function, perhaps in batches."""
        name = self._target(queue_node)
        if name:
            size = self._known(batch_size)
            self._add(name, queue_node, most_messages(size, self._findings))
