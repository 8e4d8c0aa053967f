"""Delivers messages to routes: one without a server, or all that real queues hold."""

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from loafer_kit import testing
from loafer_kit.engine.deliveries import Deliveries
from loafer_kit.ext.aws.envelopes import EnvelopeTranslator
from loafer_kit.ext.aws.message_translators import SNSMessageTranslator
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.routes import SNSQueueRoute
from loafer_kit.managers import LoaferManager
from loafer_kit.outcomes import Outcome
from loafer_kit.routes import Route
from loafer_kit.types import Message

if TYPE_CHECKING:
    from loafer_kit.local import LocalQueues

#: Seconds between two counts of the queues' messages.
_LOOK_EVERY = 0.05


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


async def deliver(
    route: Route, body: Any, *, envelope: Mapping[str, Any] | None = None, **facts: Any
) -> Outcome:
    """Deliver one message to a route as the engine does, and return its outcome.

    Runs the route's translator, handler and error handler; fetches and settles nothing. A route on
    SQS gets `body` wrapped by `sqs_message` or `sns_message`, with their keywords as `facts`, and
    within the envelopes of an `EnvelopeTranslator`, the innermost with `envelope` as its facts; one on
    RabbitMQ gets it wrapped by `amqp_message`; any other route gets `body` as it is.

        assert asyncio.run(deliver(routes[0], {"hello": "world"})) == ACKNOWLEDGE
    """
    message = _raw_message(route, body, envelope or {}, facts)
    return (await Deliveries(route).deliver(message)).outcome


def _raw_message(
    route: Route, body: Any, envelope: Mapping[str, Any], facts: dict[str, Any]
) -> Message:
    if isinstance(route, SNSQueueRoute) or isinstance(
        route.message_translator, SNSMessageTranslator
    ):
        return sns_message(body, **facts)
    if isinstance(route.message_translator, EnvelopeTranslator):
        body = route.message_translator.wrap(body, **envelope)
    if isinstance(route.provider, SQSProvider):
        return sqs_message(body, **facts)
    if route.provider.broker == "rabbitmq":
        return testing.amqp_message(body, **facts)
    if facts:
        raise TypeError(
            f"Only messages of SQS have {', '.join(facts)}; {route} does not read from SQS."
        )
    return body


def run_until_empty(
    manager: LoaferManager, queues: "LocalQueues", *, timeout: float = 30.0
) -> None:
    """Run a manager until the SQS queues that it reads are empty.

    For a plain (not `async`) test function: the manager has its own event loop. Messages in flight
    and delayed messages count; dead-letter queues do not. After `timeout` seconds, raises
    `TimeoutError` with the remaining messages. Also raises what the service raises.

        run_until_empty(manager, local_queues)
    """
    providers = [route.provider for route in manager.dispatcher.routes]
    names = [provider.name for provider in providers if isinstance(provider, SQSProvider)]
    if not _left(queues, names):
        return
    watch = manager.runner.loop.create_task(_stop_when_empty(manager, queues, names, timeout))
    manager.run()
    if watch.done() and (left := watch.result()):
        raise TimeoutError(f"After {timeout:g} s there is still {', '.join(left)}.")


async def _stop_when_empty(
    manager: LoaferManager, queues: "LocalQueues", names: list[str], patience: float
) -> list[str]:
    """Stop the manager when the queues are empty or time is up; return the rest."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    try:
        with ThreadPoolExecutor(max_workers=1) as threads:
            while left := await loop.run_in_executor(threads, _left, queues, names):
                if loop.time() >= deadline:
                    break
                await asyncio.sleep(_LOOK_EVERY)
        return left
    finally:
        manager.runner.prepare_stop()
        manager.runner.prepare_stop()  # the second request does not wait for open polls


def _left(queues: "LocalQueues", names: list[str]) -> list[str]:
    counts = {name: queues.counts(name) for name in names}
    return [f"{count} in {name}" for name, count in counts.items() if count.total]
