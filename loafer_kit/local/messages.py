"""What a message to be sent looks like to SQS and SNS; pure."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The message group of a message to a FIFO queue when nobody named one.
DEFAULT_GROUP = "default"


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """What a message carries beside its body.

    On a FIFO queue the group defaults to `DEFAULT_GROUP`, the deduplication id to a fresh one.
    `delay` is in seconds.
    """

    group: str | None = None
    deduplication_id: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    delay: int | None = None


def message_parameters(queue: str, body: str, details: MessageOptions) -> dict[str, Any]:
    """Return the parameters of SendMessage for one message to `queue`, a name or a URL."""
    parameters = {"MessageBody": body} | _common_parameters(queue, details)
    return parameters if details.delay is None else parameters | {"DelaySeconds": details.delay}


def publish_parameters(topic: str, body: str, details: MessageOptions) -> dict[str, Any]:
    """Return the parameters of Publish for one message to `topic`, a name or an ARN."""
    return {"Message": body} | _common_parameters(topic, details)


def _common_parameters(destination: str, details: MessageOptions) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if details.attributes:
        parameters["MessageAttributes"] = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in details.attributes.items()
        }
    if destination.endswith(".fifo"):
        parameters["MessageGroupId"] = details.group or DEFAULT_GROUP
        parameters["MessageDeduplicationId"] = details.deduplication_id or uuid.uuid4().hex
    elif details.group:
        parameters["MessageGroupId"] = details.group  # a standard queue is fair among groups
    return parameters
