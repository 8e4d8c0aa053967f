"""OpenTelemetry's semantic conventions for messaging, version 1.45.0: names, and what they say here.

The conventions for messaging are in development: names change between versions. Python's package of
them lags behind, so the names are written here.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import urlsplit

from loafer_kit.events import ObservedCall, ObservedRoute, Operation, Request, Sending
from loafer_kit.outcomes import Acknowledge, Retry
from loafer_kit.types import Message

SCHEMA_URL = "https://opentelemetry.io/schemas/1.45.0"

# Attributes
SYSTEM = "messaging.system.name"
OPERATION = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
BATCH_COUNT = "messaging.batch.message_count"
MESSAGE_ID = "messaging.message.id"
QUEUE_URL = "aws.sqs.queue.url"
TOPIC_ARN = "aws.sns.topic.arn"
REQUEST_ID = "aws.request_id"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

# Operations, of which the conventions prescribe the types and leave the names free
PROCESS = "process"
SEND = "send"

#: The name and the type of each action of SQS that is an operation of its own.
ACTIONS = MappingProxyType(
    {
        "ReceiveMessage": ("receive", "receive"),
        "DeleteMessageBatch": ("delete", "settle"),
        "ChangeMessageVisibilityBatch": ("change_visibility", "settle"),
    }
)

#: The values of `messaging.system.name` by broker.
SYSTEMS = MappingProxyType({"sqs": "aws.sqs", "sns": "aws.sns"})

# Metrics
PROCESS_DURATION = "messaging.process.duration"
OPERATION_DURATION = "messaging.client.operation.duration"
CONSUMED = "messaging.client.consumed.messages"
SENT = "messaging.client.sent.messages"

#: Seconds: the boundaries of both histograms.
BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

#: The log event of an exception that a handler raises.
PROCESS_EXCEPTION = "messaging.process.exception"

Attributes = dict[str, str | int]


def of_route(route: ObservedRoute, message: Message, operation: str) -> Attributes:
    """Return what identifies an operation on messages of a route."""
    provider = route.provider
    system = SYSTEMS.get(provider.broker) or provider.broker or type(provider).__name__
    destination = provider.describe(message).get("queue") or route.name
    return {
        OPERATION: operation,
        SYSTEM: system,
        DESTINATION: str(destination),
    }


def of_sending(sending: Sending) -> Attributes:
    """Return what identifies the sending of a message."""
    return {
        OPERATION: SEND,
        SYSTEM: SYSTEMS.get(sending.broker, sending.broker),
        DESTINATION: sending.destination,
        OPERATION_TYPE: SEND,
    }


def of_request(request: Request) -> Attributes | None:
    """Return what identifies a request; None for one that is no operation of its own."""
    if request.broker != "sqs" or request.action not in ACTIONS:
        return None
    operation, kind = ACTIONS[request.action]
    return {
        OPERATION: operation,
        SYSTEM: SYSTEMS["sqs"],
        DESTINATION: str(request.parameters["QueueUrl"]).rpartition("/")[2],
        OPERATION_TYPE: kind,
    }


@lru_cache(maxsize=1_000)
def of_address(address: str | None) -> Mapping[str, str | int]:
    """Return what the URL of a queue or of a broker, or the ARN of a topic, says."""
    if not address:
        return {}
    if address.startswith("arn:"):
        return {TOPIC_ARN: address}
    parts = urlsplit(address)
    found: Attributes = {QUEUE_URL: address} if parts.scheme.startswith("http") else {}
    if parts.hostname:
        found[SERVER_ADDRESS] = parts.hostname
    if parts.port:
        found[SERVER_PORT] = parts.port
    return found


def failure_of_call(call: ObservedCall) -> tuple[str, str] | None:
    """Return the `error.type` of the first message that failed, and a description.

    A message that was put back, to be handled later, did not fail.
    """
    for position, delivery in enumerate(call.deliveries):
        if position in call.lost:
            return "lease_lost", "another consumer may have the message"
        if delivery.error is not None:
            return _type_of(delivery.error), str(delivery.error)
        if not isinstance(delivery.outcome, Acknowledge | Retry):
            outcome = delivery.outcome
            return str(outcome), outcome.reason
    return None


def failure_of_operation(operation: Operation) -> tuple[str, str] | None:
    """Return the `error.type` of a request or sending, and a description."""
    if operation.error is not None:
        return _type_of(operation.error), str(operation.error)
    if failed := operation.answer.get("Failed"):
        return str(failed[0].get("Code") or "_OTHER"), str(failed[0].get("Message") or "")
    return None


def _type_of(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
