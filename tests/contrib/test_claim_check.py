"""Claim check: pointers of every form and hostile ones, what is written, and when it is deleted."""

import asyncio
import importlib
import json
from dataclasses import dataclass

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from loafer_kit import LoaferManager
from loafer_kit.applications import Application
from loafer_kit.contrib.claim_check import ClaimCheck
from loafer_kit.engine.deliveries import Deliveries
from loafer_kit.events import Observer
from loafer_kit.exceptions import ConfigurationError, ProviderError, RejectMessage
from loafer_kit.ext.aws.consumers import SQSConsumer
from loafer_kit.ext.aws.lambda_handler import lambda_handler
from loafer_kit.ext.aws.message_translators import SQSTextMessageTranslator
from loafer_kit.ext.aws.producer import Producer
from loafer_kit.ext.aws.requests import clients
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.local import LocalQueue
from loafer_kit.outcomes import ACKNOWLEDGE, DeadLetter, Retry
from loafer_kit.testing import run_until_empty, sqs_message

NEW, OLD = (
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
)
ONE_ATTEMPT = Config(retries={"total_max_attempts": 1})
BUCKET = "payloads"


@dataclass
class Order:
    number: int


@pytest.fixture(scope="module")
def s3_url():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="module")
def s3_client(s3_url):
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    client = boto3.client("s3", endpoint_url=s3_url, region_name="us-east-1", **keys)
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


@pytest.fixture
def s3(s3_client, s3_url, local_queues, monkeypatch):
    """S3, and SQS beside it, for what runs in the test."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_url)
    return s3_client


def keys(s3):
    return {item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


def pointer(key, bucket=BUCKET, kind=NEW, marker="ExtendedPayloadSize", **facts):
    body = [kind, {"s3BucketName": bucket, "s3Key": key}]
    return sqs_message(json.dumps(body), attributes={marker: "17", "shop": "3"}, **facts)


def route(handler, claim_check=None, **options):
    translator = (claim_check or ClaimCheck(BUCKET)).translator()
    return SQSRoute("orders", handler=handler, message_translator=translator, **options)


async def send(claim_check, text):
    await Producer("orders", prepare=claim_check.store).send(text)


async def accept(content, metadata):
    return True


# Reading


@pytest.mark.parametrize(
    ("kind", "marker"),
    [
        pytest.param(NEW, "ExtendedPayloadSize", id="python and sns"),
        pytest.param(NEW, "SQSLargePayloadSize", id="java 2"),
        pytest.param(OLD, "SQSLargePayloadSize", id="java 1"),
        pytest.param(OLD, "ExtendedPayloadSize", id="python, legacy class"),
    ],
)
async def test_a_typed_handler_gets_the_payload(s3, kind, marker):
    """And no trace of the pointer, however Amazon's client wrote it."""
    seen = []

    async def handle(order: Order, metadata):
        seen.append((order, metadata))
        return True

    s3.put_object(Bucket=BUCKET, Key="jüst/a key", Body=b'{"number": 7}')
    message = pointer("jüst/a key", kind=kind, marker=marker)
    delivery = await Deliveries(route(handle)).deliver(message)

    ((order, metadata),) = seen
    assert (delivery.outcome, order) == (ACKNOWLEDGE, Order(7))
    assert list(metadata["MessageAttributes"]) == ["shop"]
    assert metadata["ReceiptHandle"] == message["ReceiptHandle"]
    assert BUCKET not in str(metadata)


async def test_a_message_without_the_attribute_is_no_pointer(s3):
    """Its body is the content, even if it looks like one."""
    message = pointer("key")
    del message["MessageAttributes"]["ExtendedPayloadSize"]

    assert await ClaimCheck(BUCKET).load(message) is message


async def test_a_translator_of_one_s_own_gets_the_payload(s3):
    s3.put_object(Bucket=BUCKET, Key="text", Body="grün".encode())
    translator = ClaimCheck(BUCKET).translator(SQSTextMessageTranslator())

    assert (await translator.translate(pointer("text")))["content"] == "grün"


