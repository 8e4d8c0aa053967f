"""The source CloudFormation: the queues, topics and subscriptions of a template, SAM's too."""

from pathlib import Path

from loafer_kit.scaffold.sources import aws_keys, documents
from loafer_kit.scaffold.sources.cloudformation import keys as cloudformation_keys
from loafer_kit.scaffold.sources.cloudformation.intrinsics import UNKNOWN, Intrinsics
from loafer_kit.scaffold.sources.cloudformation.resources import WHEN_DEPLOYED, Resources
from loafer_kit.scaffold.sources.findings import (
    ImportResult,
    Queue,
    Subscription,
    draft_of,
    last_part,
    most_messages,
    whole_number,
)
from loafer_kit.scaffold.sources.keys import Keys
from loafer_kit.scaffold.sources.nodes import Node
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.drafts import Draft

_FORMATS = {**documents.YAML_WITH_TAGS, **documents.JSON}
_SETTINGS = {
    "ReceiveMessageWaitTimeSeconds": "wait_time",
    "VisibilityTimeout": "visibility_timeout",
}
_QUEUE = "AWS::SQS::Queue"
_ARN_PARTS = 6


def read(path: Path) -> Draft:
    """The draft of a service for the queues of a template."""
    document = documents.read(path, _FORMATS, what="a CloudFormation template")
    return draft_of(document, lambda root: _Reader(root).read())


