"""Requests to a queue by either transport, and answers that confirm nothing."""

import json

import pytest

from loafer_kit.exceptions import ConfigurationError, ProviderError, TransientProviderError
from loafer_kit.ext.aws.handlers import SNSHandler, SQSHandler
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.requests import clients, transport
from loafer_kit.ext.aws.requests.clients import BotocoreTransport
from loafer_kit.ext.aws.requests.direct import DirectTransport
from loafer_kit.ext.aws.requests.errors import judge_entry
from loafer_kit.ext.aws.requests.transport import Queue


@pytest.fixture(params=["direct", "botocore"])
async def queue(request, local_queues):
    name = local_queues.fresh()
    async with clients.borrowed({}) as shared:
        yield Queue(name, local_queues.queue_url(name), await shared.transport(request.param))


async def test_messages_are_sent_received_hidden_and_deleted(queue):
    """The five operations have AWS's shapes; batches answer with the entries that failed."""
    assert await queue.receive(WaitTimeSeconds=0) == []
    [sent] = (await queue.send([{"Id": "0", "MessageBody": "{}"}]))["Successful"]
    assert sent["Id"] == "0"
    (message,) = await queue.receive(WaitTimeSeconds=0)
    assert message["Body"] == "{}"
    assert await queue.change_visibility([(message["ReceiptHandle"], 0)]) == []
    (again,) = await queue.receive(WaitTimeSeconds=0)
    (failure,) = await queue.delete([again["ReceiptHandle"], "nonsense"])
    assert failure["Id"] == "1"
    assert failure["SenderFault"]
    attributes = await queue.attributes()
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


async def test_failures_are_provider_errors(queue):
    """A missing queue is final, and named."""
    missing = Queue("missing", f"{queue.url.rpartition('/')[0]}/missing", queue.transport)
    with pytest.raises(ProviderError, match="'missing' does not exist") as caught:
        await missing.receive(WaitTimeSeconds=0)
    assert not isinstance(caught.value, TransientProviderError)
    assert missing.statistics["ReceiveMessage"].failures == 1


async def test_refused_connections_may_be_repeated():
    """Nobody listens: that passes."""
    shared = clients.share(
        {
            "endpoint_url": "http://127.0.0.1:1",
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
    )
    try:
        with pytest.raises(TransientProviderError, match="'orders'"):
            await BotocoreTransport(shared.request).call(
                "ReceiveMessage", "http://127.0.0.1:1/1/orders"
            )
    finally:
        await clients.release(shared)


@pytest.mark.parametrize(
    ("option", "expected"),
    [({}, DirectTransport), ({"transport": "botocore"}, BotocoreTransport)],
    ids=["default", "botocore"],
)
async def test_a_provider_uses_the_transport_that_is_asked_for(local_queues, option, expected):
    """Either transport fetches a message and deletes it; the direct one is the default."""
    name = local_queues.fresh()
    local_queues.send(name, "hello")
    provider = SQSProvider(name, {"WaitTimeSeconds": 1}, **option)
    shared = clients.share({})
    try:
        [message] = await provider.fetch_messages()
        await provider.confirm_message(message)
        used = [kind for kind in ("direct", "botocore") if kind in shared._transports]
        assert [type(shared._transports[kind]) for kind in used] == [expected]
    finally:
        await provider.close()
        await clients.release(shared)
    assert message["Body"] == "hello"
    assert local_queues.counts(name).total == 0


def test_an_unknown_transport_is_one_clear_line():
    """It names the queue and what would work."""
    expected = "Queue 'orders': transport must be 'direct' or 'botocore', not 'pigeon'."
    with pytest.raises(ConfigurationError) as raised:
        SQSProvider("orders", transport="pigeon")
    assert str(raised.value) == expected


# Answers that are none: a page of a gateway, an empty body, a 200 that confirms nothing


KEYS = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "secret", "region_name": "eu-west-1"}
QUEUE_URL = "https://queue.example/123456789012/orders"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:events"
HTML = "<html>\n<head><title>Sign in</title></head>\n<body>Please sign in.</body></html>"


def answer(body, status=200, content_type="application/x-amz-json-1.0"):
    content = body if isinstance(body, str) else json.dumps(body)
    return (
        f"HTTP/1.1 {status} Whatever\r\nConnection: close\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(content.encode())}\r\n\r\n{content}"
    ).encode()


@pytest.fixture(params=["direct", "botocore"])
def answered(request, scripted_server):
    """Runs `ask(queue)` against a server that gives these answers; returns what it returns."""

    async def run(ask, *given):
        async with (
            scripted_server(*given) as server,
            clients.borrowed({**KEYS, "endpoint_url": server.url}) as shared,
        ):
            return await ask(Queue("orders", QUEUE_URL, await shared.transport(request.param)))

    return run


async def send_entries(queue, entries):
    """Return the entries that the answer does not confirm."""
    return transport.unconfirmed(entries, await queue.send(entries), transport.confirms_send)


