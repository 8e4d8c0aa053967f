"""The direct transport over real HTTP: with the embedded SQS server, and with one that misbehaves."""

import asyncio
import email.utils
import json
import socket
import sys
import time
from datetime import datetime

import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.requests import clients
from loafer_kit.ext.aws.requests.errors import from_exception, queue_subject
from loafer_kit.ext.aws.requests.transport import Queue

KEYS = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "secret"}
QUEUE_URL = "https://queue.example/123456789012/orders"


def answer(status=200, body="{}", headers=()):
    """Return the bytes of an HTTP response that ends its connection."""
    text = body if isinstance(body, str) else json.dumps(body)
    lines = [f"HTTP/1.1 {status} Whatever", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in dict(headers).items()]
    lines += [f"Content-Length: {len(text.encode())}", "", text]
    return "\r\n".join(lines).encode()


@pytest.fixture
async def sqs(local_queues, opened):
    """A transport, a client and the URL of a fresh queue on the embedded server."""
    url = local_queues.queue_url(local_queues.fresh())
    async with opened(local_queues.url) as (transport, client):
        yield transport, client, url


async def receive(transport, url, **parameters):
    return await Queue("orders", url, transport).receive(
        MaxNumberOfMessages=10,
        MessageSystemAttributeNames=["All"],
        MessageAttributeNames=["All"],
        **parameters,
    )


async def test_sends_and_receives_what_botocore_would(sqs):
    """Bodies, text attributes and binary attributes arrive as botocore delivers them."""
    transport, client, url = sqs
    entries = [
        {
            "Id": "0",
            "MessageBody": '{"text": "ação 🦥\\u2028\\n"}',
            "MessageAttributes": {
                "kind": {"DataType": "String", "StringValue": "größe"},
                "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
            },
        },
        {"Id": "1", "MessageBody": "second"},
    ]

    answer = await Queue("orders", url, transport).send(entries)
    assert len(answer["Successful"]) == 2
    ours = await receive(transport, url, VisibilityTimeout=0)
    theirs = await client.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        MessageSystemAttributeNames=["All"],
        MessageAttributeNames=["All"],
    )

    def comparable(messages):
        for message in messages:
            del message["ReceiptHandle"]
            del message["Attributes"]["ApproximateReceiveCount"]
        return sorted(messages, key=lambda message: message["Body"])

    received = comparable(ours)
    assert received == comparable(theirs["Messages"])
    assert received[1]["MessageAttributes"]["raw"]["BinaryValue"] == b"\x00\xff"


async def test_an_empty_queue_gives_an_empty_list(sqs):
    """No messages are an empty list."""
    transport, _, url = sqs
    assert await receive(transport, url) == []


async def test_deletes_and_returns_the_entries_that_failed(sqs):
    """What SQS refuses of a batch is returned; the rest is done."""
    transport, _, url = sqs
    await Queue("orders", url, transport).send([{"Id": "0", "MessageBody": "x"}])
    [message] = await receive(transport, url)
    queue = Queue("orders", url, transport)

    [failure] = await queue.delete([message["ReceiptHandle"], "nonsense"])

    assert failure["Id"] == "1"
    assert failure["SenderFault"] is True
    assert failure["Code"]
    attributes = await queue.attributes()
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


async def test_gives_a_message_back_at_once(sqs):
    """A visibility timeout of 0 makes the message visible again."""
    transport, _, url = sqs
    await Queue("orders", url, transport).send([{"Id": "0", "MessageBody": "x"}])
    [message] = await receive(transport, url)

    queue = Queue("orders", url, transport)
    assert await queue.change_visibility([(message["ReceiptHandle"], 0)]) == []

    [again] = await receive(transport, url)
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


async def test_a_long_poll_outlasts_the_read_timeout(local_queues, opened):
    """Waiting for messages is no timeout, however short the client's own is."""
    url = local_queues.queue_url(local_queues.fresh())
    config = AioConfig(read_timeout=0.3)
    async with opened(local_queues.url, config=config) as (transport, _):
        assert await receive(transport, url, WaitTimeSeconds=1) == []


