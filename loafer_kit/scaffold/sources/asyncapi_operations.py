"""The operations of an AsyncAPI document that receive, with their bindings for SQS and SNS.

Parameters in names, `{env}`, become those of a spec, `${ENV}`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources.documents import Node, References
from loafer_kit.scaffold.sources.import_results import (
    ImportResult,
    Keys,
    keys,
    parameter,
    queue_keys,
)
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import Field
from loafer_kit.scaffold.spec.specs import Parameter

# SQS allows 80 characters, `.fifo` among them.
_LONGEST_STEM = 75
_PLACE_ON_AWS = re.compile(r"arn:[^:]*:s[qn]s:[^:]*:[^:]*:|https?://[^/]*\bsqs\b[^/]*/[^/]*/")
_REFERENCE = re.compile(f"({names.WHOLE_REFERENCE.pattern})")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that receives: its name, its channel and the messages."""

    name: str | None
    node: Node
    channel: Node
    address: str
    messages: list[Node]


def received(
    root: Node, references: References, result: ImportResult, parameters: "Parameters"
) -> list[Operation]:
    """The operations that receive; a problem if there are none."""
    version = root["asyncapi"]
    reader = _READERS.get(str(version.value)[:1])
    if reader is None:
        message = f"must be a version 2.x or 3.x, not {quoted(str(version.value))}"
        result.problem(version, message)
        return []
    read, word = reader
    found = [
        replace(operation, address=parameters.filled(operation.address))
        for operation in read(root, references, result)
    ]
    if not found:
        result.problem(root, f"receives nothing: there is no {word}")
    return found


def _version_2(root: Node, references: References, result: ImportResult) -> Iterator[Operation]:
    """Version 2 calls it `publish` when others send and the application receives."""
    for address, place in root["channels"].items():
        channel = references.follow(place)
        if "subscribe" in channel:
            result.note(channel["subscribe"], _SENDS)
        elif "publish" not in channel:
            result.note(channel, _UNUSED)
        if "publish" in channel:
            node = references.follow(channel["publish"])
            message = references.down(node, "message")
            messages = list(message["oneOf"].elements()) or [message]
            yield Operation(node["operationId"].text, node, channel, address, messages)


def _version_3(root: Node, references: References, result: ImportResult) -> Iterator[Operation]:
    used: set[object] = set()
    for name, place in root["operations"].items():
        node = references.follow(place)
        used.add(str(node["channel"]["$ref"].value))
        if node["action"].value != "receive":
            result.note(node, _SENDS)
            continue
        channel = references.down(node, "channel")
        used.add(channel.path)
        key = str(channel.path[-1]) if channel.path else name
        messages = list(node["messages"].elements())
        messages = messages or [item for _, item in channel["messages"].items()]
        address = channel["address"].text or key
        yield Operation(name, node, channel, address, messages)
    for name, place in root["channels"].items():
        reference = "#/channels/" + name.replace("~", "~0").replace("/", "~1")
        if used.isdisjoint([place.path, reference, str(place["$ref"].value)]):
            result.note(place, _UNUSED)


_SENDS = "sends: left to the handlers"
_UNUSED = "is left out: no operation uses it"
_READERS = {
    "2": (_version_2, "`publish`"),
    "3": (_version_3, "operation with `action: receive`"),
}


# Bindings of other protocols are not supported.
_BINDINGS = keys("sns sqs")
_SQS_CHANNEL = keys("bindingVersion deadLetterQueue queue")
_SQS_OPERATION = keys("bindingVersion queues")
_SNS_CHANNEL = keys("bindingVersion name")
_SNS_OPERATION = keys("bindingVersion consumers topic")
# `displayName` is for SMS.
_CONSUMER = keys(
    "displayName endpoint filterPolicy filterPolicyScope name protocol rawMessageDelivery"
)


def _key(row: Field) -> str:
    """How a binding names an attribute of AWS: `FilterPolicy` is `filterPolicy`."""
    return str(row.attribute)[0].lower() + str(row.attribute)[1:]


