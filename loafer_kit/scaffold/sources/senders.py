"""The senders that put messages in an envelope: rules, schedules, buckets and functions.

A queue that they send to, or its topic, has the kind of that envelope.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.spec.specs import Path

#: A queue or a topic: its service and its name.
Target = tuple[str, str]
_Note = Callable[[Node, str], None]

_ARN_PARTS = 6


@dataclass(frozen=True, slots=True)
class Sender:
    """A table of a resource, or a list of tables, each with a target and the `kind` of its messages.

    Messages have no envelope if a table has one of the keys `plain`.
    """

    kind: str
    path: Path
    target: str
    plain: tuple[str, ...] = ()

    def places(self, resource: Node) -> Iterator[Node]:
        """The tables."""
        node = resource.at(*self.path)
        yield from node.elements() if isinstance(node.value, list) else [node]

    def kind_of(self, table: Node) -> str | None:
        """The kind of the messages of a table with known values; None if they have no envelope."""
        # The path `$` is the whole event.
        given = [table[key].value not in (None, "", "$", [], {}) for key in self.plain]
        return None if any(given) else self.kind


@dataclass(frozen=True, slots=True)
class _Sending:
    kind: str | None
    node: Node
    called: str


@dataclass(frozen=True, slots=True)
class Senders:
    """The senders of a document by their targets; notes say what becomes of each."""

    _found: dict[Target, list[_Sending]] = field(default_factory=dict)

    def add(self, target: Target, kind: str | None, node: Node, called: str = "") -> None:
        """Add a sender; `called` begins its notes."""
        sending = _Sending(kind, node, f"{called}: " if called else "")
        self._found.setdefault(target, []).append(sending)

    def kind(self, queue: str, topic: str | None, note: _Note) -> Node | None:
        """The kind of a queue by what sends to it, or to its topic if it has one."""
        direct = self._found.get(("sqs", queue), [])
        read = direct if topic is None else self._found.get(("sns", topic), [])
        chosen = next((item for item in read if item.kind), None)
        for item in read if read is direct else [*read, *direct]:
            if item.kind is None:
                message = "an input of its own, without an envelope"
            elif item in read and chosen and item.kind == chosen.kind:
                message = f"a queue of kind {quoted(item.kind)}; the spec does not hold the sender"
            else:
                message = (
                    f"which is not of kind {quoted(item.kind)}: its route rejects that envelope"
                )
            note(item.node, f"{item.called}sends to {quoted(queue)}, {message}")
        return chosen.node.with_value(chosen.kind) if chosen else None

    def note_unread(self, read: Collection[Target], note: _Note) -> None:
        """Note the senders to all targets but those that routes read."""
        for target, found in self._found.items():
            for item in found if target not in read else []:
                note(item.node, f"{item.called}sends to {quoted(target[1])}, which no route reads")


_INPUTS = ("Input", "InputPath", "InputTransformer")
_NOTIFICATIONS = "NotificationConfiguration"
_ON_SUCCESS = ("DestinationConfig", "OnSuccess")
#: By the types of CloudFormation's resources. CDK sets notifications by a resource of its own.
CLOUDFORMATION = {
    "AWS::Events::Rule": [Sender("eventbridge", ("Targets",), "Arn", _INPUTS)],
    "AWS::Lambda::EventInvokeConfig": [Sender("lambda_destination", _ON_SUCCESS, "Destination")],
    "AWS::S3::Bucket": [
        Sender("s3", (_NOTIFICATIONS, "QueueConfigurations"), "Queue"),
        Sender("s3", (_NOTIFICATIONS, "TopicConfigurations"), "Topic"),
    ],
    "AWS::Scheduler::Schedule": [Sender("eventbridge", ("Target",), "Arn", _INPUTS)],
    "AWS::Serverless::Function": [
        Sender("lambda_destination", ("EventInvokeConfig", *_ON_SUCCESS), "Destination")
    ],
    "Custom::S3BucketNotifications": [
        Sender("s3", (_NOTIFICATIONS, "QueueConfigurations"), "QueueArn"),
        Sender("s3", (_NOTIFICATIONS, "TopicConfigurations"), "TopicArn"),
    ],
}

_TERRAFORM_INPUTS = ("input", "input_path", "input_transformer")
_TERRAFORM_ON_SUCCESS = ("destination_config", 0, "on_success")
#: By the types of Terraform's resources.
TERRAFORM = {
    "aws_cloudwatch_event_target": [Sender("eventbridge", (), "arn", _TERRAFORM_INPUTS)],
    "aws_lambda_function_event_invoke_config": [
        Sender("lambda_destination", _TERRAFORM_ON_SUCCESS, "destination")
    ],
    "aws_s3_bucket_notification": [
        Sender("s3", ("queue",), "queue_arn"),
        Sender("s3", ("topic",), "topic_arn"),
    ],
    "aws_scheduler_schedule": [Sender("eventbridge", ("target",), "arn", _TERRAFORM_INPUTS)],
}


def target_of(arn: str) -> Target | None:
    """The queue or the topic of an ARN; None for anything else."""
    parts = arn.split(":")
    return (parts[2], parts[5]) if len(parts) == _ARN_PARTS and parts[2] in ("sqs", "sns") else None
