"""Clients: who shares them, and how their credentials are renewed."""

import asyncio
import json
import sys

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioRefreshableCredentials
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoRegionError

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.handlers import SNSHandler, SQSHandler
from loafer_kit.ext.aws.requests import clients
from loafer_kit.ext.aws.requests.clients import BotocoreTransport
from loafer_kit.ext.aws.requests.direct import DirectTransport
from loafer_kit.ext.aws.requests.transport import Queue

LOCAL = {
    "endpoint_url": "http://127.0.0.1:1",
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}


async def test_equal_options_share_one_session():
    """Two users with equal options get the same clients; None counts as not given."""
    first = clients.share(LOCAL)
    second = clients.share({**LOCAL, "verify": None})
    other = clients.share({**LOCAL, "region_name": "eu-west-1"})
    try:
        assert first is second
        assert other is not first
    finally:
        for shared in (first, second, other):
            await clients.release(shared)


async def test_client_is_opened_once():
    """Concurrent first uses get one client; receiving and settling have one each."""
    shared = clients.share(LOCAL)
    try:
        one, two = await asyncio.gather(shared.client(), shared.client())
        assert one is two
        assert await shared.client(long_polling=True) is not one
    finally:
        await clients.release(shared)


async def test_last_user_closes():
    """Clients stay open for the remaining users; the last one closes them."""
    first, second = clients.share(LOCAL), clients.share(LOCAL)
    client = await first.client()
    await clients.release(first)
    assert await second.client() is client
    await clients.release(second)
    third = clients.share(LOCAL)
    assert third is not first
    await clients.release(third)


async def test_unused_clients_stay_open_while_others_are_used():
    """In a running service, a user that comes and goes does not open its clients each time."""
    service = clients.share(LOCAL)
    now_and_then = {**LOCAL, "region_name": "eu-west-1"}
    borrowed = clients.share(now_and_then)
    client = await borrowed.client()
    await clients.release(borrowed)
    again = clients.share(now_and_then)
    assert await again.client() is client
    await clients.release(again)
    await clients.release(service)
    fresh = clients.share(now_and_then)
    assert fresh is not borrowed
    await clients.release(fresh)


async def test_long_polls_have_a_read_timeout_above_their_wait():
    """A long poll of 20 s is never cut off, and both clients leave repeating to their users."""
    shared = clients.share(LOCAL)
    try:
        for long_polling in (True, False):
            config = (await shared.client(long_polling=long_polling)).meta.config
            assert config.retries["total_max_attempts"] == 1
            assert (config.read_timeout > 20) is long_polling
    finally:
        await clients.release(shared)


async def test_requests_go_straight_unless_botocore_is_asked_for():
    """All users share one direct transport, or one of botocore if they ask for it."""
    shared = clients.share(LOCAL)
    try:
        direct = await shared.transport()
        assert isinstance(direct, DirectTransport)
        assert await shared.transport("direct") is direct
        assert isinstance(await shared.transport("botocore"), BotocoreTransport)
    finally:
        await clients.release(shared)


async def test_what_only_botocore_does_is_left_to_it():
    """With a proxy, requests go by botocore."""
    config = AioConfig(proxies={"http": "http://127.0.0.1:3128"})
    shared = clients.share({**LOCAL, "config": config})
    try:
        transport = await shared.transport()
        assert isinstance(transport, BotocoreTransport)
        assert await shared.transport("botocore") is transport
    finally:
        await clients.release(shared)


@pytest.fixture
async def region_of_client(monkeypatch):
    """Returns the region of the client for some options and an address."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name, raising=False)

    async def region(options, address=""):
        async with clients.borrowed(options, address) as shared:
            return (await shared.client()).meta.region_name

    return region


URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


async def test_the_region_of_an_address_counts_before_the_environment(
    region_of_client, monkeypatch
):
    """A queue is asked for where it is."""
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert await region_of_client({}, URL) == "eu-west-1"
    assert await region_of_client({}, "orders") == "eu-north-1"


async def test_a_named_region_or_endpoint_wins(region_of_client, monkeypatch):
    """An explicit region is never replaced; requests to a local server keep their region."""
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert await region_of_client({"region_name": "us-east-1"}, URL) == "us-east-1"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:5000")
    assert await region_of_client({}, URL) == "eu-north-1"


async def test_an_empty_region_is_none(region_of_client, monkeypatch):
    """As a template of a deployment leaves it whose value is missing."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "")
    with pytest.raises(NoRegionError):
        await region_of_client({})
    assert await region_of_client({"config": AioConfig(region_name="eu-west-1")}) == "eu-west-1"


