"""The bindings of AsyncAPI for SQS and SNS: the queues of an operation, and who subscribes them."""

from loafer_kit.scaffold.sources.asyncapi import keys as asyncapi_keys
from loafer_kit.scaffold.sources.asyncapi.operations import Operation
from loafer_kit.scaffold.sources.findings import ImportResult
from loafer_kit.scaffold.sources.keys import Keys
from loafer_kit.scaffold.sources.nodes import Node
from loafer_kit.scaffold.sources.references import References
from loafer_kit.scaffold.spec import names


class Bindings:
    """Reads the bindings of one operation, and notes what is left out of them."""

    def __init__(
        self, operation: Operation, references: References, findings: ImportResult
    ) -> None:
        self._references = references
        self._findings = findings
        self._sqs = self._binding(operation.node, "sqs", asyncapi_keys.SQS_OPERATION)
        self._sns = self._binding(operation.node, "sns", asyncapi_keys.SNS_OPERATION)
        self._channel = self._binding(operation.channel, "sqs", asyncapi_keys.SQS_CHANNEL)
        self.topic = self._binding(operation.channel, "sns", asyncapi_keys.SNS_CHANNEL)
        self.queue = references.down(self._channel, "queue")
        self.dead_letter_queue = references.down(self._channel, "deadLetterQueue")
        places = [references.follow(place) for place in self._sqs["queues"].elements()]
        places += [self.queue, self.dead_letter_queue]
        #: The queues that are described, dead-letter queues too.
        self.described = [queue for queue in places if queue.is_there]

    def _binding(self, node: Node, protocol: str, keys: Keys) -> Node:
        """The binding of an operation or a channel, or of one of its traits."""
        traits = [self._references.follow(trait) for trait in node["traits"].elements()]
        found = Node(None, (*node.path, "bindings", protocol))
        for place in (node, *traits):
            bindings = self._references.down(place, "bindings")
            self._findings.left_out(bindings, asyncapi_keys.BINDINGS)
            binding = self._references.down(bindings, protocol)
            if found.is_there and binding.is_there:
                self._findings.note(binding, "is left out: there is one that goes before")
            elif binding.is_there:
                self._findings.left_out(binding, keys)
                found = binding
        return found

    def named(self) -> dict[str, Node]:
        """The queues that are described, by their names; the first of a name goes before."""
        return {str(queue["name"].value): queue for queue in reversed(self.described)}

    def point_to_point(self) -> list[Node]:
        """The queues that are described and no dead-letter queues."""
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
                self._findings.note(consumer, f"is subscribed by {protocol}, not by a queue")
                continue
            name = identified(self._endpoint(consumer))
            if name:
                found[name] = consumer
                self._findings.left_out(consumer, asyncapi_keys.CONSUMER)
            else:
                self._findings.problem(consumer, "has no endpoint with a name or an arn")
        return found

    def _endpoint(self, consumer: Node) -> Node:
        """The binding's own examples write the endpoint's name beside the word."""
        endpoint = self._references.follow(consumer["endpoint"])
        return endpoint if endpoint.is_there else consumer

    def topic_name(self) -> str | None:
        """The name of the topic, where a binding says it."""
        return identified(self._references.down(self._sns, "topic")) or self.topic["name"].text

    def target(self, queue: Node) -> str | None:
        """The name of a queue's dead-letter queue.

        A channel's queue may leave it to the dead-letter queue that the channel describes.
        """
        target = identified(self._references.down(queue, "redrivePolicy", "deadLetterQueue"))
        if target is None and queue.path == self.queue.path:
            return self.dead_letter_queue["name"].text
        return target


def identified(identifier: Node) -> str | None:
    """The name in an identifier of the bindings; an ARN ends with it."""
    arn = identifier["arn"].text
    return arn.rpartition(":")[2] if arn else identifier["name"].text
