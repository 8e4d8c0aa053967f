"""What the direct transport does as botocore does: TLS, proxies, endpoints and signatures."""

import ipaddress
import ssl
import urllib.parse
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import get_session
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.exceptions import ConfigurationError, ProviderError, TransientProviderError
from loafer_kit.ext.aws.requests import direct
from loafer_kit.ext.aws.requests.direct import Signer

QUEUE_URL = "https://queue.example/123456789012/orders"
KEYS = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "secret"}


@pytest.fixture(autouse=True)
def no_bundle_or_proxy(monkeypatch):
    """The settings of this machine do not reach the tests."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with a key and a certificate for 127.0.0.1 that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.fixture
def tls_server(scripted_server, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return scripted_server(tls=context)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
async def test_trusts_the_bundle_of_the_environment(
    tls_server, opened, certificate, monkeypatch, variable
):
    """A private authority is trusted where botocore would trust it."""
    monkeypatch.setenv(variable, certificate)
    async with tls_server as server, opened(server.url) as (transport, _):
        assert await transport.call("ReceiveMessage", QUEUE_URL) == {}


async def test_verify_wins_over_the_environment(tls_server, opened, certificate, monkeypatch):
    """`verify` names a bundle, or switches verification off."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere")
    async with tls_server as server:
        for verify in (certificate, False):
            async with opened(server.url, verify=verify) as (transport, _):
                assert await transport.call("ReceiveMessage", QUEUE_URL) == {}


async def test_refuses_an_unknown_certificate(tls_server, opened):
    """An untrusted certificate is a final error that says what to do."""
    async with tls_server as server, opened(server.url) as (transport, _):
        with pytest.raises(ProviderError, match="AWS_CA_BUNDLE") as raised:
            await transport.call("ReceiveMessage", QUEUE_URL)
    assert not isinstance(raised.value, TransientProviderError)


async def test_a_bundle_that_cannot_be_read_is_reported(opened):
    """A wrong path is named, before any request."""
    with pytest.raises(ConfigurationError, match="/nowhere"):
        await opened("https://127.0.0.1:1", verify="/nowhere").__aenter__()


@pytest.mark.parametrize(
    "config",
    [
        {"proxies": {"https": "http://127.0.0.1:3128"}},
        {"client_cert": "client.pem"},
        {"connector_args": {"force_close": True}},
        {"use_fips_endpoint": True},
        {"use_dualstack_endpoint": True},
        {"signature_version": UNSIGNED},
        {"http_session_cls": type("OwnSession", (AIOHTTPSession,), {})},
    ],
    ids=lambda config: next(iter(config)),
)
async def test_leaves_to_botocore_what_it_cannot_honour(config):
    """What the direct transport would ignore makes it stand back."""
    async with get_session().create_client(
        "sqs", region_name="us-east-1", config=AioConfig(**config), **KEYS
    ) as client:
        assert not direct.can_replace(client)


async def test_leaves_a_proxy_of_the_environment_to_botocore(monkeypatch):
    """HTTPS_PROXY counts unless NO_PROXY excepts the endpoint."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    async with get_session().create_client("sqs", region_name="us-east-1", **KEYS) as client:
        assert not direct.can_replace(client)
        monkeypatch.setenv("NO_PROXY", "amazonaws.com")
        assert direct.can_replace(client)


async def test_asks_where_botocore_would_ask():
    """In every region that botocore knows, endpoint, region and service name are botocore's."""
    session = get_session()
    for partition in session.get_available_partitions():
        for region in await session.get_available_regions("sqs", partition):
            async with session.create_client("sqs", region_name=region, **KEYS) as client:
                parameters = {"QueueUrl": QUEUE_URL}
                signed = urllib.parse.urlsplit(
                    await client.generate_presigned_url("get_queue_attributes", parameters)
                )
                scope = urllib.parse.parse_qs(signed.query)["X-Amz-Credential"][0].split("/")
                assert direct.can_replace(client)
                assert client.meta.endpoint_url == f"{signed.scheme}://{signed.netloc}"
                assert client.meta.region_name == scope[2]
                assert client.meta.service_model.signing_name == scope[3]


# Signatures


ENDPOINTS = [
    "https://sqs.eu-central-1.amazonaws.com",
    "https://sqs.cn-north-1.amazonaws.com.cn/",
    "http://127.0.0.1:5000",
    "http://localhost:80/",
    "https://[::1]:4566",
    "https://gateway.example:443/aws/../sqs//a b/",
    "https://gateway.example:8443/prefix/~user",
]
keys = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
credentials = st.builds(ReadOnlyCredentials, keys, keys, st.none() | keys, st.none())
moments = st.integers(0, 4_102_444_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def signed_by_botocore(endpoint, credential, target, body, moment):
    request = AWSRequest(
        method="POST",
        url=endpoint,
        data=body,
        headers={
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": target,
            "X-Amzn-Query-Mode": "true",
        },
    )
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        SigV4Auth(credential, "sqs", "eu-central-1").add_auth(request)
    return dict(request.headers.items())


@given(
    endpoint=st.sampled_from(ENDPOINTS),
    credential=credentials,
    target=st.sampled_from(["AmazonSQS.ReceiveMessage", "AmazonSQS.DeleteMessageBatch"]),
    body=st.binary(),
    moment=moments,
)
def test_signs_as_botocore_does(endpoint, credential, target, body, moment):
    """Every header that botocore would send is there, with the same signature."""
    expected = signed_by_botocore(endpoint, credential, target, body, moment)

    headers = Signer(endpoint, "eu-central-1", "sqs").headers(
        credential, target, body, moment.timestamp()
    )

    host = headers.pop("Host")
    assert headers == expected
    assert host in endpoint


def test_a_new_day_and_new_credentials_get_a_new_key():
    """Neither a day nor a secret lives on in the cached signing key."""
    signer = Signer(ENDPOINTS[0], "eu-central-1", "sqs")
    old = ReadOnlyCredentials("AKIA", "old", None, None)
    new = ReadOnlyCredentials("AKIA", "new", None, None)
    midnight = datetime(2026, 1, 2, tzinfo=UTC)

    for credential in (old, new, old):
        for second in (-1, 0):
            moment = datetime.fromtimestamp(midnight.timestamp() + second, UTC)
            target = "AmazonSQS.ReceiveMessage"
            expected = signed_by_botocore(ENDPOINTS[0], credential, target, b"{}", moment)
            headers = signer.headers(credential, target, b"{}", moment.timestamp())
            assert headers["Authorization"] == expected["Authorization"]
