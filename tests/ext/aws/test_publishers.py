import asyncio
import json
from uuid import uuid4

import pytest

from loafer_kit import LoaferManager
from loafer_kit.events import Observer
from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws.handlers import SQSHandler
from loafer_kit.ext.aws.publishers import sns_publish, sqs_publish
from loafer_kit.local import LocalQueue
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


def test_sqs_publish_sends_text_as_it_is(local_queues):
    """A queue may be named or given as a URL; the answer is truthy."""
    name = local_queues.fresh()
    assert sqs_publish(name, '{"test": "hey"}')
    assert sqs_publish(local_queues.queue_url(name), {"test": "you"})
    bodies = sorted(message["Body"] for message in local_queues.receive(name))
    assert bodies == ['{"test": "hey"}', '{"test": "you"}']


def test_sns_publish_reaches_the_subscribers(local_queues):
    """A topic may be named or given as an ARN; subscribers get the text."""
    topic = f"topic-{uuid4().hex[:8]}"
    queue = f"{topic}-queue"
    local_queues.create(LocalQueue(queue, topic=topic))
    assert sns_publish(topic, '{"test": "hey"}')
    assert sns_publish(f"arn:aws:sns:us-east-1:123456789012:{topic}", '{"test": "hey"}')
    texts = [json.loads(message["Body"])["Message"] for message in local_queues.receive(queue)]
    assert texts == ['{"test": "hey"}'] * 2


async def test_publishing_works_where_a_loop_runs(local_queues):
    """It blocks, but it works: in a notebook, in a test that is a coroutine."""
    name = local_queues.fresh()
    sqs_publish(name, "text")
    assert local_queues.counts(name).visible == 1


def test_a_failure_is_one_clear_error(local_queues):
    """A queue that does not exist is named."""
    with pytest.raises(ProviderError, match="Queue 'missing' does not exist"):
        sqs_publish("missing", "text")


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_service_observes_what_its_handlers_publish(local_queues, blocking):
    """From a coroutine and from a thread, failures too; always in the loop's thread."""
    name = local_queues.fresh()
    published = []

    class Watch(Observer):
        def published(self, destination, seconds, error):
            assert asyncio.get_running_loop()
            assert seconds > 0
            published.append((destination, type(error)))

    def publish(queue, metadata):
        return sqs_publish(queue, "text")

    async def forward(queue, metadata):
        return await SQSHandler(queue).publish("text")

    route = Route(InMemoryProvider([name, "missing"]), publish if blocking else forward)
    manager = LoaferManager([route])
    manager.observe(Watch())
    await manager.serve()

    assert sorted(published) == sorted([(name, type(None)), ("missing", ProviderError)])
