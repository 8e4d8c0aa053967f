"""Copies of messages: what a message carries along when it is published again, and what it died of."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage, AbstractMessage

#: Headers that a retried message has in addition: earlier deliveries, and when the first one was.
DELIVERIES = "x-loafer-deliveries"
FIRST_RECEIVED = "x-loafer-first-received"

#: Headers that a dead letter has in addition to the original's; named as on SQS.
REASON = "DeadLetterReason"
SOURCE_QUEUE = "DeadLetterSourceQueue"
#: When it died, in ISO 8601: it tells two deaths of one message apart.
DIED = "DeadLetterTime"

#: What the broker counts for one stay in one queue.
_DELIVERY_COUNT = ("x-delivery-count",)
_BROKERS_OWN = (*_DELIVERY_COUNT, "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason")  # fmt: skip

#: The headers of a message that its sender did not write.
ADDED = frozenset([*_BROKERS_OWN, DELIVERIES, FIRST_RECEIVED, REASON, SOURCE_QUEUE, DIED])

#: The properties of a message that its copies have too. Its user id would be refused from another
#: user, its expiry has begun already.
PROPERTIES = ("content_type", "content_encoding", "priority", "correlation_id", "reply_to", "message_id", "timestamp", "type", "app_id")  # fmt: skip

#: Characters.
_LONGEST_REASON = 1_000

TRACE_HEADERS = ("traceparent", "tracestate", "baggage")


def bytes_of(message: Any) -> bytes:
    """Return the body for a message: text and bytes as they are, anything else as JSON."""
    if isinstance(message, bytes):
        return message
    return (message if isinstance(message, str) else json.dumps(message)).encode()


def deliveries(message: AbstractIncomingMessage) -> int:
    """Return how often a message was delivered, this time included.

    A classic queue counts returned messages no further than two.
    """
    headers = message.headers
    here = _whole(headers.get("x-delivery-count")) or int(bool(message.redelivered))
    return _whole(headers.get(DELIVERIES)) + here + 1


def first_received(message: AbstractMessage) -> datetime | None:
    """Return when a message was first delivered; None if that is not known."""
    found = message.headers.get(FIRST_RECEIVED)
    return found if isinstance(found, datetime) else None


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
        DIED: datetime.now(UTC).isoformat(),
        DELIVERIES: deliveries(message),
    }
    return _copy(message, facts, persistent)


def revived(message: AbstractMessage, body: bytes, *, whole: bool = False) -> Message:
    """Return the copy of a dead letter that is sent back, with another body.

    It has the headers of the message that died; those about its death too if it is `whole`.
    """
    left_out = _DELIVERY_COUNT if whole else ADDED
    headers = {name: value for name, value in message.headers.items() if name not in left_out}
    return _message(message, body, headers, message.delivery_mode)


@dataclass(frozen=True, slots=True)
class Death:
    """Why a message is in a dead-letter queue, from which queue, and since when, as far as it says."""

    reason: str | None = None
    source: str | None = None
    time: datetime | None = None


def death_of(headers: Mapping[str, Any]) -> Death:
    """Return what a service wrote on a letter, or else what RabbitMQ itself did."""
    if REASON in headers or SOURCE_QUEUE in headers:
        died = headers.get(DIED)
        try:
            time = datetime.fromisoformat(str(died)).astimezone(UTC) if died else None
        except (OverflowError, ValueError):  # any sender can write a header
            time = None
        return Death(_text(headers.get(REASON)), _text(headers.get(SOURCE_QUEUE)), time)
    deaths = headers.get("x-death")
    if not (isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping)):
        return Death()
    last = deaths[0]
    time = last.get("time")
    return Death(
        f"moved by RabbitMQ: {last.get('reason')}",
        _text(last.get("queue")),
        time if isinstance(time, datetime) else None,
    )


def trace_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the W3C trace headers among the headers of a message."""
    return {name: value for name in TRACE_HEADERS if isinstance(value := headers.get(name), str)}


def _copy(message: AbstractIncomingMessage, added: Mapping[str, Any], persistent: bool) -> Message:
    """Return a copy without what belongs to the original's stay in its queue."""
    kept = {name: value for name, value in message.headers.items() if name not in _BROKERS_OWN}
    mode = DeliveryMode.PERSISTENT if persistent else message.delivery_mode
    return _message(message, message.body, kept | dict(added), mode)


def _message(
    message: AbstractMessage, body: bytes, headers: dict[str, Any], mode: DeliveryMode | None
) -> Message:
    properties = {name: getattr(message, name) for name in PROPERTIES}
    return Message(body, headers=_writable(headers), delivery_mode=mode, **properties)


def _writable(value: Any) -> Any:
    """Return a header as pamqp writes it: it reads binary values as `bytes`, which it refuses."""
    match value:
        case bytes():
            return bytearray(value)
        case dict():
            return {key: _writable(item) for key, item in value.items()}
        case list():
            return [*map(_writable, value)]
    return value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
