"""Builds raw messages as SQS and SNS deliver them."""

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any


def sqs_message(
    body: Any,
    *,
    attributes: Mapping[str, str] | None = None,
    receive_count: int = 1,
    group: str | None = None,
) -> dict[str, Any]:
    """Return a message as ReceiveMessage returns it; a body other than a string becomes JSON.

    `attributes` are message attributes; `receive_count` and `group` become SQS's attributes.
    """
    text = _text(body)
    now = str(int(time.time() * 1000))
    system = {
        "ApproximateReceiveCount": str(receive_count),
        "ApproximateFirstReceiveTimestamp": now,
        "SentTimestamp": now,
    }
    message: dict[str, Any] = {
        "MessageId": str(uuid.uuid4()),
        "ReceiptHandle": uuid.uuid4().hex,
        "MD5OfBody": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
        "Body": text,
        "Attributes": system | ({"MessageGroupId": group} if group else {}),
    }
    if attributes:
        message["MessageAttributes"] = {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        }
    return message


def sns_message(
    body: Any,
    *,
    topic: str = "arn:aws:sns:us-east-1:123456789012:topic",
    attributes: Mapping[str, str] | None = None,
    receive_count: int = 1,
    group: str | None = None,
) -> dict[str, Any]:
    """Return an SQS message whose body is an SNS notification.

    `attributes` are the notification's message attributes.
    """
    envelope: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": str(uuid.uuid4()),
        "TopicArn": topic,
        "Message": _text(body),
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
    }
    if attributes:
        envelope["MessageAttributes"] = {
            name: {"Type": "String", "Value": value} for name, value in attributes.items()
        }
    return sqs_message(envelope, receive_count=receive_count, group=group)


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)
