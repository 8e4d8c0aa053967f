import json
import os
from urllib.parse import parse_qs
from uuid import uuid4

import pytest

from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.ext.aws.handlers import SNSHandler, SQSHandler
from loafer_kit.ext.aws.message_translators import SNSMessageTranslator, SQSMessageTranslator
from loafer_kit.ext.aws.requests import clients
from loafer_kit.local import LocalQueue

pytestmark = pytest.mark.slow

# Without it a FIFO queue refuses a message that has no deduplication id.
DEDUPLICATING = {"ContentBasedDeduplication": "true"}
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
    name = local_queues.fresh(fifo=True, attributes=DEDUPLICATING)
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

SENT = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{"MessageId":"x"}'


async def test_what_may_pass_is_repeated(scripted_server):
    """A server that is busy once gets the message at the second attempt."""
    async with scripted_server(BUSY, SENT) as server:
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


@pytest.fixture
def forwarded(local_queues):
    """Sends a message with `parameters`, passes it on to `target` by a route and returns both."""

    async def forward(source, target, **parameters):
        await SQSHandler(source).publish({"é": 1}, **parameters)
        [original] = local_queues.receive(source)
        translated = SQSMessageTranslator().translate(original)
        await SQSHandler(target).handle(translated["content"], translated["metadata"])
        [copy] = local_queues.receive(target)
        return original, copy

    return forward


async def test_what_belongs_to_a_message_is_passed_on_with_it(local_queues, forwarded):
    """Body, message attributes and trace header arrive at the next queue."""
    original, copy = await forwarded(
        local_queues.fresh(),
        local_queues.fresh("next"),
        MessageAttributes={
            "kind": {"DataType": "String", "StringValue": "größe"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
            "size": {"DataType": "Number", "StringValue": "7"},
        },
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
    )
    assert copy["Body"] == original["Body"] == '{"é": 1}'
    assert copy["MessageAttributes"] == original["MessageAttributes"]
    assert copy["Attributes"]["AWSTraceHeader"] == "Root=1"


async def test_a_message_goes_from_fifo_to_fifo(local_queues, forwarded):
    """Group and deduplication id are kept."""
    source, target = local_queues.fresh(fifo=True), local_queues.fresh("next", fifo=True)
    original, copy = await forwarded(source, target, MessageGroupId="g", MessageDeduplicationId="d")
    for name in ("MessageGroupId", "MessageDeduplicationId"):
        assert copy["Attributes"][name] == original["Attributes"][name]


async def test_a_message_goes_from_fifo_to_a_standard_queue(local_queues, forwarded):
    """The group goes along, the deduplication id, which a standard queue refuses, does not."""
    _, copy = await forwarded(
        local_queues.fresh(fifo=True, attributes=DEDUPLICATING),
        local_queues.fresh("next"),
        MessageGroupId="g",
    )
    assert copy["Attributes"].get("MessageGroupId") == "g"


async def test_a_message_of_a_fair_queue_goes_to_a_fifo_queue(local_queues, forwarded):
    """Its message id is the deduplication id: passed on twice, it is stored once."""
    original, copy = await forwarded(
        local_queues.fresh(), local_queues.fresh("next", fifo=True), MessageGroupId="tenant"
    )
    assert copy["Attributes"]["MessageGroupId"] == "tenant"
    assert copy["Attributes"]["MessageDeduplicationId"] == original["MessageId"]


@pytest.mark.parametrize(
    ("handler", "what"),
    [(SQSHandler("a.fifo"), "Queue 'a.fifo'"), (SNSHandler("t.fifo"), "Topic 't.fifo'")],
)
async def test_a_fifo_target_needs_a_group(handler, what):
    """One line says so, before any request."""
    with pytest.raises(ProviderError, match=f"{what} is a FIFO .*MessageGroupId="):
        await handler.handle("text", {"MessageId": "1"})


async def test_attributes_of_an_sns_envelope_are_passed_on(local_queues, queue):
    """A message that came by SNS has its attributes in the envelope."""
    envelope = {
        "Type": "Notification",
        "MessageId": "sns-1",
        "Message": "{}",
        "MessageAttributes": {
            "kind": {"Type": "String", "Value": "x"},
            "raw": {"Type": "Binary", "Value": "AP8="},
        },
    }
    message = {"MessageId": "1", "Body": json.dumps(envelope), "ReceiptHandle": "h"}
    translated = SNSMessageTranslator().translate(message)
    await SQSHandler(queue).handle(translated["content"], translated["metadata"])
    [copy] = local_queues.receive(queue)
    assert copy["MessageAttributes"]["kind"]["StringValue"] == "x"
    assert copy["MessageAttributes"]["raw"]["BinaryValue"] == b"\x00\xff"


async def test_message_attributes_are_passed_on_to_a_topic(local_queues, topic):
    """SNS puts them into the envelope; the trace header is not SNS's."""
    name, queue = topic
    metadata = {
        "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "x"}},
        "Attributes": {"AWSTraceHeader": "Root=1", "MessageGroupId": "tenant"},
    }
    await SNSHandler(name).handle({}, metadata)
    [body] = bodies(local_queues, queue)
    assert json.loads(body)["MessageAttributes"] == {"kind": {"Type": "String", "Value": "x"}}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("ação 🦥", '"ação 🦥"'),
        ({"ключ": "значение"}, '{"ключ": "значение"}'),
        ("\ud800\uffff\n", '"\\ud800\\uffff\\n"'),
    ],
)
async def test_text_is_published_as_it_is(local_queues, queue, message, text):
    """Only what SQS refuses is escaped; the value that arrives is the same."""
    await SQSHandler(queue).publish(message)
    assert bodies(local_queues, queue) == [text]
    assert json.loads(text) == message


