"""`deliver`: one message through a route, without a server; `run_until_empty`: a whole service."""

import re
from pathlib import Path

import pytest

from loafer_kit.exceptions import RejectMessage, RetryMessage, ServiceError
from loafer_kit.ext.aws.envelopes import EnvelopeTranslator, eventbridge, sns
from loafer_kit.ext.aws.message_translators import SNSMessageTranslator
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.routes import SNSQueueRoute, SQSRoute
from loafer_kit.local import LocalQueue
from loafer_kit.managers import LoaferManager
from loafer_kit.outcomes import ACKNOWLEDGE, LEAVE, DeadLetter, Retry
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider, deliver, run_until_empty


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


# A whole service


def test_a_service_runs_until_its_queues_are_empty(local_queues):
    """More than one fetch, several routes, a message sent on: all of it is handled."""
    local_queues.create("jobs", LocalQueue("inbox", topic="news"))
    handled = []

    def handle_job(message, metadata):
        handled.append(message)
        if message == 0:
            local_queues.publish("news", '"sent on"')
        return True

    async def handle_news(message, metadata):
        handled.append(message)
        return True

    local_queues.publish("news", '"first"')
    for number in range(12):
        local_queues.send("jobs", number)
    manager = LoaferManager(
        [SQSRoute("jobs", handler=handle_job), SNSQueueRoute("inbox", handler=handle_news)]
    )
    run_until_empty(manager, local_queues)
    assert handled.count("first") == 1
    assert sorted(item for item in handled if isinstance(item, int)) == list(range(12))
    assert local_queues.counts("inbox").total == 0


def test_a_message_that_keeps_failing_ends_in_the_dead_letter_queue(local_queues):
    """Redeliveries are waited for."""
    local_queues.create(
        LocalQueue("jobs", dead_letter_queue="dead", max_receive_count=2, visibility_timeout=1)
    )
    local_queues.send("jobs", {"id": 1})
    attempts = []
    route = SQSRoute("jobs", handler=lambda message, metadata: attempts.append(message))
    run_until_empty(LoaferManager([route]), local_queues)
    assert len(attempts) == 2
    assert local_queues.counts("dead").visible == 1


def test_what_is_left_after_the_time_is_named(local_queues):
    """A test that would hang fails with the reason."""
    local_queues.create("jobs")
    local_queues.send("jobs", {"id": 1})
    manager = LoaferManager([SQSRoute("jobs", handler=lambda message, metadata: False)])
    with pytest.raises(TimeoutError, match=r"After 0\.5 s there is still 1 .+ in jobs\."):
        run_until_empty(manager, local_queues, timeout=0.5)


def test_a_missing_queue_is_named(local_queues):
    """Nothing is run on a queue that was not created."""
    manager = LoaferManager([SQSRoute("nowhere", handler=lambda message, metadata: True)])
    with pytest.raises(ServiceError, match="nowhere: The specified queue does not exist"):
        run_until_empty(manager, local_queues)


def test_what_a_service_fails_with_is_raised(local_queues):
    """A startup callback's exception is the test's."""
    local_queues.create("jobs")
    local_queues.send("jobs", {"id": 1})
    manager = LoaferManager([SQSRoute("jobs", handler=lambda message, metadata: True)])

    @manager.startup
    async def fail(service):
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        run_until_empty(manager, local_queues)


def test_the_documented_test_of_a_service_passes(local_queues):
    """The how-to's own test, as a user would copy it."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "test-a-service.md"
    snippets = re.findall(
        r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    namespace = {}
    exec("\n".join(snippets), namespace)  # noqa: S102 - our own text
    namespace["test_orders_are_handled"](local_queues)
