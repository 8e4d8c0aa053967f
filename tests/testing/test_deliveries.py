"""`deliver`: one message through a route, without a server."""

import pytest

from loafer_kit.exceptions import RejectMessage, RetryMessage
from loafer_kit.ext.aws.envelopes import EnvelopeTranslator, eventbridge, sns
from loafer_kit.ext.aws.message_translators import SNSMessageTranslator
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.routes import SNSQueueRoute, SQSRoute
from loafer_kit.outcomes import ACKNOWLEDGE, LEAVE, DeadLetter, Retry
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider, deliver


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (True, ACKNOWLEDGE),
        (None, LEAVE),
        (RetryMessage(delay=3), Retry(3)),
        (RejectMessage("no use"), DeadLetter("no use")),
    ],
)
async def test_the_outcome_is_what_the_handler_answers(answer, outcome):
    """Each answer of a handler is seen as the engine sees it."""

    async def handler(content, metadata):
        return answer

    assert await deliver(SQSRoute("orders", handler=handler), {"id": 1}) == outcome


async def test_an_sqs_route_gets_the_message_as_sqs_delivers_it():
    """The route's translator works; the message's attributes are the test's to set."""
    seen = {}

    async def handler(content, metadata):
        seen.update(metadata, content=content)
        return True

    route = SQSRoute("orders.fifo", handler=handler)
    await deliver(route, {"id": 1}, attributes={"origin": "web"}, receive_count=3, group="a")
    assert seen["content"] == {"id": 1}
    assert seen["Attributes"]["ApproximateReceiveCount"] == "3"
    assert seen["Attributes"]["MessageGroupId"] == "a"
    assert seen["MessageAttributes"]["origin"]["StringValue"] == "web"


@pytest.mark.parametrize(
    "make_route",
    [
        lambda handler: SNSQueueRoute("inbox", handler=handler),
        lambda handler: Route(
            SQSProvider("inbox"), handler, message_translator=SNSMessageTranslator()
        ),
    ],
)
async def test_an_sns_route_gets_the_message_in_its_envelope(make_route):
    """What was published is the content; SNS's facts are in the metadata."""
    seen = {}

    async def handler(content, metadata):
        seen.update(metadata, content=content)
        return True

    outcome = await deliver(make_route(handler), {"id": 1}, attributes={"origin": "web"})
    assert outcome == ACKNOWLEDGE
    assert seen["content"] == {"id": 1}
    assert seen["Type"] == "Notification"
    assert seen["MessageAttributes"]["origin"]["Value"] == "web"


async def test_an_envelope_has_its_facts():
    """Those of the innermost, by which a handler may be chosen."""
    seen = []

    async def handler(content, metadata):
        seen.append((content, metadata["detail-type"]))
        return True

    route = SQSRoute(
        "orders", handler=handler, message_translator=EnvelopeTranslator(sns, eventbridge)
    )

    outcome = await deliver(route, {"id": 1}, envelope={"detail-type": "order.placed"})

    assert outcome == ACKNOWLEDGE
    assert seen == [({"id": 1}, "order.placed")]


async def test_a_body_that_is_no_json_is_dead_lettered():
    """A string is sent as it is, so a test can send what does not decode."""

    async def handler(content, metadata):
        raise AssertionError("never called")

    outcome = await deliver(SQSRoute("orders", handler=handler), "no json")
    assert isinstance(outcome, DeadLetter)


async def test_the_error_handler_has_its_say():
    """An exception goes to the route's error handler, as in the service."""

    async def handler(content, metadata):
        raise LookupError

    route = SQSRoute("orders", handler=handler, error_handler=lambda exc_info, message: True)
    assert await deliver(route, {}) == ACKNOWLEDGE


async def test_any_other_route_gets_the_message_as_it_is():
    """On a provider that is not SQS's the message is not wrapped, and has no facts of SQS."""

    async def handler(content, metadata):
        return content == "plain"

    route = Route(InMemoryProvider(), handler)
    assert await deliver(route, "plain") == ACKNOWLEDGE
    with pytest.raises(TypeError, match="receive_count"):
        await deliver(route, "plain", receive_count=2)