async def test_an_error_reads_as_with_botocore(sqs):
    """A queue that does not exist is the same final error on either transport."""
    transport, client, url = sqs
    missing = url + "-missing"
    with pytest.raises(ClientError) as theirs:
        await client.receive_message(QueueUrl=missing)

    with pytest.raises(ProviderError) as ours:
        await receive(transport, missing)

    expected = from_exception(theirs.value, action="ReceiveMessage", subject=queue_subject(missing))
    assert type(ours.value) is type(expected) is ProviderError
    assert str(ours.value) == str(expected)


async def test_asks_for_the_old_error_codes(sqs, scripted_server, opened):
    """The code is the one of `x-amzn-query-error`, which botocore reports too."""
    error = {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "gone"}
    header = {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"}
    async with (
        scripted_server(answer(400, error, header)) as server,
        opened(server.url) as (transport, _),
    ):
        with pytest.raises(ProviderError, match="NonExistentQueue"):
            await receive(transport, QUEUE_URL)
    assert server.requests[0].headers["x-amzn-query-mode"] == "true"


@pytest.mark.parametrize(
    "scripted",
    [
        answer(500, "<html>oops</html>"),
        answer(503, ""),
        answer(400, {"__type": "ThrottlingException", "message": "slow down"}),
        answer(403, {"__type": "com.amazon.coral.service#RequestThrottled"}),
        answer(200, '{"Messages": [{"Bo'),
        answer(200, "[1]"),
        answer(200, b"\xff".decode("latin-1")),
        answer(200, {"Messages": [{"MessageId": "1", "Body": "b", "MD5OfBody": "0" * 32}]}),
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"nonsense\r\n\r\n",
    ],
    ids=[
        "500",
        "503",
        "throttled",
        "throttled-query",
        "malformed",
        "no-object",
        "no-text",
        "damaged-body",
        "closed-unanswered",
        "closed-midway",
        "no-http",
    ],
)
async def test_what_may_pass_is_transient(scripted, scripted_server, opened):
    """Server errors, throttling and broken answers may be repeated; the transport does not."""
    async with scripted_server(scripted) as server, opened(server.url) as (transport, _):
        with pytest.raises(TransientProviderError, match="orders"):
            await receive(transport, QUEUE_URL)
    assert len(server.requests) == 1


async def test_silence_is_transient(scripted_server, opened):
    """A server that takes the request and never answers is given up after the read timeout."""
    config = AioConfig(read_timeout=0.2)
    async with (
        scripted_server(None) as server,
        opened(server.url, config=config) as (transport, _),
    ):
        with pytest.raises(TransientProviderError, match="orders"):
            await transport.call("DeleteMessageBatch", QUEUE_URL, Entries=[])


async def test_a_refused_connection_is_transient(opened):
    """Nobody listens: that may pass."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with opened(f"http://127.0.0.1:{unused.getsockname()[1]}") as (transport, _):
            with pytest.raises(TransientProviderError, match="orders"):
                await receive(transport, QUEUE_URL)


async def test_names_the_wait_that_the_server_asked_for(scripted_server, opened):
    """Retry-After reaches the engine."""
    async with (
        scripted_server(answer(503, "", {"Retry-After": "7"})) as server,
        opened(server.url) as (transport, _),
    ):
        with pytest.raises(TransientProviderError) as raised:
            await receive(transport, QUEUE_URL)
    assert raised.value.retry_after == 7


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (403, {"__type": "AccessDeniedException", "message": "not yours"}, {}),
        (400, {"__type": "InvalidAddress"}, {}),
        (403, {"__type": "SignatureDoesNotMatch"}, {"Date": "now"}),
        (403, {"__type": "SignatureDoesNotMatch"}, {"Date": "yesterday"}),
        (403, {"__type": "SignatureDoesNotMatch"}, {}),
    ],
    ids=["denied", "refused", "signature", "signature-no-date", "signature-dateless"],
)
async def test_what_will_not_pass_is_final(status, body, headers, scripted_server, opened):
    """A request that AWS will never accept ends the service."""
    if headers.get("Date") == "now":
        headers = {"Date": email.utils.formatdate()}
    scripted = answer(status, body, headers)
    async with scripted_server(scripted) as server, opened(server.url) as (transport, _):
        with pytest.raises(ProviderError) as raised:
            await receive(transport, QUEUE_URL)
    assert not isinstance(raised.value, TransientProviderError)
    assert len(server.requests) == 1


@pytest.mark.parametrize("skew", [-3600, 3600])
async def test_adopts_the_time_of_aws(skew, scripted_server, opened):
    """With a wrong clock the refused request is repeated with AWS's time, which is then kept."""
    date = {"Date": email.utils.formatdate(time.time() + skew)}
    refusal = answer(403, {"__type": "RequestTimeTooSkewed"}, date)
    async with (
        scripted_server(refusal, answer(), answer()) as server,
        opened(server.url) as (transport, _),
    ):
        for _ in range(2):
            assert await receive(transport, QUEUE_URL) == []

    def signed_at(request):
        return datetime.fromisoformat(request.headers["x-amz-date"]).timestamp() - time.time()

    first, *corrected = [signed_at(request) for request in server.requests]
    assert first == pytest.approx(0, abs=30)
    assert corrected == [pytest.approx(skew, abs=30)] * 2


@pytest.mark.parametrize("jump", [-3600, 400])
async def test_a_clock_that_jumps_is_corrected_for_every_request_under_way(
    jump, scripted_server, opened
):
    """Each refusal is compared with the time that its own request was signed with."""
    date = {"Date": email.utils.formatdate(time.time() + jump)}
    refusal = answer(403, {"__type": "InvalidSignatureException", "message": "expired"}, date)
    async with (
        scripted_server(*[refusal] * 5, *[answer()] * 6) as server,
        opened(server.url) as (transport, _),
    ):
        assert await asyncio.gather(*(receive(transport, QUEUE_URL) for _ in range(5))) == [[]] * 5
        assert await receive(transport, QUEUE_URL) == []
    assert len(server.requests) == 11


async def test_a_clock_that_cannot_be_corrected_passes(scripted_server, opened):
    """AWS refuses again and again: the service goes on trying, and says why."""
    date = {"Date": email.utils.formatdate(time.time() - 1_000)}
    refusals = [
        answer(403, {"__type": "SignatureDoesNotMatch"}, date | {"Date": at})
        for at in (date["Date"], email.utils.formatdate(time.time() + 9_000), date["Date"])
    ]
    async with scripted_server(*refusals) as server, opened(server.url) as (transport, _):
        with pytest.raises(TransientProviderError, match="from this machine's"):
            await receive(transport, QUEUE_URL)


@pytest.mark.parametrize("code", ["InvalidSignatureException", "RequestExpired"])
async def test_a_wrong_clock_passes_on_the_botocore_transport(code, scripted_server, opened):
    """botocore signs with this machine's time: the service waits until that is right."""
    date = {"Date": email.utils.formatdate(time.time() + 3600)}
    refusal = answer(403, {"__type": code, "message": "expired"}, date)
    options = {**KEYS, "region_name": "us-east-1"}
    async with (
        scripted_server(*[refusal] * 4, *[answer()] * 4) as server,
        clients.borrowed({**options, "endpoint_url": server.url}) as shared,
    ):
        transport = await shared.transport("botocore")
        for _ in range(4):
            with pytest.raises(TransientProviderError, match=r"is \+3\d\d\d s from this machine's"):
                await receive(transport, QUEUE_URL)
        assert await receive(transport, QUEUE_URL) == []


async def test_says_who_asks(scripted_server, opened):
    """The client's user agent is sent, and the session token where there is one."""
    config = AioConfig(user_agent="loafer-kit/1")
    async with (
        scripted_server(answer()) as server,
        opened(server.url, config=config, aws_session_token="token") as (transport, _),
    ):
        await receive(transport, QUEUE_URL)
    [request] = server.requests
    assert request.headers["user-agent"].startswith("loafer-kit/1 ")
    assert request.headers["x-amz-security-token"] == "token"
    assert request.headers["x-amz-target"] == "AmazonSQS.ReceiveMessage"
    assert request.body["QueueUrl"] == QUEUE_URL


async def test_a_settlement_waits_for_no_poll(scripted_server, opened):
    """With a pool of one connection and an open long poll, a deletion goes out at once."""
    config = AioConfig(max_pool_connections=1)
    async with (
        scripted_server(None) as server,
        opened(server.url, config=config) as (transport, _),
    ):
        poll = asyncio.create_task(receive(transport, QUEUE_URL))
        await server.asked.wait()
        assert await Queue("orders", QUEUE_URL, transport).delete([]) == []
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll


async def test_cancelling_a_poll_cancels_it(scripted_server, opened):
    """A cancelled poll ends at once, with CancelledError."""
    async with scripted_server(None) as server, opened(server.url) as (transport, _):
        poll = asyncio.create_task(receive(transport, QUEUE_URL))
        await server.asked.wait()
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll


def isolate(monkeypatch, tmp_path, config=""):
    """Let botocore see nothing of this machine but `config`."""
    path = tmp_path / "config"
    path.write_text(config)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


NO_KEYS = {"aws_access_key_id": None, "aws_secret_access_key": None}


async def test_without_credentials_says_what_to_do(monkeypatch, tmp_path, scripted_server, opened):
    """No credentials anywhere is one final error with the ways out."""
    isolate(monkeypatch, tmp_path)
    async with scripted_server() as server, opened(server.url, **NO_KEYS) as (transport, _):
        with pytest.raises(ProviderError, match="credentials"):
            await receive(transport, QUEUE_URL)


async def test_credentials_are_refreshed_in_place(monkeypatch, tmp_path, scripted_server, opened):
    """Credentials that run out are replaced by botocore; the next request is signed with new ones."""
    script = tmp_path / "credentials.py"
    script.write_text(
        "import datetime, json, pathlib\n"
        f"counter = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "count = int(counter.read_text()) + 1 if counter.exists() else 1\n"
        "counter.write_text(str(count))\n"
        "end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'KEY{count}', 'SecretAccessKey': 's',"
        " 'SessionToken': f'token{count}', 'Expiration': end.isoformat()}))\n"
    )
    isolate(monkeypatch, tmp_path, f"[default]\ncredential_process = {sys.executable} {script}\n")
    async with (
        scripted_server(answer(), answer()) as server,
        opened(server.url, **NO_KEYS) as (transport, _),
    ):
        await receive(transport, QUEUE_URL)
        await receive(transport, QUEUE_URL)

    tokens = [request.headers["x-amz-security-token"] for request in server.requests]
    keys = [
        request.headers["authorization"].split("=")[1].split("/")[0] for request in server.requests
    ]
    assert tokens[0] != tokens[1]
    assert [f"token{key.removeprefix('KEY')}" for key in keys] == tokens


async def test_a_role_that_may_not_be_assumed_is_named(
    monkeypatch, tmp_path, scripted_server, opened
):
    """When the credentials cannot be had, the error says which permission is missing."""
    role = "role_arn = arn:aws:iam::123456789012:role/consumer\nsource_profile = base\n"
    keys = "aws_access_key_id = a\naws_secret_access_key = b\n"
    isolate(monkeypatch, tmp_path, f"[default]\n{role}[profile base]\n{keys}")
    refusal = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
    async with scripted_server(answer(403, refusal)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        async with opened(server.url, **NO_KEYS) as (transport, _):
            with pytest.raises(ProviderError, match="allow sts:AssumeRole"):
                await receive(transport, QUEUE_URL)
    assert len(server.requests) == 1