QUEUE, DEAD_LETTER_QUEUE = queue_keys(
    "fifoQueue name",
    "receiveMessageWaitTime redrivePolicy visibilityTimeout",
    _key,
    deliveryDelay="0",
    messageRetentionPeriod="345600",
    receiveMessageWaitTime="0",
    visibilityTimeout="30",
)
REDRIVE_POLICY = keys("deadLetterQueue maxReceiveCount")


class Bindings:
    """Reads the bindings of one operation, and notes their unsupported keys."""

    def __init__(self, operation: Operation, references: References, result: ImportResult) -> None:
        self._references = references
        self._result = result
        self._address = operation.address
        self._sqs = self._binding(operation.node, "sqs", _SQS_OPERATION)
        self._sns = self._binding(operation.node, "sns", _SNS_OPERATION)
        self._channel = self._binding(operation.channel, "sqs", _SQS_CHANNEL)
        #: The topic of the channel, and the name or ARN that the operation gives it.
        self.topic = self._binding(operation.channel, "sns", _SNS_CHANNEL)
        self.identifier = references.down(self._sns, "topic")
        self.queue = references.down(self._channel, "queue")
        self.dead_letter_queue = references.down(self._channel, "deadLetterQueue")
        places = [references.follow(place) for place in self._sqs["queues"].elements()]
        places += [self.queue, self.dead_letter_queue]
        #: All queues of the bindings, with dead-letter queues.
        self.described = [queue for queue in places if queue.is_there]

    def _binding(self, node: Node, protocol: str, known: Keys) -> Node:
        """The binding of an operation or a channel, or of one of its traits."""
        found = Node(None, (*node.path, "bindings", protocol))
        for place in with_traits(node, self._references):
            bindings = self._references.down(place, "bindings")
            self._result.note_unsupported(bindings, _BINDINGS)
            binding = self._references.down(bindings, protocol)
            if found.is_there and binding.is_there:
                self._result.note(binding, "is left out: another binding takes precedence")
            elif binding.is_there:
                self._result.note_unsupported(binding, known)
                found = binding
        return found

    def named(self) -> dict[str, Node]:
        """All queues by their names; the first of a name takes precedence."""
        return {str(queue["name"].value): queue for queue in reversed(self.described)}

    def point_to_point(self) -> list[Node]:
        """All queues without the dead-letter queues."""
        targets = {self.target(queue) for queue in self.described}
        return [
            queue
            for queue in self.described
            if queue["name"].text not in targets and queue.path != self.dead_letter_queue.path
        ]

    def consumers(self) -> dict[str, Node]:
        """The subscriptions whose endpoint is a queue, by the queue's name."""
        found: dict[str, Node] = {}
        for place in self._sns["consumers"].elements():
            consumer = self._references.follow(place)
            if consumer["protocol"].value != "sqs":
                protocol = quoted(str(consumer["protocol"].value))
                self._result.note(consumer, f"is subscribed by {protocol}, not by a queue")
                continue
            endpoint = self._references.follow(consumer["endpoint"])
            # The examples of the binding's own specification have the name beside `endpoint`.
            name = identified(endpoint if endpoint.is_there else consumer)
            if not name:
                name = self.queue["name"].text or queue_name(self._address)
                called = f"the spec calls it {quoted(name)}"
                self._result.note(consumer, f"its queue has no name and no arn: {called}")
            found[name] = consumer
            self._result.note_unsupported(consumer, _CONSUMER)
        return found

    def topic_name(self) -> str | None:
        """The name of the topic, if a binding has it."""
        return identified(self.identifier) or self.topic["name"].text

    def target(self, queue: Node) -> str | None:
        """The name of a queue's dead-letter queue.

        That of a channel's queue is, by default, the dead-letter queue of the channel.
        """
        target = identified(self._references.down(queue, "redrivePolicy", "deadLetterQueue"))
        if target is None and queue.path == self.queue.path:
            return self.dead_letter_queue["name"].text
        return target


def with_traits(node: Node, references: References) -> list[Node]:
    """An operation, a channel or a message, and its traits."""
    return [node, *(references.follow(trait) for trait in node["traits"].elements())]


