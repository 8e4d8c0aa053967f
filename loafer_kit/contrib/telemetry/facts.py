"""What the attributes of spans and metrics say about routes, requests and failures."""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from loafer_kit.contrib.telemetry import conventions as names
from loafer_kit.events import ObservedCall, ObservedRoute, Operation, Request, Sending
from loafer_kit.outcomes import Acknowledge, Retry
from loafer_kit.types import Message

Attributes = dict[str, str | int]


def of_route(route: ObservedRoute, message: Message, operation: str) -> Attributes:
    """Return what identifies an operation on messages of a route."""
    provider = route.provider
    system = names.SYSTEMS.get(provider.broker) or provider.broker or type(provider).__name__
    destination = provider.describe(message).get("queue") or route.name
    return {
        names.OPERATION: operation,
        names.SYSTEM: system,
        names.DESTINATION: str(destination),
    }


def of_sending(sending: Sending) -> Attributes:
    """Return what identifies the sending of a message."""
    return {
        names.OPERATION: names.SEND,
        names.SYSTEM: names.SYSTEMS.get(sending.broker, sending.broker),
        names.DESTINATION: sending.destination,
        names.OPERATION_TYPE: names.SEND,
    }


def of_request(request: Request) -> Attributes | None:
    """Return what identifies a request; None for one that is no operation of its own."""
    if request.broker != "sqs" or request.action not in names.ACTIONS:
        return None
    operation, kind = names.ACTIONS[request.action]
    return {
        names.OPERATION: operation,
        names.SYSTEM: names.SYSTEMS["sqs"],
        names.DESTINATION: str(request.parameters["QueueUrl"]).rpartition("/")[2],
        names.OPERATION_TYPE: kind,
    }


@lru_cache(maxsize=1_000)
def of_address(address: str | None) -> Mapping[str, str | int]:
    """Return what the URL of a queue or of a broker, or the ARN of a topic, says."""
    if not address:
        return {}
    if address.startswith("arn:"):
        return {names.TOPIC_ARN: address}
    parts = urlsplit(address)
    found: Attributes = {names.QUEUE_URL: address} if parts.scheme.startswith("http") else {}
    if parts.hostname:
        found[names.SERVER_ADDRESS] = parts.hostname
    if parts.port:
        found[names.SERVER_PORT] = parts.port
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