BATCHES = {
    "send": lambda queue: send_entries(
        queue, [{"Id": str(position), "MessageBody": f"body {position}"} for position in range(2)]
    ),
    "delete": lambda queue: queue.delete(["a", "b"]),
    "change_visibility": lambda queue: queue.change_visibility([("a", 0), ("b", 0)]),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        HTML,
        "[]",
        '"done"',
        "null",
        {"Successful": []},
        {"Successful": None, "Failed": None},
        {"Successful": "all"},
        {"Successful": ["0", "1"]},
        {"Successful": [{}, {}]},
        {"Successful": [{"Id": "7", "MessageId": "x"}]},
        {"Failed": [{"Code": "InternalError"}]},
        {"message": "OK"},
    ],
    ids=repr,
)
async def test_a_batch_that_is_not_confirmed_may_be_repeated(answered, batch, body):
    """Each entry is among the failures that pass, or the whole request is such a failure."""
    try:
        failures = await answered(batch, answer(body))
    except TransientProviderError:
        return
    assert [failure["Id"] for failure in failures] == ["0", "1"]
    assert {judge_entry(failure) for failure in failures} == {"transient"}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
async def test_an_entry_in_neither_list_may_be_repeated(answered, batch):
    """An entry that SQS confirms is done; the other is not."""
    body = {"Successful": [{"Id": "1", "MessageId": "x"}]}
    [failure] = await answered(batch, answer(body))
    assert failure["Id"] == "0"
    assert judge_entry(failure) == "transient"


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
async def test_an_entry_in_both_lists_has_failed(answered, batch):
    """A failure counts more than a success; one of an entry that was not sent counts nothing."""
    body = {
        "Successful": [{"Id": str(number), "MessageId": "x"} for number in range(2)],
        "Failed": [{"Id": number, "Code": "No", "SenderFault": True} for number in "17"],
    }
    [failure] = await answered(batch, answer(body))
    assert failure["Id"] == "1"
    assert judge_entry(failure) == "final"


@pytest.mark.parametrize(
    "success",
    [
        {"Id": "0"},
        {"Id": "0", "MessageId": ""},
        {"Id": "0", "MessageId": "x", "MD5OfMessageBody": "0" * 32},
    ],
    ids=["no-message-id", "empty-message-id", "other-digest"],
)
async def test_a_send_is_confirmed_by_message_id_and_digest(answered, success):
    """What SQS stored must be what was sent."""

    def send(queue):
        return send_entries(queue, [{"Id": "0", "MessageBody": "body"}])

    [failure] = await answered(send, answer({"Successful": [success]}))
    assert judge_entry(failure) == "transient"
    right = {"Id": "0", "MessageId": "x", "MD5OfMessageBody": "841a2d689ad86bd1611447453c22c6fc"}
    assert await answered(send, answer({"Successful": [right]})) == []


ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": "grün"},
    "number": {"DataType": "Number.int", "StringValue": "7"},
    "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
}


@pytest.mark.parametrize("damaged", ATTRIBUTES)
async def test_a_send_is_confirmed_by_the_digest_of_the_attributes(answered, damaged):
    """A name, a type or a value that SQS did not store as it was sent may be sent again."""

    def send(queue):
        entry = {"Id": "0", "MessageBody": "body", "MessageAttributes": ATTRIBUTES}
        return send_entries(queue, [entry])

    def stored(attributes):
        digest = transport.digest_of_attributes(attributes)
        success = {"Id": "0", "MessageId": "x", "MD5OfMessageAttributes": digest}
        return answer({"Successful": [success]})

    assert await answered(send, stored(ATTRIBUTES)) == []
    other = {"StringValue": "8", "BinaryValue": b"\x00"}
    for change in (other, {"DataType": "Number"}, None):
        changed = ATTRIBUTES | {damaged: ATTRIBUTES[damaged] | (change or {})}
        if change is None:
            del changed[damaged]
        [failure] = await answered(send, stored(changed))
        assert judge_entry(failure) == "transient"


def test_the_digest_of_attributes_is_that_of_sqs():
    """The example in the reference of its API."""
    attributes = {
        "test_attribute_name_1": {"DataType": "String", "StringValue": "test_attribute_value_1"}
    }
    assert transport.digest_of_attributes(attributes) == "ba056227cfd9533dba1f72ad9816d233"


@pytest.mark.parametrize(("kind", "address"), [(SQSHandler, QUEUE_URL), (SNSHandler, TOPIC)])
@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        HTML,
        "[]",
        {"MessageId": ""},
        {"MessageId": "x", "MD5OfMessageBody": "0" * 32},
        "<PublishResponse><PublishResult></PublishResult></PublishResponse>",
    ],
    ids=repr,
)
async def test_publishing_is_confirmed_by_a_message_id(scripted_server, kind, address, body):
    """After three attempts without a confirmation, publishing fails: the message is not lost."""
    async with scripted_server(*[answer(body)] * 4) as server:
        handler = kind(address, endpoint_url=server.url, **KEYS)
        with pytest.raises(ProviderError, match=r"'orders'|'events'"):
            await handler.handle("message")
    assert len(server.requests) == 3


