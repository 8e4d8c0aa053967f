"""The stub of SQS answers a real client as SQS does."""

import asyncio
import json
import sys
import urllib.request
from pathlib import Path

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def endpoint():
    stub = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.stub"), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    port = int(await stub.stdout.readline())
    yield f"http://127.0.0.1:{port}"
    stub.terminate()
    assert await stub.wait() == 0


@pytest.fixture
async def sqs(endpoint):
    async with get_session().create_client(
        "sqs",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    ) as client:
        yield client


@pytest.fixture
async def queue(sqs):
    return (await sqs.create_queue(QueueName="orders"))["QueueUrl"]


async def receive(sqs, queue, **options):
    answer = await sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, **options)
    return answer.get("Messages", [])


def control(endpoint, path):
    with urllib.request.urlopen(endpoint + path) as answer:
        return json.load(answer)


async def test_message_arrives_as_it_was_sent(sqs, queue):
    """Body, attributes and digests survive; the client checks the body's MD5 itself."""
    attributes = {
        "kind": {"DataType": "String", "StringValue": "café"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    sent = await sqs.send_message(
        QueueUrl=queue, MessageBody='naïve "body"', MessageAttributes=attributes
    )
    (message,) = await receive(
        sqs, queue, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    )
    assert message["Body"] == 'naïve "body"'
    assert message["MessageId"] == sent["MessageId"]
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


async def test_attribute_digest_is_the_one_aws_documents(sqs, queue):
    """The digest of message attributes equals one that SQS itself gave."""
    sent = await sqs.send_message(
        QueueUrl=queue,
        MessageBody="x",
        MessageAttributes={"timestamp": {"DataType": "Number", "StringValue": "1493147359900"}},
    )
    assert sent["MD5OfMessageAttributes"] == "235c5c510d26fb653d073faed50ae77c"


async def test_only_what_was_asked_for_is_answered(sqs, queue):
    """Attributes come by name only, and no more messages than the limit."""
    attributes = {name: {"DataType": "String", "StringValue": "x"} for name in ("a.one", "b")}
    for _ in range(3):
        await sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes=attributes)
    (first,) = (await sqs.receive_message(QueueUrl=queue))["Messages"]
    assert "Attributes" not in first
    assert "MessageAttributes" not in first
    named, _ = await receive(sqs, queue, MessageAttributeNames=["a.*"])
    assert list(named["MessageAttributes"]) == ["a.one"]


async def test_long_poll_wakes_on_a_send(sqs, queue):
    """A waiting receive answers when a message is sent, long before its wait time is over."""
    waiting = asyncio.create_task(receive(sqs, queue, WaitTimeSeconds=20))
    await asyncio.sleep(0)
    await sqs.send_message(QueueUrl=queue, MessageBody="x")
    assert len(await waiting) == 1


async def test_message_returns_after_its_visibility_timeout(sqs, queue):
    """A message that is not deleted comes back with a new receipt handle and a higher count."""
    await sqs.send_message(QueueUrl=queue, MessageBody="x")
    (first,) = await receive(sqs, queue, VisibilityTimeout=1)
    assert await receive(sqs, queue) == []
    (again,) = await receive(
        sqs, queue, WaitTimeSeconds=20, MessageSystemAttributeNames=["ApproximateReceiveCount"]
    )
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"}
    await sqs.delete_message(QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"])
    with pytest.raises(sqs.exceptions.MessageNotInflight):
        await sqs.change_message_visibility(
            QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
        )
    await sqs.change_message_visibility(
        QueueUrl=queue, ReceiptHandle=again["ReceiptHandle"], VisibilityTimeout=0
    )
    assert len(await receive(sqs, queue)) == 1


async def test_extended_message_stays_in_flight(sqs, queue):
    """An extension replaces the deadline that the receive had set."""
    for body in ("extended", "expiring"):
        await sqs.send_message(QueueUrl=queue, MessageBody=body)
    first, _ = await receive(sqs, queue, VisibilityTimeout=1)
    await sqs.change_message_visibility(
        QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=60
    )
    assert [m["Body"] for m in await receive(sqs, queue, WaitTimeSeconds=20)] == ["expiring"]


async def test_batches_fail_per_entry(sqs, queue):
    """One bad entry fails alone and says that the sender is to blame."""
    entries = [{"Id": str(i), "MessageBody": str(i)} for i in range(10)]
    sent = await sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert [entry["Id"] for entry in sent["Successful"]] == [str(i) for i in range(10)]
    messages = await receive(sqs, queue)
    handles = [message["ReceiptHandle"] for message in messages[:9]] + ["nonsense"]
    changed = await sqs.change_message_visibility_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": 60}
            for i, handle in enumerate(handles)
        ],
    )
    deleted = await sqs.delete_message_batch(
        QueueUrl=queue,
        Entries=[{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(handles)],
    )
    for answer in (changed, deleted):
        (failed,) = answer["Failed"]
        assert len(answer["Successful"]) == 9
        assert (failed["Id"], failed["Code"]) == ("9", "ReceiptHandleIsInvalid")
        assert failed["SenderFault"]


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([{"Id": str(i), "MessageBody": "x"} for i in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "0", "MessageBody": "x"}] * 2, "BatchEntryIdsNotDistinct"),
    ],
)
async def test_malformed_batches_fail_whole(sqs, queue, entries, code):
    """A batch that is empty, too long or repeats an id is refused."""
    with pytest.raises(ClientError, match=code):
        await sqs.send_message_batch(QueueUrl=queue, Entries=entries)