def identified(identifier: Node) -> str | None:
    """The name in an identifier of the bindings, which is a name or an ARN."""
    arn = identifier["arn"].text
    return arn.rpartition(":")[2] if arn else identifier["name"].text


def queue_name(address: str) -> str:
    """A queue's name made from a channel's address; parameters stay as they are.

    The address may be the URL or the ARN of a queue, or the ARN of a topic.
    """
    address = _PLACE_ON_AWS.sub("", address)
    parts = _REFERENCE.split(address.removesuffix(".fifo"))
    room, stem = _LONGEST_STEM, ""
    for part in parts:
        if _REFERENCE.fullmatch(part):
            stem += part
        else:
            stem += (plain := re.sub(r"[^A-Za-z0-9_]+", "-", part)[:room])
            room -= len(plain)
    return (stem.strip("-") or "messages") + (".fifo" if address.endswith(".fifo") else "")


def attribute(place: Node) -> Callable[[Field], Node]:
    """Finds an attribute of AWS in a binding."""
    return lambda row: place[_key(row)]


_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.-]{1,60})\}")
_PARAMETER = keys("default description examples schema")
# The schema of version 2.
_SCHEMA = keys("default description examples title type")
_BINDING_KEYS = frozenset(["bindings", "channelBindings", "operationBindings"])
_NAMES = frozenset(["name", "arn"])


class Parameters:
    """The parameters of channels and the variables of servers, by the document's names.

    Two of one name are one parameter, with the default of the first.
    """

    def __init__(self, root: Node, references: References, result: ImportResult) -> None:
        self._result = result
        self._found: dict[str, tuple[Node, str]] = {}
        self._parameters: dict[str, Parameter] = {}
        self._used: set[str] = set()
        for name, found, is_of_channel in _declared(root, references):
            place = references.follow(found)
            self._add(name, place, references.follow(place["schema"]), noted=is_of_channel)

    def _add(self, name: str, place: Node, schema: Node, *, noted: bool) -> None:
        default = place["default"].text or schema["default"].text
        if name in self._found:
            _, first = self._found[name]
            if default not in (None, first):
                message = f"its default is left out: another {quoted(name)} has {quoted(first)}"
                self._result.note(place, message)
            return
        self._found[name] = place, default or ""
        if noted:
            self._result.note_unsupported(place, _PARAMETER)
            self._result.note_unsupported(schema, _SCHEMA)
        if made := parameter(name, default, self._parameters.values()):
            self._parameters[name] = made

    def filled(self, text: str) -> str:
        """A name with the spec's parameters; the default of one that cannot be one, with a note."""

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            self._used.add(name)
            if name in self._parameters:
                return f"${{{self._parameters[name].name}}}"
            place, default = self._found.get(name, (None, ""))
            if place is None or not default:
                return match[0]
            message = f"is taken from its default {quoted(default)}: the address has it"
            self._result.note(place, message)
            return default

        return _PLACEHOLDER.sub(fill, text)

    def in_bindings(self, value: object, *, inside: bool = False) -> object:
        """A document whose names within bindings have the spec's parameters."""
        if isinstance(value, list):
            return [self.in_bindings(item, inside=inside) for item in value]
        if not isinstance(value, Mapping):
            return value
        return {
            key: (
                self.filled(item)
                if inside and key in _NAMES and isinstance(item, str)
                else self.in_bindings(item, inside=inside or key in _BINDING_KEYS)
            )
            for key, item in value.items()
        }

    def used_in(self, texts: object) -> list[Parameter]:
        """The parameters that some names take; those of channels that no name takes are noted."""
        for name, (place, _) in self._found.items():
            if name not in self._used and place.path[:1] != ("servers",):
                self._result.note(place, "is left out: no name of a queue or a topic takes it")
        return [item for item in self._parameters.values() if f"${{{item.name}}}" in str(texts)]


def _declared(root: Node, references: References) -> Iterator[tuple[str, Node, bool]]:
    for section, key in (("channels", "parameters"), ("servers", "variables")):
        for _, place in root[section].items():  # noqa: PERF102 - a place has no `values`
            for name, declared in references.follow(place)[key].items():
                yield name, declared, section == "channels"
