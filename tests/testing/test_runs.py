"""`run_until_empty`: a whole service on the embedded server."""

import re
from pathlib import Path

import pytest

from loafer_kit.exceptions import ServiceError
from loafer_kit.ext.aws.routes import SNSQueueRoute, SQSRoute
from loafer_kit.local import LocalQueue
from loafer_kit.managers import LoaferManager
from loafer_kit.testing import run_until_empty


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