ASKS = {
    "ReceiveMessage": lambda queue: queue.receive(),
    "GetQueueAttributes": lambda queue: queue.attributes(),
}
MESSAGE = {"MessageId": "1", "ReceiptHandle": "h", "Body": "b"}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, ""),
        (200, HTML),
        (200, "[1]"),
        (204, ""),
        (302, ""),
        (400, HTML),
        (401, "[1]"),
        (403, '{"message": "Forbidden"}'),
        (404, "not found"),
        (413, HTML),
    ],
)
async def test_what_is_not_sqs_is_described_and_asked_again(answered, ask, status, body):
    """A gateway's page does not end the service; one line says what answered."""
    with pytest.raises(TransientProviderError) as raised:
        await answered(ask, answer(body, status, "text/html"))
    text = str(raised.value)
    assert text.startswith("Queue 'orders': what answers ")
    assert f"is not SQS: status {status}, text/html, '" in text
    assert "\n" not in text
    assert len(text) < 300


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_busy_server_is_not_called_another_service(answered, status):
    """SQS itself may answer so; the page is quoted on one line, and not as a whole."""
    with pytest.raises(TransientProviderError, match=f"answered status {status}") as raised:
        await answered(ASKS["ReceiveMessage"], answer(HTML * 100, status, "text/html"))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "messages",
    [
        "none",
        {"0": MESSAGE},
        [None],
        ["message"],
        [{}],
        *([{**MESSAGE, name: value}] for name in MESSAGE for value in (None, 7)),
        [{**MESSAGE, "MessageId": ""}],
        [MESSAGE, {**MESSAGE, "ReceiptHandle": ""}],
        [{**MESSAGE, "Attributes": ["a"]}],
        [{**MESSAGE, "Attributes": {"ApproximateReceiveCount": "many"}}],
        [{**MESSAGE, "MessageAttributes": ["a"]}],
        [{**MESSAGE, "MessageAttributes": {"a": "b"}}],
        [{**MESSAGE, "MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": "abc"}}}],
        [{**MESSAGE, "MD5OfBody": "0" * 32}],
        [{**MESSAGE, "Body": "\ud800", "MD5OfBody": "0" * 32}],
    ],
    ids=repr,
)
async def test_a_message_that_lacks_something_may_be_received_again(answered, messages):
    """SQS never answers so."""
    with pytest.raises(TransientProviderError, match="'orders'"):
        await answered(ASKS["ReceiveMessage"], answer({"Messages": messages}))


@pytest.mark.parametrize("messages", [None, [], [MESSAGE]], ids=repr)
async def test_a_message_needs_no_attributes(answered, messages):
    """What is optional may be left out."""
    received = await answered(ASKS["ReceiveMessage"], answer({"Messages": messages}))
    assert received == (messages or [])


@pytest.mark.parametrize(
    "attributes", [None, {}, [], "all", {"VisibilityTimeout": 30}, {"VisibilityTimeout": "x"}]
)
async def test_attributes_that_are_none_may_be_asked_for_again(answered, attributes):
    """A queue has attributes, all of them are text, and its timeout is a number."""
    with pytest.raises(TransientProviderError, match="is not SQS"):
        await answered(ASKS["GetQueueAttributes"], answer({"Attributes": attributes}))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, ""),
        (200, "{}"),
        (200, HTML),
        (200, "[1]"),
        (200, {"QueueUrl": ""}),
        (200, {"QueueUrl": 7}),
        (302, HTML),
        (403, HTML),
    ],
)
async def test_a_queue_whose_url_is_not_answered_may_be_asked_for_again(
    scripted_server, status, body
):
    """The same for the URL of a queue that is given by name."""
    async with (
        scripted_server(answer(body, status)) as server,
        clients.borrowed({**KEYS, "endpoint_url": server.url}) as shared,
    ):
        with pytest.raises(TransientProviderError, match="what answers GetQueueUrl is not SQS"):
            await shared.queue_url("orders")


@pytest.mark.parametrize(("status", "body"), [(200, HTML), (200, ""), (302, HTML), (403, "{}")])
async def test_what_is_not_sts_or_sns_is_described(scripted_server, status, body):
    """A topic by name asks STS for the account; the answer is as doubtful as SQS's."""
    async with scripted_server(*[answer(body, status)] * 3) as server:
        handler = SNSHandler("events", endpoint_url=server.url, **KEYS)
        with pytest.raises(TransientProviderError, match="GetCallerIdentity is not STS: status"):
            await handler.publish("message")
        assert len(server.requests) == 3
    async with scripted_server(*[answer(body, status)] * 3) as server:
        handler = SNSHandler(TOPIC, endpoint_url=server.url, **KEYS)
        with pytest.raises(TransientProviderError, match="Publish is not SNS: status"):
            await handler.publish("message")