# Credentials that fail for a while, and those that are rotated while the service runs


QUEUE_URL = "https://queue.example/123456789012/orders"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:events"


def answer(status, body):
    content = json.dumps(body)
    return (
        f"HTTP/1.1 {status} Whatever\r\nConnection: close\r\n"
        f"Content-Length: {len(content)}\r\n\r\n{content}"
    ).encode()


def refusal(code):
    return answer(403, {"__type": f"com.amazon.coral.service#{code}", "message": "no"})


DELETED = answer(200, {"Successful": [{"Id": "0"}]})


@pytest.fixture
def keys_file(monkeypatch, tmp_path):
    """The shared credentials file, the only source of credentials; returns what writes a key."""
    path = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def write(key):
        path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")

    write("OLD")
    return write


@pytest.fixture(params=["direct", "botocore"])
async def opened_queue(request, scripted_server):
    """Opens the queue of a scripted server by either transport."""
    contexts = []

    async def opened(*answers):
        server = scripted_server(*answers)
        await server.__aenter__()
        context = clients.borrowed({"region_name": "eu-west-1", "endpoint_url": server.url})
        shared = await context.__aenter__()
        contexts.extend([server, context])
        transport = await clients.open_transport(shared, QUEUE_URL, request.param)
        return server, Queue("orders", QUEUE_URL, transport)

    yield opened
    for context in reversed(contexts):
        await context.__aexit__(None, None, None)


def keys(server):
    return [
        request.headers["authorization"].partition("Credential=")[2].partition("/")[0]
        for request in server.requests
    ]


@pytest.mark.parametrize(
    "code", ["ExpiredToken", "InvalidClientTokenId", "UnrecognizedClientException"]
)
async def test_rotated_credentials_are_read_again(keys_file, opened_queue, code):
    """A deletion in hand is made with the new credentials; from then on they are used."""
    server, queue = await opened_queue(DELETED, refusal(code), DELETED, DELETED)
    assert await queue.delete(["a"]) == []
    keys_file("NEW")
    assert await queue.delete(["b"]) == []
    assert await queue.delete(["c"]) == []
    assert keys(server) == ["OLD", "OLD", "NEW", "NEW"]


async def test_credentials_that_were_not_rotated_are_final(keys_file, opened_queue):
    """They are read again once, and are the same."""
    server, queue = await opened_queue(refusal("ExpiredToken"), DELETED)
    with pytest.raises(ProviderError, match="does not accept the credentials") as raised:
        await queue.delete(["a"])
    assert not isinstance(raised.value, TransientProviderError)
    assert keys(server) == ["OLD"]


async def test_credentials_refused_before_their_rotation_are_waited_for(keys_file, opened_queue):
    """AWS accepted them before: each attempt reads them again, until the file has others."""
    refused = refusal("InvalidClientTokenId")
    server, queue = await opened_queue(DELETED, refused, refused, refused, DELETED)
    assert await queue.delete(["a"]) == []
    for _ in range(2):
        with pytest.raises(TransientProviderError, match="no longer accepts the credentials"):
            await queue.delete(["b"])
    keys_file("NEW")
    assert await queue.delete(["b"]) == []
    assert keys(server) == ["OLD", "OLD", "OLD", "OLD", "NEW"]


async def test_credentials_that_are_not_rotated_in_time_are_final(
    keys_file, opened_queue, monkeypatch
):
    """The time counts from the first refusal since AWS accepted them."""
    refused = refusal("InvalidClientTokenId")
    _, queue = await opened_queue(DELETED, refused, refused, refused)
    assert await queue.delete(["a"]) == []
    with pytest.raises(TransientProviderError):
        await queue.delete(["b"])
    monkeypatch.setattr(clients, "_ROTATION", 0.0)
    with pytest.raises(ProviderError, match="does not accept the credentials") as raised:
        await queue.delete(["b"])
    assert not isinstance(raised.value, TransientProviderError)


