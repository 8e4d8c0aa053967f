"""The source Terraform: the JSON that `terraform show -json` prints of a state or of a plan."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
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
from loafer_kit.scaffold.sources.nodes import Node

_LARGEST = 64 * 1024 * 1024
_QUEUE, _TOPIC, _SUBSCRIPTION = "aws_sqs_queue", "aws_sns_topic", "aws_sns_topic_subscription"
_REDRIVE_POLICY, _MAPPING = "aws_sqs_queue_redrive_policy", "aws_lambda_event_source_mapping"
# The provider writes every value. AWS's defaults say nothing, neither here …
_SETTINGS = {
    "receive_wait_time_seconds": ("wait_time", 0),
    "visibility_timeout_seconds": ("visibility_timeout", 30),
}
# … nor where the spec has no word for them.
_UNSAID = {
    "content_based_deduplication": False,
    "delay_seconds": 0,
    "kms_master_key_id": "",
    "max_message_size": 262144,
    "message_retention_seconds": 345600,
}
_WHEN_APPLIED = "is known only when the plan is applied"
_REFERENCE = re.compile(rf"((?:data\.)?(?:{_QUEUE}|{_TOPIC})\.[\w-]+)")


def read(path: Path) -> Draft:
    """The draft of a service for the queues of a state or a plan."""
    document = documents.read(
        path, documents.JSON, what="the output of `terraform show -json`", largest=_LARGEST
    )
    return draft_of(document, lambda root: _Reader(root).read())


@dataclass(frozen=True, slots=True)
class _Resource:
    """A resource: its module's address, its values, and a plan's expressions for them."""

    node: Node
    module: str
    expressions: Node

    @property
    def kind(self) -> str:
        return str(self.node["type"].value)

    @property
    def address(self) -> str:
        return str(self.node["address"].value)

    def __getitem__(self, key: str) -> Node:
        return self.node.at("values", key)


class _Reader:
    """Walks over the resources of one document."""

    def __init__(self, root: Node) -> None:
        planned = root["planned_values"]
        self._top = planned if planned.is_there else root["values"]
        configuration = root.at("configuration", "root_module")
        self._resources = list(_resources(self._top["root_module"], configuration, ""))
        self._findings = Findings()
        self._names: dict[str, str] = {}
        self._queues: dict[str, Queue] = {}

    def read(self) -> Findings:
        for resource in self._of(_QUEUE):
            self._queue(resource)
        for resource in self._of(_TOPIC):
            self._names[resource.address] = self._name(resource)
        for resource in self._of(_QUEUE, _REDRIVE_POLICY):
            self._redrive(resource)
        for resource in self._of(_SUBSCRIPTION):
            self._subscription(resource)
        for resource in self._of(_MAPPING):
            name = self._target(resource, "event_source_arn")
            if name in self._queues:
                size = most_messages(resource["batch_size"], self._findings)
                self._queues[name].settings.update(size)
        known = {_QUEUE, _TOPIC, _SUBSCRIPTION, _REDRIVE_POLICY, _MAPPING}
        others = {item.kind for item in self._resources} - known
        if others:
            listed = ", ".join(names.shown(kind).strip("'") for kind in sorted(others))
            self._findings.note(self._top, f"not looked at: {listed}")
        self._findings.queues = list(self._queues.values())
        if not self._queues:
            self._findings.problem(self._top, f"describes no queue ({_QUEUE})")
        return self._findings

    def _note(self, resource: _Resource, message: str) -> None:
        self._findings.note(resource.node, f"{names.shown(resource.address)}: {message}")

    def _of(self, *kinds: str) -> list[_Resource]:
        return [resource for resource in self._resources if resource.kind in kinds]

    def _name(self, resource: _Resource) -> str:
        given = resource["name"].text
        if given:
            return given
        name = re.sub(r"[^A-Za-z0-9_]+", "-", str(resource.node["name"].value))
        name += ".fifo" if resource["fifo_queue"].value is True else ""
        self._note(resource, f"its name {_WHEN_APPLIED}: the spec calls it {name}")
        return name

    def _queue(self, resource: _Resource) -> None:
        name = self._names[resource.address] = self._name(resource)
        settings = {
            key: whole_number(resource[word])
            for word, (key, default) in _SETTINGS.items()
            if resource[word].value not in (None, default)
        }
        if resource["fifo_queue"].value is True:
            settings["fifo"] = resource["fifo_queue"]
        self._queues.setdefault(name, Queue(name, resource.node, settings))
        unsaid = [
            word for word, default in _UNSAID.items() if resource[word].value not in (None, default)
        ]
        if unsaid:
            self._note(resource, f"the spec does not say: {', '.join(unsaid)}")

    def _redrive(self, resource: _Resource) -> None:
        """A queue's redrive policy, whether it stands there or is a resource of its own."""
        where = resource["redrive_policy"]
        target = self._target(resource, "redrive_policy", "deadLetterTargetArn")
        is_own = resource.kind == _QUEUE
        name = self._names[resource.address] if is_own else self._target(resource, "queue_url")
        if where.text and target is None:
            self._findings.note(where, "is no redrive policy: left out")
        if target is None or name not in self._queues:
            return
        settings = self._queues[name].settings
        settings["dead_letter_queue"] = where.with_value(target)
        if where.is_there:
            count = where.parsed["maxReceiveCount"].value
            settings["max_receive_count"] = whole_number(where.with_value(count))
        else:
            self._note(resource, f"its maxReceiveCount {_WHEN_APPLIED}")

    def _subscription(self, resource: _Resource) -> None:
        protocol = str(resource["protocol"].value)
        if protocol != "sqs":
            message = f"delivers by {names.shown(protocol)}, not to a queue"
            self._note(resource, message)
            return
        topic, queue = self._target(resource, "topic_arn"), self._target(resource, "endpoint")
        if topic is None or queue is None:
            return
        raw = resource["raw_message_delivery"].value is True
        self._queues.setdefault(queue, Queue(queue, resource.node, {}))
        self._findings.subscriptions.append(Subscription(topic, queue, resource.node, raw))
        unsaid = [word for word in ("filter_policy", "redrive_policy") if resource[word].text]
        if unsaid:
            self._note(resource, f"the spec does not say: {', '.join(unsaid)}")

    def _target(self, resource: _Resource, key: str, within: str | None = None) -> str | None:
        """The name of the queue or topic that a value leads to, or a plan's expression for it."""
        value = resource[key]
        if value.is_there:
            arn = value.parsed[within] if within else value
            return last_part(arn.text) if arn.text else None
        expression = resource.expressions[key]
        found = {
            name
            for reference in expression["references"].elements()
            if (match := _REFERENCE.match(str(reference.value)))
            for name in self._named(resource, match[1])
        }
        if len(found) == 1:
            return found.pop()
        if expression.is_there:
            self._note(resource, f"its {key} {_WHEN_APPLIED}: left out")
        return None

    def _named(self, resource: _Resource, reference: str) -> Iterator[str]:
        """The resources of a reference; of several instances that with the same index."""
        address = f"{resource.module}.{reference}" if resource.module else reference
        _, bracket, index = resource.address.removeprefix(resource.module).partition("[")
        for candidate in (address, address + bracket + index):
            if candidate in self._names:
                yield self._names[candidate]
                return


def _resources(module: Node, configuration: Node, address: str) -> Iterator[_Resource]:
    """The resources of a module and of those within it."""
    expressions = {
        str(item["address"].value): item["expressions"]
        for item in configuration["resources"].elements()
    }
    for resource in module["resources"].elements():
        local = str(resource["address"].value).removeprefix(f"{address}.").partition("[")[0]
        yield _Resource(resource, address, expressions.get(local, Node(None)))
    for child in module["child_modules"].elements():
        inner = str(child["address"].value)
        call = inner.removeprefix(f"{address}.").removeprefix("module.").partition("[")[0]
        yield from _resources(child, configuration.at("module_calls", call, "module"), inner)
