import json
from uuid import uuid4

import pytest

from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.ext.aws import clients
from loafer_kit.ext.aws.handlers import SNSHandler, SQSHandler
from loafer_kit.local import LocalQueue

pytestmark = pytest.mark.slow

OPTIONS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}


@pytest.fixture
def queue(local_queues):
    return local_queues.fresh()


@pytest.fixture
def topic(local_queues):
    """A topic, and the queue that is subscribed to it."""
    name = f"topic-{uuid4().hex[:8]}"
    local_queues.create(LocalQueue(f"{name}-queue", topic=name))
    return name, f"{name}-queue"


def bodies(local_queues, queue):
    return [message["Body"] for message in local_queues.receive(queue)]


async def test_sqs_handler_publishes_json(local_queues, queue):
    """The message arrives as JSON; the answer is SQS's."""
    answer = await SQSHandler(queue).publish({"key": True})
    assert bodies(local_queues, queue) == ['{"key": true}']
    assert answer["MessageId"]


async def test_sqs_handler_takes_another_encoder_or_none(local_queues, queue):
    """An encoder makes the text; without one the message is the text."""
    handler = SQSHandler(local_queues.queue_url(queue))
    await handler.publish(12, encoder=str)
    await handler.publish("plain", encoder=None)
    assert sorted(bodies(local_queues, queue)) == ["12", "plain"]


async def test_sqs_handler_passes_on_what_a_route_delivers(local_queues, queue):
    """As a handler it publishes the content, and its answer acknowledges the message."""
    assert await SQSHandler(queue).handle([1], {"metadata": "unused"})
    assert bodies(local_queues, queue) == ["[1]"]


async def test_sqs_handler_publishes_to_a_fifo_queue(local_queues):
    """Parameters of SendMessage are passed on."""
    name = local_queues.fresh(fifo=True)
    await SQSHandler(name).publish("x", MessageGroupId="a")
    [message] = local_queues.receive(name)
    assert message["Attributes"]["MessageGroupId"] == "a"


async def test_a_subclass_names_its_queue_or_topic(local_queues, queue):
    """The class attribute is the default of the argument."""

    class Orders(SQSHandler):
        queue_name = queue

    class Events(SNSHandler):
        topic = "events"

    await Orders().publish(1)
    assert bodies(local_queues, queue) == ["1"]
    assert Events().topic == "events"
    assert Events("others").topic == "others"


@pytest.mark.parametrize("handler", [SQSHandler(), SNSHandler()])
async def test_publishing_to_nowhere_is_a_value_error(handler):
    """Without a queue or a topic there is nothing to publish to."""
    with pytest.raises(ValueError, match="name one"):
        await handler.publish("message")


def test_an_unknown_option_is_one_clear_line():
    """A misspelt option is reported when the handler is made."""
    with pytest.raises(ConfigurationError, match="Did you mean 'region_name'"):
        SQSHandler("orders", regoin_name="eu-west-1")


async def test_a_missing_queue_is_named(local_queues):
    """The error says which queue, and what to do."""
    with pytest.raises(ProviderError, match="Queue 'missing' does not exist"):
        await SQSHandler("missing").publish("message")


async def test_sns_handler_publishes_to_a_topic_by_name(local_queues, topic):
    """The name becomes an ARN of this account; subscribers get the JSON text."""
    name, queue = topic
    answer = await SNSHandler(name).publish({"key": True})
    assert answer["MessageId"]
    [body] = bodies(local_queues, queue)
    envelope = json.loads(body)
    assert json.loads(envelope["Message"]) == {"key": True}
    assert envelope["TopicArn"] == f"arn:aws:sns:us-east-1:123456789012:{name}"


async def test_sns_handler_publishes_to_a_topic_by_arn(local_queues, topic):
    """An ARN is used as it is."""
    name, queue = topic
    handler = SNSHandler(f"arn:aws:sns:us-east-1:123456789012:{name}")
    assert await handler.handle("text", {})
    [body] = bodies(local_queues, queue)
    assert json.loads(body)["Message"] == '"text"'


async def test_a_missing_topic_is_named(local_queues):
    """The error says which topic, and what to do."""
    with pytest.raises(ProviderError, match="Topic 'missing' does not exist"):
        await SNSHandler("missing").publish("message")


async def test_a_topic_whose_account_cannot_be_asked_for(scripted_server):
    """Where there is no STS, the error says what does without it."""
    async with scripted_server(
        b"HTTP/1.1 400 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ) as server:
        handler = SNSHandler("events", endpoint_url=server.url, **OPTIONS)
        with pytest.raises(ProviderError, match="given by its ARN"):
            await handler.publish("message")


QUEUE_URL = "https://queue.example/123456789012/orders"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def test_what_may_pass_is_repeated(scripted_server):
    """A server that is busy once gets the message at the second attempt."""
    async with scripted_server(BUSY) as server:
        handler = SQSHandler(QUEUE_URL, endpoint_url=server.url, **OPTIONS)
        await handler.publish("message")
    assert [request.body["MessageBody"] for request in server.requests] == ['"message"'] * 2


async def test_a_server_that_stays_busy_is_given_up(scripted_server):
    """After three attempts the failure is the handler's."""
    async with scripted_server(*[BUSY] * 5) as server:
        handler = SQSHandler(QUEUE_URL, endpoint_url=server.url, **OPTIONS)
        with pytest.raises(ProviderError, match="Queue 'orders'"):
            await handler.publish("message")
    assert len(server.requests) == 3


async def test_publishing_in_a_service_opens_no_connections_of_its_own(local_queues, queue):
    """While the service holds its clients, publishing goes by them."""
    async with clients.borrowed({}) as service:
        client = await service.client()
        await SQSHandler(queue).publish(1)
        assert await service.client() is client
