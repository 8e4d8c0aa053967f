"""The source AsyncAPI, 2.x and 3.x: what an application receives becomes queues and models."""

import re
from pathlib import Path

from loafer_kit.scaffold import names
from loafer_kit.scaffold.drafts import Draft
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.sources.asyncapi_operations import Operation, received
from loafer_kit.scaffold.sources.findings import (
    Findings,
    Queue,
    Subscription,
    draft_of,
    whole_number,
)
from loafer_kit.scaffold.sources.nodes import Node
from loafer_kit.scaffold.sources.payloads import Schemas
from loafer_kit.scaffold.sources.references import References

_FORMATS = {**documents.YAML, **documents.JSON}
_SETTINGS = {
    "visibilityTimeout": "visibility_timeout",
    "receiveMessageWaitTime": "wait_time",
}
_QUEUE_KEYS = [*_SETTINGS, "name", "fifoQueue", "redrivePolicy"]
_CONSUMER_KEYS = ["protocol", "endpoint", "name", "rawMessageDelivery"]
_JSON_TYPE = re.compile(r"application/(?:[a-z0-9.-]+\+)?json(?:;.*)?")
_SCHEMA_FORMAT = re.compile(r"application/(?:vnd\.aai\.asyncapi|schema)\b.*")
# The binding's own default, where a redrive policy names no count.
_MAX_RECEIVE_COUNT = 10


def read(path: Path) -> Draft:
    """The draft of what a document's application receives."""
    document = documents.read(path, _FORMATS, what="an AsyncAPI document")
    return draft_of(document, lambda root: _Reader(root).read())


