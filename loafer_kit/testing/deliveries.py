"""Delivers one message to a route, without a server."""

from typing import Any

from loafer_kit.engine import deliveries
from loafer_kit.ext.aws.message_translators import SNSMessageTranslator
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.routes import SNSQueueRoute
from loafer_kit.outcomes import Outcome
from loafer_kit.routes import Route
from loafer_kit.testing.messages import sns_message, sqs_message
from loafer_kit.types import Message


async def deliver(route: Route, body: Any, **facts: Any) -> Outcome:
    """Deliver one message to a route as the engine does, and return its outcome.

    Runs the route's translator, handler and error handler; fetches and settles nothing. A route on
    SQS gets `body` wrapped by `sqs_message` or `sns_message`, with their keywords as `facts`; any
    other route gets `body` as it is.

        assert asyncio.run(deliver(routes[0], {"hello": "world"})) == ACKNOWLEDGE
    """
    delivery = await deliveries.deliver(route, _raw_message(route, body, facts))
    return delivery.outcome


def _raw_message(route: Route, body: Any, facts: dict[str, Any]) -> Message:
    if isinstance(route, SNSQueueRoute) or isinstance(
        route.message_translator, SNSMessageTranslator
    ):
        return sns_message(body, **facts)
    if isinstance(route.provider, SQSProvider):
        return sqs_message(body, **facts)
    if facts:
        raise TypeError(
            f"Only messages of SQS have {', '.join(facts)}; {route} does not read from SQS."
        )
    return body