async def test_another_refusal_does_not_read_credentials_again(keys_file, opened_queue):
    """A denied action is denied to the new credentials too."""
    server, queue = await opened_queue(refusal("AccessDenied"), DELETED)
    keys_file("NEW")
    with pytest.raises(ProviderError, match="access denied"):
        await queue.delete(["a"])
    assert keys(server) == ["OLD"]


async def test_publishing_reads_rotated_credentials_again(keys_file, scripted_server):
    """The same for a handler."""
    sent = answer(200, {"MessageId": "x"})
    async with scripted_server(sent, refusal("InvalidClientTokenId"), sent) as server:
        handler = SQSHandler(QUEUE_URL, endpoint_url=server.url, region_name="eu-west-1")
        async with clients.borrowed({}):
            await handler.publish(1)
            keys_file("NEW")
            await handler.publish(2)
    assert keys(server) == ["OLD", "OLD", "NEW"]


LOAD = "aiobotocore.credentials.AioCredentialResolver.load_credentials"

STALE = (
    "import json\n"
    "print(json.dumps({'Version': 1, 'AccessKeyId': 'a', 'SecretAccessKey': 's',"
    " 'SessionToken': 't', 'Expiration': '2020-01-01T00:00:00Z'}))\n"
)


@pytest.mark.parametrize(
    "program", [STALE, "raise SystemExit(3)", "print('no json')", "print('{}')"], ids=repr
)
async def test_a_source_of_credentials_that_fails_is_asked_again(
    keys_file, opened_queue, tmp_path, program, caplog
):
    """Stale credentials, an error, an answer that cannot be read: one line, and tried again."""
    (tmp_path / "credentials").write_text("")
    (tmp_path / "source.py").write_text(program)
    command = f"{sys.executable} {tmp_path / 'source.py'}"
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {command}\n")

    async def delete():
        _, queue = await opened_queue(DELETED)
        return await queue.delete(["a"])

    with pytest.raises(TransientProviderError, match="'orders'") as raised:
        await delete()
    assert "\n" not in str(raised.value)
    assert "Traceback" not in caplog.text


class Source:
    """Credentials that raise `error` while there is one."""

    method = "custom"

    def __init__(self, error):
        self.error = error

    def get_deferred_property(self, name):
        return lambda: None

    async def get_account_id(self):
        return None

    async def get_frozen_credentials(self):
        if self.error:
            raise self.error
        return ReadOnlyCredentials("KEY", "s", None)


@pytest.mark.parametrize(
    "error", [RuntimeError("stale"), KeyError("x"), ValueError("y"), OSError()]
)
async def test_a_provider_may_raise_anything(keys_file, opened_queue, monkeypatch, error):
    """Whatever it raises passes, and is named; afterwards the request succeeds."""
    source = Source(error)

    async def load_credentials(resolver):
        return source

    monkeypatch.setattr(LOAD, load_credentials)
    server, queue = await opened_queue(DELETED)
    with pytest.raises(TransientProviderError, match=f"orders.*: {type(error).__name__}: "):
        await queue.delete(["a"])
    source.error = None
    assert await queue.delete(["a"]) == []
    assert keys(server) == ["KEY"]


async def test_publishing_outlasts_a_source_of_credentials_that_fails(
    keys_file, monkeypatch, scripted_server
):
    """Publishing tries three times; its error is one line of ours."""

    async def load_credentials(resolver):
        raise RuntimeError("no metadata")

    monkeypatch.setattr(LOAD, load_credentials)
    async with scripted_server() as server:
        handler = SNSHandler(TOPIC, endpoint_url=server.url)
        with pytest.raises(
            TransientProviderError, match=r"Topic 'events'.*RuntimeError: no metadata"
        ):
            await handler.publish(1)


async def test_a_refresh_that_fails_is_logged_on_one_line(caplog):
    """botocore logs a traceback; the reason is kept, and the request reports the failure."""

    async def refresh():
        raise RuntimeError("no metadata")

    credentials = AioRefreshableCredentials.create_from_metadata(
        {"access_key": "a", "secret_key": "s", "token": "t", "expiry_time": "2020-01-01T00:00:00Z"},
        refresh_using=refresh,
        method="custom",
    )
    with pytest.raises(RuntimeError):
        await credentials.get_frozen_credentials()
    [record] = caplog.records
    assert record.getMessage().endswith("refresh period. RuntimeError('no metadata')")
    assert record.exc_info is None