HOSTILE = {
    "text": "hello",
    "not JSON": "[",
    "deep": "[" * 100_000,
    "an object": json.dumps({"s3BucketName": BUCKET, "s3Key": "k"}),
    "too short": json.dumps([NEW]),
    "too long": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": "k"}, 1]),
    "another class": json.dumps(["java.lang.Runtime", {"s3BucketName": BUCKET, "s3Key": "k"}]),
    "a class that is a list": json.dumps([[NEW], {"s3BucketName": BUCKET, "s3Key": "k"}]),
    "no key": json.dumps([NEW, {"s3BucketName": BUCKET}]),
    "a number as key": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": 7}]),
    "no bucket": json.dumps([NEW, {"s3Key": "k"}]),
    "another bucket": json.dumps([NEW, {"s3BucketName": "secrets", "s3Key": "k"}]),
    "a huge bucket": json.dumps([NEW, {"s3BucketName": "s" * 1_000_000, "s3Key": "k"}]),
    "a huge key": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": "k" * 1_000_000}]),
    "an empty key": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": ""}]),
    "a key of 1,025 bytes": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": "ü" * 512 + "k"}]),
    "a line break": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": "a\nb"}]),
    "a zero": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": "a\0b"}]),
    "half a character": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": "\ud800"}]),
    "a terminal's escape": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": "\x1b[2J"}]),
    "a way out": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": "../secrets/k"}]),
    "a dot": json.dumps([NEW, {"s3BucketName": BUCKET, "s3Key": "a/./b"}]),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_pointer_is_rejected_with_one_short_line(body, caplog):
    """S3, which is not there, is not asked."""
    message = sqs_message(body, attributes={"ExtendedPayloadSize": "1"})
    delivery = await Deliveries(route(accept, ClaimCheck(BUCKET, "elsewhere"))).deliver(message)

    assert isinstance(delivery.outcome, DeadLetter)
    assert "\n" not in delivery.outcome.reason
    assert delivery.outcome.reason.isprintable()
    assert len(delivery.outcome.reason) < 400
    (record,) = caplog.records
    assert record.event == "message.undecodable"


async def test_a_rejected_bucket_is_named_with_the_allowed_ones():
    check = ClaimCheck(BUCKET, "more")
    with pytest.raises(ValueError, match=r"bucket 'secrets', but .* are in payloads, more"):
        check.pointer(pointer("k", "secrets"))
    assert check.pointer(pointer("k", "more")) == ("more", "k")


async def test_a_missing_payload_is_rejected_with_its_key(s3):
    """Trying again does not bring it back."""
    delivery = await Deliveries(route(accept)).deliver(pointer("gone"))

    assert isinstance(delivery.outcome, DeadLetter)
    assert "Object 'gone' of bucket 'payloads' does not exist" in delivery.outcome.reason


async def test_a_payload_that_is_not_text_is_rejected(s3):
    s3.put_object(Bucket=BUCKET, Key="picture", Body=b"\xff\xd8")
    delivery = await Deliveries(route(accept)).deliver(pointer("picture"))

    assert delivery.outcome == DeadLetter(
        "ValueError: Object 'picture' of bucket 'payloads' is not text in UTF-8."
    )


HEAD = "HTTP/1.1 {}\r\nConnection: close\r\nContent-Type: application/xml\r\n"
UNAVAILABLE = {
    "nobody answers": None,
    "busy": HEAD.format("503 Slow Down") + "Content-Length: 0\r\n\r\n",
    "no permission": HEAD.format("403 Forbidden")
    + "Content-Length: 37\r\n\r\n<Error><Code>AccessDenied</Code></Error>"[:-1],
    "no bucket": HEAD.format("404 Not Found")
    + "Content-Length: 40\r\n\r\n<Error><Code>NoSuchBucket</Code></Error>",
    "cut off": HEAD.format("200 OK") + 'Content-Length: 17\r\n\r\n{"number": 7',
}


@pytest.mark.parametrize("answer", UNAVAILABLE.values(), ids=UNAVAILABLE)
async def test_a_message_is_retried_while_s3_does_not_give_its_payload(
    answer, s3, monkeypatch, caplog
):
    """That costs a line with the reason, which a dead letter has too if there is no other try."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write((answer or "").encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        if answer is None:
            server.close()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        check = ClaimCheck(BUCKET, config=ONE_ATTEMPT)
        delivery = await Deliveries(route(accept, check)).deliver(pointer("key"))

    assert isinstance(delivery.outcome, Retry)
    assert "Object 'key' of bucket 'payloads'" in delivery.outcome.reason
    (record,) = caplog.records
    assert (record.event, record.key) == ("payload.not_fetched", "key")


@pytest.mark.parametrize("deletes", [False, True])
async def test_an_application_loads_payloads_before_its_callback(s3, local_queues, deletes):
    """As a preprocessor. The payload stays in S3, unless it is asked to delete it."""
    before = keys(s3)
    local_queues.create("orders")
    check, seen = ClaimCheck(BUCKET), []

    async def callback(app, message):
        seen.append(message["Body"])
        app.stop()
        return []

    app = Application("shop", callback=callback)
    app.consumer = SQSConsumer(app, "orders")

    if deletes:
        check.delete_payloads(app)

    @app.message_preprocessor
    async def load(app, message):
        return await check.load(message)

    await send(ClaimCheck(BUCKET, above=0), "large")
    await app.serve()

    assert seen == ["large"]
    assert local_queues.counts("orders").total == 0
    assert (keys(s3) == before) == deletes


# Writing


@pytest.mark.parametrize(
    ("above", "is_stored"), [(37, False), (36, True)], ids=["at the limit", "above it"]
)
async def test_the_size_is_that_of_body_and_attributes_in_bytes(s3, above, is_stored):
    """As SQS counts: names, types and values. The body has 9 bytes."""
    attributes = {
        "größe": {"DataType": "Number", "StringValue": "12"},  # 7 + 6 + 2
        "bild": {"DataType": "Binary", "BinaryValue": b"\0\1\2"},  # 4 + 6 + 3
    }
    sent = await ClaimCheck(BUCKET, above=above).store("fünf €", attributes)

    assert (sent != ("fünf €", attributes)) == is_stored


async def test_a_large_message_is_written_as_amazon_s_clients_write_it(s3):
    """Its attributes stay; the payload is under a key of its own in the first bucket."""
    before = keys(s3)
    attributes = {"shop": {"DataType": "String", "StringValue": "3"}}
    check = ClaimCheck(BUCKET, "elsewhere", above=10)
    body, sent = await check.store("elf Zeichen", attributes)

    (key,) = keys(s3) - before
    assert json.loads(body) == [NEW, {"s3BucketName": BUCKET, "s3Key": key}]
    assert sent == {
        **attributes,
        "ExtendedPayloadSize": {"DataType": "Number", "StringValue": "11"},
    }
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"elf Zeichen"
    assert list(attributes) == ["shop"]


async def test_amazon_s_threshold_is_the_default(s3):
    check = ClaimCheck(BUCKET)
    small, large = "x" * 262_144, "x" * 262_145

    assert (await check.store(small))[0] == small
    assert "s3Key" in (await check.store(large))[0]


async def test_what_was_written_can_be_read(s3):
    """Whatever the text is, and with up to nine attributes."""
    check = ClaimCheck(BUCKET, above=0)
    held = clients.share({})  # as by a service: otherwise each request opens a client
    for body, count in (("0", 0), ("\0\r\n\x85\u2028 \ufffe", 1), ("€\U0001f600", 9)):
        sent, attributes = await check.store(body, many(count))
        found = await check.load({"Body": sent, "MessageAttributes": attributes})
        assert (found["Body"], found["MessageAttributes"]) == (body, many(count))
    await clients.release(held)


def many(count):
    return {f"a{n}": {"DataType": "String", "StringValue": "1"} for n in range(count)}


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        (many(10), "has 10 attributes, but beside a pointer to its payload it may have 9"),
        ({**many(1), "ExtendedPayloadSize": {}}, "'ExtendedPayloadSize' is reserved"),
        ({**many(1), "SQSLargePayloadSize": {}}, "'SQSLargePayloadSize' is reserved"),
    ],
)
async def test_attributes_that_leave_no_room_for_a_pointer_are_refused(attributes, problem):
    """Before anything is written; a message that is small enough may have them."""
    with pytest.raises(ProviderError, match=problem):
        await ClaimCheck(BUCKET, above=0).store("x", attributes)
    assert await ClaimCheck(BUCKET, above=300).store("x", attributes) == ("x", attributes)


async def test_a_payload_that_cannot_be_written_is_one_error(s3):
    with pytest.raises(ProviderError, match="bucket 'nowhere': s3:PutObject answered NoSuchBucket"):
        await ClaimCheck("nowhere", above=0).store("x")


@pytest.mark.parametrize(
    ("arguments", "options", "problem"),
    [
        ((), {}, "names of buckets"),
        (("",), {}, "names of buckets"),
        ((["payloads"],), {}, "names of buckets"),
        ((BUCKET,), {"above": -1}, "above must be a whole number"),
        ((BUCKET,), {"endpoint": "x"}, "no option 'endpoint'.*endpoint_url"),
    ],
)
def test_what_cannot_work_is_refused_at_once(arguments, options, problem):
    with pytest.raises(ConfigurationError, match=problem):
        ClaimCheck(*arguments, **options)


async def test_amazon_s_client_reads_what_we_write_and_we_read_what_it_writes(
    s3, s3_url, local_queues, monkeypatch
):
    """Importing it replaces boto3's session: that ends with the test."""
    for module in (boto3, boto3.session):
        monkeypatch.setattr(module, "Session", module.Session)
    amazon = importlib.import_module("sqs_extended_client")
    local_queues.create("orders")
    # It makes its S3 client from the session alone.
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_url)
    session = amazon.SQSExtendedClientSession(region_name="us-east-1")
    client = session.client("sqs")
    client.large_payload_support = BUCKET
    check = ClaimCheck(BUCKET)
    large = "größer" * 50_000

    await send(check, large)
    (theirs,) = client.receive_message(QueueUrl=local_queues.queue_url("orders"))["Messages"]
    client.delete_message(
        QueueUrl=local_queues.queue_url("orders"), ReceiptHandle=theirs["ReceiptHandle"]
    )
    client.send_message(QueueUrl=local_queues.queue_url("orders"), MessageBody=large)
    provider = route(accept).provider
    (ours,) = await provider.fetch_messages()
    await provider.close()
    client.close()

    assert theirs["Body"] == large
    assert ours["Body"] != large
    assert (await check.load(ours))["Body"] == large


# A service


class Requests(Observer):
    """Notes what S3 and SQS were asked to delete, in the order of the answers."""

    def __init__(self):
        self.answered = []

    def request_ended(self, request):
        if request.action.startswith("Delete"):
            self.answered.append(request.action)


def test_a_payload_is_deleted_after_its_message_if_that_is_asked_for(s3, local_queues):
    local_queues.create("orders")
    before = keys(s3)
    asyncio.run(send(ClaimCheck(BUCKET, above=0), '{"number": 7}'))
    check, requests = ClaimCheck(BUCKET), Requests()
    manager = LoaferManager([route(accept, check)])
    manager.observe(requests)
    check.delete_payloads(manager)

    run_until_empty(manager, local_queues)

    assert keys(s3) == before
    assert requests.answered == ["DeleteMessageBatch", "DeleteObject"]


def test_a_dead_letter_keeps_the_pointer_and_s3_the_payload(s3, local_queues):
    """The letter is as small as the message was."""
    local_queues.create(LocalQueue("orders", dead_letter_queue="dead"))
    before = keys(s3)
    asyncio.run(send(ClaimCheck(BUCKET, above=0), '{"number": 7}'))

    async def handle(order: Order, metadata):
        raise RejectMessage("not today")

    check = ClaimCheck(BUCKET)
    manager = LoaferManager([route(handle, check)])
    check.delete_payloads(manager)
    run_until_empty(manager, local_queues)

    (key,) = keys(s3) - before
    (letter,) = local_queues.receive("dead")
    assert json.loads(letter["Body"])[1]["s3Key"] == key
    assert letter["MessageAttributes"].keys() >= {"ExtendedPayloadSize", "DeadLetterReason"}


@pytest.mark.parametrize("result", ["put back", "left", "dead-lettered", "given up"])
async def test_a_payload_stays_while_its_message_may_come_back(s3, result):
    """Only a message that SQS has deleted as handled does not need it."""
    s3.put_object(Bucket=BUCKET, Key="needed", Body=b"1")
    check = ClaimCheck(BUCKET)
    manager = LoaferManager([one := route(accept, check)])
    check.delete_payloads(manager)
    manager._observers.of_route(one).settled([pointer("needed")], result, 0.0)
    await manager._tear_down()

    assert "needed" in keys(s3)


def test_on_lambda_payloads_stay(s3, monkeypatch):
    """It deletes the messages later, after the function has returned."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    s3.put_object(Bucket=BUCKET, Key="needed", Body=b"1")
    check = ClaimCheck(BUCKET)
    seen = []
    manager = LoaferManager([route(lambda content, _: seen.append(content) or True, check)])
    check.delete_payloads(manager)
    handle = lambda_handler(manager)
    message = pointer("needed")
    event = {
        "messageId": "1",
        "receiptHandle": "r",
        "body": message["Body"],
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {
            "ExtendedPayloadSize": {"stringValue": "1", "dataType": "Number"},
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
        "awsRegion": "us-east-1",
    }
    try:
        assert handle({"Records": [event]}, None) == {"batchItemFailures": []}
    finally:
        handle.close()

    assert seen == [1]
    assert "needed" in keys(s3)


async def test_a_payload_that_cannot_be_deleted_is_one_line(s3, caplog):
    """And a pointer that is not valid, which an error handler has acknowledged, none."""
    check = ClaimCheck("nowhere")
    manager = LoaferManager([one := route(accept, check)])
    check.delete_payloads(manager)
    messages = [pointer("k", "nowhere"), pointer("k", "secrets"), sqs_message("small")]
    manager._observers.of_route(one).settled(messages, "acknowledged", 0.0)
    await manager._tear_down()

    (record,) = [line for line in caplog.records if line.levelname == "ERROR"]
    assert (record.event, record.bucket) == ("payload.not_deleted", "nowhere")
