"""Requests to a queue by either transport, on the embedded server."""

import pytest

from loafer_kit.exceptions import ConfigurationError, ProviderError, TransientProviderError
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.requests import clients
from loafer_kit.ext.aws.requests.direct import DirectTransport
from loafer_kit.ext.aws.requests.transport import BotocoreTransport, Queue


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
