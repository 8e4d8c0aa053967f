"""The transport by aiobotocore, on the embedded server."""

import pytest

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws import clients
from loafer_kit.ext.aws.botocore_transport import BotocoreTransport


@pytest.fixture
async def transport(local_queues):
    shared = clients.share({})
    yield BotocoreTransport(shared)
    await clients.release(shared)


@pytest.fixture
def url(local_queues):
    return local_queues.queue_url(local_queues.fresh())


async def test_messages_are_sent_received_hidden_and_deleted(transport, url):
    """The five operations have AWS's shapes; batches answer with the entries that failed."""
    assert await transport.receive_message(url, WaitTimeSeconds=0) == []
    assert await transport.send_message_batch(url, [{"Id": "0", "MessageBody": "{}"}]) == []
    (message,) = await transport.receive_message(url, WaitTimeSeconds=0)
    assert message["Body"] == "{}"
    handle = {"ReceiptHandle": message["ReceiptHandle"]}
    visible = [{"Id": "0", **handle, "VisibilityTimeout": 0}]
    assert await transport.change_message_visibility_batch(url, visible) == []
    (again,) = await transport.receive_message(url, WaitTimeSeconds=0)
    entries = [
        {"Id": "0", "ReceiptHandle": again["ReceiptHandle"]},
        {"Id": "1", "ReceiptHandle": "nonsense"},
    ]
    (failure,) = await transport.delete_message_batch(url, entries)
    assert failure["Id"] == "1"
    assert failure["SenderFault"]
    attributes = await transport.get_queue_attributes(url)
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


async def test_failures_are_provider_errors(transport, url):
    """A missing queue is final, and named."""
    with pytest.raises(ProviderError, match="'missing' does not exist") as caught:
        await transport.receive_message(f"{url.rpartition('/')[0]}/missing", WaitTimeSeconds=0)
    assert not isinstance(caught.value, TransientProviderError)


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
            await BotocoreTransport(shared).receive_message("http://127.0.0.1:1/1/orders")
    finally:
        await clients.release(shared)
