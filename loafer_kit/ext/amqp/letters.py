"""Copies of messages: what a message carries along when it is published again."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage

#: Headers that a retried message has in addition: earlier deliveries, and when the first one was.
DELIVERIES = "x-loafer-deliveries"
FIRST_RECEIVED = "x-loafer-first-received"

#: Headers that a dead letter has in addition to the original's; named as on SQS.
REASON = "DeadLetterReason"
SOURCE_QUEUE = "DeadLetterSourceQueue"

#: What the broker counts for one stay in one queue.
_BROKERS_OWN = ("x-delivery-count", "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason")  # fmt: skip

#: Characters.
_LONGEST_REASON = 1_000

TRACE_HEADERS = ("traceparent", "tracestate", "baggage")


def deliveries(message: AbstractIncomingMessage) -> int:
    """Return how often a message was delivered, this time included.

    A classic queue counts returned messages no further than two.
    """
    headers = message.headers
    here = _whole(headers.get("x-delivery-count")) or int(bool(message.redelivered))
    return _whole(headers.get(DELIVERIES)) + here + 1


def first_received(message: AbstractIncomingMessage) -> float | None:
    """Return when a message was first delivered, as Unix time; None if that is not known."""
    found = message.headers.get(FIRST_RECEIVED)
    return found.timestamp() if isinstance(found, datetime) else None


def retried(message: AbstractIncomingMessage, *, persistent: bool) -> Message:
    """Return the copy of a message that is delivered again."""
    first = message.headers.get(FIRST_RECEIVED) or datetime.fromtimestamp(time.time(), UTC)
    return _copy(message, {DELIVERIES: deliveries(message), FIRST_RECEIVED: first}, persistent)


def dead(
    message: AbstractIncomingMessage, reason: str, source: str, *, persistent: bool
) -> Message:
    """Return the dead letter of a message."""
    facts = {
        REASON: reason[:_LONGEST_REASON] or "unknown",
        SOURCE_QUEUE: source,
        DELIVERIES: deliveries(message),
    }
    return _copy(message, facts, persistent)


def trace_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the W3C trace headers among the headers of a message."""
    return {name: value for name in TRACE_HEADERS if isinstance(value := headers.get(name), str)}


def _copy(message: AbstractIncomingMessage, added: Mapping[str, Any], persistent: bool) -> Message:
    """Return a copy without what belongs to the original's stay in its queue.

    Its user id would be refused from another user, its expiry has begun already.
    """
    kept = {name: value for name, value in message.headers.items() if name not in _BROKERS_OWN}
    return Message(
        message.body,
        headers=kept | dict(added),
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_mode=DeliveryMode.PERSISTENT if persistent else message.delivery_mode,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message.message_id,
        timestamp=message.timestamp,
        type=message.type,
        app_id=message.app_id,
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