class _Reader:
    """Walks over one document."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._findings = Findings()
        self._references = References(root, self._findings)
        self._models: dict[str, dict[str, str]] = {}
        self._schemas = Schemas(self._references, self._findings, self._models)
        self._received: set[str] = set()

    def read(self) -> Findings:
        self._name()
        for operation in received(self._root, self._references, self._findings):
            self._operation(operation)
        if self._models:
            self._findings.values["payloads"] = self._models
        return self._findings

    def _name(self) -> None:
        title = self._root.at("info", "title")
        name = re.sub(r"[^a-z0-9]+", "-", (title.text or "").lower())[:60].strip("-")
        if name:
            self._findings.values["name"] = name
            self._findings.places["name",] = title.path

    def _operation(self, operation: Operation) -> None:
        described = self._described_queues(operation)
        consumers = self._consumers(operation)
        topic = self._topic(operation)
        if consumers:
            queues = []
            for name, consumer in consumers.items():
                raw = consumer["rawMessageDelivery"].value is True
                self._findings.subscriptions.append(Subscription(topic, name, consumer, raw))
                queues.append(described.get(name, consumer.with_value({"name": name})))
        elif described:
            targets = {self._target(queue) for queue in described.values()}
            queues = [queue for name, queue in described.items() if name not in targets]
        else:
            queues = [self._queue_for(operation.address, operation.channel)]
        if not consumers and self._binding(operation.channel, "sns").is_there:
            self._findings.subscriptions += [
                Subscription(topic, str(queue["name"].value), operation.channel) for queue in queues
            ]
        for queue in queues:
            self._queue(queue, operation)

    def _described_queues(self, operation: Operation) -> dict[str, Node]:
        """The queues that the bindings describe, dead-letter queues too, by their names."""
        places = [
            *self._binding(operation.node, "sqs")["queues"].elements(),
            self._binding(operation.channel, "sqs")["queue"],
        ]
        queues = [self._references.follow(place) for place in places]
        return {str(queue["name"].value): queue for queue in queues if queue.is_there}

    def _binding(self, node: Node, protocol: str) -> Node:
        """The binding of an operation or a channel, or of one of its traits."""
        traits = [self._references.follow(trait) for trait in node["traits"].elements()]
        for place in (node, *traits):
            binding = self._references.down(place, "bindings", protocol)
            if binding.is_there:
                return binding
        return Node(None, (*node.path, "bindings", protocol))

    def _consumers(self, operation: Operation) -> dict[str, Node]:
        """The subscriptions whose endpoint is a queue, by the queue's name."""
        found: dict[str, Node] = {}
        for place in self._binding(operation.node, "sns")["consumers"].elements():
            consumer = self._references.follow(place)
            if consumer["protocol"].value != "sqs":
                protocol = names.shown(str(consumer["protocol"].value))
                self._findings.note(consumer, f"is subscribed by {protocol}, not by a queue")
                continue
            name = _identified(self._endpoint(consumer))
            if name:
                found[name] = consumer
                self._findings.left_out(consumer, _CONSUMER_KEYS)
            else:
                self._findings.problem(consumer, "has no endpoint with a name or an arn")
        return found

    def _endpoint(self, consumer: Node) -> Node:
        """The binding's own examples write the endpoint's name beside the word."""
        endpoint = self._references.follow(consumer["endpoint"])
        return endpoint if endpoint.is_there else consumer

    def _topic(self, operation: Operation) -> str:
        return (
            _identified(self._references.down(self._binding(operation.node, "sns"), "topic"))
            or self._binding(operation.channel, "sns")["name"].text
            or _queue_name(operation.address)
        )

    def _queue_for(self, address: str, node: Node) -> Node:
        """The queue of a channel that has no binding for SQS."""
        name = _queue_name(address)
        self._findings.note(node, f"has no binding for SQS: its queue is called {name}")
        return node.with_value({"name": name})

    def _queue(self, queue: Node, operation: Operation) -> None:
        name = str(queue["name"].value)
        if name in self._received:
            message = f"{names.shown(name)} has its handler from another operation already"
            self._findings.note(operation.node, message)
            return
        self._received.add(name)
        settings = {"name": queue["name"]} | {
            key: whole_number(queue[word]) for word, key in _SETTINGS.items() if word in queue
        }
        if queue["fifoQueue"].value is True:
            settings["fifo"] = queue["fifoQueue"]
        settings |= self._redrive(queue) | self._handler(operation)
        payload = self._payload(operation)
        if payload is not None:
            settings["payload"] = payload
        self._findings.queues.append(Queue(name, queue, settings))
        self._findings.left_out(queue, _QUEUE_KEYS)

    def _target(self, queue: Node) -> str | None:
        return _identified(self._references.down(queue, "redrivePolicy", "deadLetterQueue"))

    def _redrive(self, queue: Node) -> dict[str, Node]:
        policy = self._references.down(queue, "redrivePolicy")
        target = self._target(queue)
        if target is None:
            return {}
        count = policy["maxReceiveCount"]
        return {
            "dead_letter_queue": policy.with_value(target),
            "max_receive_count": (
                whole_number(count) if count.is_there else count.with_value(_MAX_RECEIVE_COUNT)
            ),
        }

    def _handler(self, operation: Operation) -> dict[str, Node]:
        """The operation's name as a function's, where it can be one that is still free."""
        name = names.snake_case(operation.name or "")
        taken = {queue.settings.get("handler", Node(None)).value for queue in self._findings.queues}
        if not name or names.function(name) or name in taken:
            return {}
        return {"handler": operation.node.with_value(name)}

    def _payload(self, operation: Operation) -> Node | None:
        """The model of an operation's message, when it has a single one in JSON."""
        if len(operation.messages) != 1:
            if operation.messages:
                self._findings.note(
                    operation.node, "has several messages: the handler takes what is decoded"
                )
            return None
        message = self._references.follow(operation.messages[0])
        schema = message["payload"]
        format_ = message["schemaFormat"]
        if "schemaFormat" in self._references.follow(schema):
            wrapper = self._references.follow(schema)
            format_, schema = wrapper["schemaFormat"], wrapper["schema"]
        content = message["contentType"].text or self._root["defaultContentType"].text
        if not _JSON_TYPE.fullmatch(content or "application/json"):
            self._findings.note(message, f"is {names.shown(str(content))}: not decoded as such")
            return None
        if format_.is_there and not _SCHEMA_FORMAT.fullmatch(str(format_.value)):
            self._findings.note(format_, "is no JSON Schema: the handler takes what is decoded")
            return None
        if not schema.is_there:
            return None
        is_listed = len(message.path) > 1 and message.path[-2] == "messages"
        hint = message["name"].text or str(message.path[-1] if is_listed else operation.address)
        name = self._schemas.payload(schema, hint)
        return None if name is None else schema.with_value(name)


def _identified(identifier: Node) -> str | None:
    """The name in an identifier of the bindings; an ARN ends with it."""
    arn = identifier["arn"].text
    return arn.rpartition(":")[2] if arn else identifier["name"].text


def _queue_name(address: str) -> str:
    """A queue's name like a channel's address."""
    stem = re.sub(r"[^A-Za-z0-9_]+", "-", address.removesuffix(".fifo"))[:75].strip("-")
    return (stem or "messages") + (".fifo" if address.endswith(".fifo") else "")
