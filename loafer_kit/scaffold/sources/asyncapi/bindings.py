"""The bindings of AsyncAPI for SQS and SNS: the queues of an operation and their subscriptions."""

from loafer_kit.scaffold.sources.asyncapi.operations import Operation
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import ImportResult, Keys, keys
from loafer_kit.scaffold.sources.references import References
from loafer_kit.scaffold.spec import names

# Bindings of other protocols are not supported.
_BINDINGS = keys("sns sqs")
_SQS_CHANNEL = keys("deadLetterQueue queue", "bindingVersion")
_SQS_OPERATION = keys("queues", "bindingVersion")
_SNS_CHANNEL = keys("name", "bindingVersion")
_SNS_OPERATION = keys("consumers topic", "bindingVersion")
# `displayName` is for SMS.
_CONSUMER = keys(
    "endpoint name protocol rawMessageDelivery",
    "displayName",
    {"filterPolicyScope": ("messageattributes",)},
)
_QUEUE_DEFAULTS = {
    "deduplicationScope": ("queue",),
    "deliveryDelay": ("0",),
    "fifoThroughputLimit": ("perqueue",),
    "messageRetentionPeriod": ("345600",),
    "receiveMessageWaitTime": ("0",),
    "visibilityTimeout": ("30",),
}
QUEUE = keys(
    "fifoQueue name receiveMessageWaitTime redrivePolicy visibilityTimeout",
    defaults=_QUEUE_DEFAULTS,
)
# The spec has the name of a dead-letter queue only.
DEAD_LETTER_QUEUE = keys("fifoQueue name", defaults=_QUEUE_DEFAULTS)
REDRIVE_POLICY = keys("deadLetterQueue maxReceiveCount")


class Bindings:
    """Reads the bindings of one operation, and notes their unsupported keys."""

    def __init__(self, operation: Operation, references: References, result: ImportResult) -> None:
        self._references = references
        self._result = result
        self._sqs = self._binding(operation.node, "sqs", _SQS_OPERATION)
        self._sns = self._binding(operation.node, "sns", _SNS_OPERATION)
        self._channel = self._binding(operation.channel, "sqs", _SQS_CHANNEL)
        self.topic = self._binding(operation.channel, "sns", _SNS_CHANNEL)
        self.queue = references.down(self._channel, "queue")
        self.dead_letter_queue = references.down(self._channel, "deadLetterQueue")
        places = [references.follow(place) for place in self._sqs["queues"].elements()]
        places += [self.queue, self.dead_letter_queue]
        #: All queues of the bindings, with dead-letter queues.
        self.described = [queue for queue in places if queue.is_there]

    def _binding(self, node: Node, protocol: str, known: Keys) -> Node:
        """The binding of an operation or a channel, or of one of its traits."""
        traits = [self._references.follow(trait) for trait in node["traits"].elements()]
        found = Node(None, (*node.path, "bindings", protocol))
        for place in (node, *traits):
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
                protocol = names.shown(str(consumer["protocol"].value))
                self._result.note(consumer, f"is subscribed by {protocol}, not by a queue")
                continue
            name = identified(self._endpoint(consumer))
            if name:
                found[name] = consumer
                self._result.note_unsupported(consumer, _CONSUMER)
            else:
                self._result.problem(consumer, "has no endpoint with a name or an arn")
        return found

    def _endpoint(self, consumer: Node) -> Node:
        """The examples of the binding's own specification have the name beside `endpoint`."""
        endpoint = self._references.follow(consumer["endpoint"])
        return endpoint if endpoint.is_there else consumer

    def topic_name(self) -> str | None:
        """The name of the topic, if a binding has it."""
        return identified(self._references.down(self._sns, "topic")) or self.topic["name"].text

    def target(self, queue: Node) -> str | None:
        """The name of a queue's dead-letter queue.

        That of a channel's queue is, by default, the dead-letter queue of the channel.
        """
        target = identified(self._references.down(queue, "redrivePolicy", "deadLetterQueue"))
        if target is None and queue.path == self.queue.path:
            return self.dead_letter_queue["name"].text
        return target


def identified(identifier: Node) -> str | None:
    """The name in an identifier of the bindings, which is a name or an ARN."""
    arn = identifier["arn"].text
    return arn.rpartition(":")[2] if arn else identifier["name"].text
