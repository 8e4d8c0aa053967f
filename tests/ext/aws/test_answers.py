"""Answers that are none: a page of a gateway, an empty body, a 200 that confirms nothing."""

import json

import pytest

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws import clients
from loafer_kit.ext.aws.errors import judge_entry
from loafer_kit.ext.aws.handlers import SNSHandler, SQSHandler
from loafer_kit.ext.aws.transport import Queue

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

    async def run(ask, *answers):
        async with (
            scripted_server(*answers) as server,
            clients.borrowed({**KEYS, "endpoint_url": server.url}) as shared,
        ):
            return await ask(Queue("orders", QUEUE_URL, await shared.transport(request.param)))

    return run


BATCHES = {
    "send": lambda queue: queue.send(
        [{"Id": str(position), "MessageBody": f"body {position}"} for position in range(2)]
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
        return queue.send([{"Id": "0", "MessageBody": "body"}])

    [failure] = await answered(send, answer({"Successful": [success]}))
    assert judge_entry(failure) == "transient"
    right = {"Id": "0", "MessageId": "x", "MD5OfMessageBody": "841a2d689ad86bd1611447453c22c6fc"}
    assert await answered(send, answer({"Successful": [right]})) == []


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