async def test_sns_publishes_a_structure_only_if_asked(scripted_server):
    """The message is the text; with MessageStructure it is a JSON object of texts."""
    sent = b"<PublishResponse><PublishResult><MessageId>x</MessageId></PublishResult></PublishResponse>"
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(sent)
    async with scripted_server(*[head + sent] * 2) as server:
        topic = "arn:aws:sns:us-east-1:123456789012:events"
        handler = SNSHandler(topic, endpoint_url=server.url, **OPTIONS)
        await handler.publish("é")
        await handler.publish({"default": "a", "sqs": "b"}, MessageStructure="json")
    plain, structured = (parse_qs(request.body.decode()) for request in server.requests)
    assert plain["Message"] == ['"é"']
    assert "MessageStructure" not in plain
    assert json.loads(structured["Message"][0]) == {"default": "a", "sqs": "b"}
    assert structured["MessageStructure"] == ["json"]


ORDERS = "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/123456789012/orders"


@pytest.fixture
def no_region(monkeypatch, tmp_path):
    """Neither environment nor profile name a region or an endpoint."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in os.environ:
        if name.startswith(("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("handler", "subject"),
    [
        (SQSHandler("orders"), "Queue 'orders'"),
        (SQSHandler("https://queue.example/1/orders"), "Queue 'orders'"),
        (SNSHandler("events"), "Topic 'events'"),
        (SNSHandler("arn:aws:sns::123456789012:events"), "Topic 'events'"),
    ],
)
async def test_publishing_without_a_region_is_one_line(no_region, handler, subject):
    """The line says what to set, and no class of botocore."""
    with pytest.raises(ProviderError) as raised:
        await handler.publish("message")
    assert str(raised.value).startswith(f"{subject}: no AWS region is set; set AWS_")
    assert "NoRegionError" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "service"),
    [(ORDERS, "sqs"), ("arn:aws:sns:eu-west-1:123456789012:events", "sns")],
)
async def test_the_region_of_the_target_counts_when_publishing(
    no_region, monkeypatch, address, service
):
    """A queue's URL or a topic's ARN names the region, whatever the environment says."""
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    async with clients.borrowed({}, address, service) as shared:
        assert (await shared.client(service)).meta.region_name == "eu-west-1"


async def test_the_environment_counts_before_the_profile_when_publishing(
    no_region, monkeypatch, tmp_path, scripted_server
):
    """A topic that is given by name is in the region of AWS_REGION."""
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\n")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    identity = (
        b"<GetCallerIdentityResponse><GetCallerIdentityResult><Account>1</Account>"
        b"<Arn>arn:aws:iam::1:root</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(identity)
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    async with (
        scripted_server(head + identity) as server,
        clients.borrowed({**keys, "endpoint_url": server.url}, "events", "sns") as shared,
    ):
        assert await shared.topic_arn("events") == "arn:aws:sns:eu-north-1:1:events"
