"""What a message to be sent looks like to SQS and SNS; pure."""

import uuid
from collections.abc import Mapping
from typing import Any

#: The message group of a message to a FIFO queue when nobody named one.
DEFAULT_GROUP = "default"


def message_parameters(
    queue: str,
    body: str,
    *,
    group: str | None = None,
    deduplication_id: str | None = None,
    attributes: Mapping[str, str] | None = None,
    delay: int | None = None,
) -> dict[str, Any]:
    """Return the parameters of SendMessage for one message to `queue` (a name or a URL).

    On a FIFO queue the group defaults to `DEFAULT_GROUP`, the deduplication id to a fresh one.
    """
    parameters: dict[str, Any] = {"MessageBody": body}
    parameters |= _order(queue, group, deduplication_id)
    if delay is not None:
        parameters["DelaySeconds"] = delay
    if attributes:
        parameters["MessageAttributes"] = {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        }
    return parameters


def publish_parameters(topic: str, body: str, *, group: str | None = None) -> dict[str, Any]:
    """Return the parameters of Publish for one message to `topic` (a name or an ARN)."""
    return {"Message": body} | _order(topic, group, None)


def _order(destination: str, group: str | None, deduplication_id: str | None) -> dict[str, str]:
    if not destination.endswith(".fifo"):
        # Standard queues take a group for fair scheduling; they know no deduplication.
        return {"MessageGroupId": group} if group else {}
    return {
        "MessageGroupId": group or DEFAULT_GROUP,
        "MessageDeduplicationId": deduplication_id or uuid.uuid4().hex,
    }