async def test_queues_are_made_found_and_counted(sqs, queue):
    """Queues are found by name, listed, described, purged and deleted."""
    assert (await sqs.get_queue_url(QueueName="orders"))["QueueUrl"] == queue
    assert (await sqs.list_queues(QueueNamePrefix="ord"))["QueueUrls"] == [queue]
    await sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "5"})
    for _ in range(2):
        await sqs.send_message(QueueUrl=queue, MessageBody="x")
    await sqs.receive_message(QueueUrl=queue)
    attributes = await sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
    assert attributes["Attributes"]["VisibilityTimeout"] == "5"
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "1"
    assert attributes["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1"
    await sqs.purge_queue(QueueUrl=queue)
    assert await receive(sqs, queue) == []
    await sqs.delete_queue(QueueUrl=queue)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        await sqs.get_queue_url(QueueName="orders")


async def test_what_the_stub_cannot_do_is_refused(sqs, endpoint, queue):
    """FIFO queues, foreign actions and bad limits are errors, not silent differences."""
    with pytest.raises(ClientError, match="standard queues only"):
        await sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})
    with pytest.raises(ClientError, match="does not know"):
        await sqs.list_queue_tags(QueueUrl=queue)
    with pytest.raises(ClientError, match="from 1 to 10"):
        await sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=11)


async def test_benchmark_can_fill_drain_and_count(sqs, endpoint, queue):
    """The control endpoints copy the last message, tell when all is deleted, and count requests."""
    await sqs.send_message(QueueUrl=queue, MessageBody="x")
    await asyncio.to_thread(control, endpoint, "/fill?queue=orders&copies=9")
    messages = await receive(sqs, queue)
    assert len({message["MessageId"] for message in messages}) == 10
    path = "/drained?queue=orders&seconds="
    assert await asyncio.to_thread(control, endpoint, path + "0") == {"drained": False}
    drained = asyncio.create_task(asyncio.to_thread(control, endpoint, path + "30"))
    await sqs.delete_message_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]}
            for i, message in enumerate(messages)
        ],
    )
    assert await drained == {"drained": True}
    stats = await asyncio.to_thread(control, endpoint, "/stats")
    assert stats["requests"]["DeleteMessageBatch"] == 1
    assert stats["queues"]["orders"]["deleted"] == 10
    assert stats["queues"]["orders"]["requests"] == 3
