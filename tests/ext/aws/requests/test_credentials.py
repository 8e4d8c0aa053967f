"""Credentials that fail for a while, and those that are rotated while the service runs."""

import json
import sys

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from botocore.credentials import ReadOnlyCredentials

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.handlers import SNSHandler, SQSHandler
from loafer_kit.ext.aws.requests import clients, signing
from loafer_kit.ext.aws.requests.transport import Queue

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
    monkeypatch.setattr(signing, "_ROTATION", 0.0)
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