class _Reader:
    """Walks over one template."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._findings = ImportResult()
        self._intrinsics = Intrinsics(root)
        self._resources = Resources(root, self._intrinsics, self._findings)
        self._settings: dict[str, dict[str, Node]] = {}
        self._nodes: dict[str, Node] = {}
        self._described: list[tuple[str, Node]] = []
        self._topics: list[tuple[str, Node]] = []

    def read(self) -> ImportResult:
        self._findings.left_out(self._root, cloudformation_keys.TEMPLATE)
        readers = {
            "AWS::Lambda::EventSourceMapping": self._mapping,
            "AWS::Serverless::Function": self._function,
            "AWS::SNS::Subscription": self._subscription,
            "AWS::SNS::Topic": self._topic,
        }
        resources = [(key, item, str(item["Type"].value)) for key, item in self._resources]
        for logical_id, resource, kind in resources:
            if kind == _QUEUE:
                self._queue(logical_id, resource)
        for logical_id, resource, kind in resources:
            if kind in readers:
                readers[kind](logical_id, resource)
        others = {kind for _, _, kind in resources} - {_QUEUE, *readers}
        if others:
            listed = ", ".join(sorted(names.shown(kind).strip("'") for kind in others))
            self._findings.note(self._root["Resources"], f"not looked at: {listed}")
        for name, settings in self._settings.items():
            self._findings.queues.append(Queue(name, self._nodes[name], settings))
        if not self._findings.queues:
            self._findings.problem(self._root["Resources"], f"describes no queue ({_QUEUE})")
        self._left_out()
        return self._findings

    def _left_out(self) -> None:
        """What is known to be a dead-letter queue, or without subscribers, only at the end."""
        others = self._findings.dead_letter_queues()
        for name, properties in self._described:
            keys = aws_keys.DEAD_LETTER_QUEUE if name in others else aws_keys.QUEUE
            self._resources.left_out(properties, keys)
        subscribed = {item.topic for item in self._findings.subscriptions}
        for name, resource in self._topics:
            properties = self._resources.properties(resource)
            if name in subscribed:
                self._resources.left_out(properties, aws_keys.TOPIC)
            else:
                self._findings.note(resource, "is left out: no queue is subscribed to it")

    def _queue(self, logical_id: str, resource: Node) -> None:
        name = self._intrinsics.name(logical_id)
        if not self._intrinsics.is_named(resource):
            called = names.shown(name).strip("'")
            self._findings.note(resource, f"its name {WHEN_DEPLOYED}: the spec calls it {called}")
        properties = self._resources.properties(resource)
        self._described.append((name, properties))
        settings = {"name": properties["QueueName"].with_value(name)} | {
            key: whole_number(node)
            for word, key in _SETTINGS.items()
            if (node := self._resources.known(properties[word])).is_there
        }
        fifo = properties["FifoQueue"].with_value(
            self._intrinsics.boolean(properties["FifoQueue"].value)
        )
        if fifo.value is True:
            settings["fifo"] = fifo
        self._add(name, resource, settings | self._redrive(properties["RedrivePolicy"]))

    def _add(self, name: str, node: Node, settings: dict[str, Node]) -> None:
        self._nodes.setdefault(name, node)
        self._settings.setdefault(name, {}).update(settings)

    def _redrive(self, node: Node) -> dict[str, Node]:
        policy = node.with_value(self._intrinsics.resolve(node.value))
        if not policy.is_there:
            return {}
        self._findings.left_out(policy, aws_keys.REDRIVE_POLICY)
        target = policy["deadLetterTargetArn"]
        name = last_part(str(target.value))
        if UNKNOWN in name:
            self._findings.note(node, f"the dead-letter queue {WHEN_DEPLOYED}")
            return {}
        settings = {"dead_letter_queue": target.with_value(name)}
        if policy["maxReceiveCount"].is_there:
            settings["max_receive_count"] = whole_number(policy["maxReceiveCount"])
        return settings

    def _topic(self, logical_id: str, resource: Node) -> None:
        name = self._intrinsics.name(logical_id)
        self._topics.append((name, resource))
        for place in resource.at("Properties", "Subscription").elements():
            self._subscribe(self._resources.chosen(place), resource.with_value(f":{name}"))

    def _subscription(self, _logical_id: str, resource: Node) -> None:
        properties = self._resources.properties(resource)
        self._subscribe(properties, properties["TopicArn"])

    def _subscribe(self, place: Node, topic_node: Node) -> None:
        if not place.is_there:
            return
        protocol = self._intrinsics.text(place["Protocol"].value)
        if protocol != "sqs":
            self._findings.note(place, f"delivers by {names.shown(protocol)}, not to a queue")
            return
        topic, queue = self._resources.target(topic_node), self._resources.target(place["Endpoint"])
        if topic and queue:
            raw = self._intrinsics.boolean(place["RawMessageDelivery"].value) is True
            self._findings.subscriptions.append(Subscription(topic, queue, place, raw))
            self._add(queue, place, {})
            self._resources.left_out(place, aws_keys.SUBSCRIPTION)

    def _mapping(self, _logical_id: str, resource: Node) -> None:
        properties = self._resources.properties(resource)
        source = properties["EventSourceArn"]
        if not source.is_there or not _is_of_queue(self._intrinsics.text(source.value)):
            self._findings.note(resource, "is left out: it reads no queue")
            return
        self._consume(properties, source, properties["BatchSize"], aws_keys.MAPPING)

    def _function(self, logical_id: str, resource: Node) -> None:
        properties = self._resources.properties(resource)
        readers = len(self._findings.readers)
        for event_id, event in properties["Events"].items():
            self._event(f"{logical_id}{event_id}Queue", event)
        if len(self._findings.readers) > readers:
            self._resources.left_out(properties, cloudformation_keys.FUNCTION)
            globals_ = self._root.at("Globals", "Function")
            self._resources.left_out(globals_, cloudformation_keys.FUNCTION)
        elif not properties["Events"].is_there:
            self._findings.note(resource, "is left out: it has no events")

    def _event(self, queue_id: str, event: Node) -> None:
        properties = event["Properties"]
        self._findings.left_out(event, cloudformation_keys.EVENT)
        if event["Type"].value == "SQS":
            place = properties["Queue"]
            self._consume(properties, place, properties["BatchSize"], aws_keys.MAPPING)
        elif event["Type"].value == "SNS":
            self._sns_event(queue_id, properties)
        else:
            self._findings.note(event, "is no event from a queue")

    def _sns_event(self, queue_id: str, properties: Node) -> None:
        """SAM can put a queue between a topic and a function: its own, or one that is named."""
        through = properties["SqsSubscription"]
        topic = self._resources.target(properties["Topic"])
        if isinstance(through.value, dict):
            keys = cloudformation_keys.SQS_SUBSCRIPTION
            queue = self._consume(through, through["QueueArn"], through["BatchSize"], keys)
        elif self._intrinsics.boolean(through.value) is True:
            queue = queue_id
            self._findings.note(
                through, f"its queue's name {WHEN_DEPLOYED}: called {names.shown(queue)}"
            )
            self._add(queue, through, {})
            self._findings.readers.append((queue, through))
        else:
            self._findings.note(properties, "the topic calls the function: there is no queue")
            return
        self._resources.left_out(properties, cloudformation_keys.SNS_EVENT)
        if topic and queue:
            self._findings.subscriptions.append(Subscription(topic, queue, properties))

    def _consume(self, node: Node, queue_node: Node, batch_size: Node, keys: Keys) -> str | None:
        """The name of a queue whose messages call a function, perhaps in batches."""
        name = self._resources.target(queue_node)
        if name:
            self._resources.left_out(node, keys)
            size = self._resources.known(batch_size)
            self._add(name, queue_node, most_messages(size, self._findings))
            self._findings.readers.append((name, node))
        return name


def _is_of_queue(arn: str) -> bool:
    """Whether an ARN may be a queue's; of one that is not known yet nobody can say."""
    parts = arn.split(":")
    return len(parts) < _ARN_PARTS or parts[2] == "sqs" or UNKNOWN in parts[2]
