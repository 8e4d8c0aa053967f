import ipaddress
import ssl
import urllib.parse
from datetime import UTC, datetime, timedelta

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import get_session
from botocore import UNSIGNED
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from loafer_kit.exceptions import ConfigurationError, ProviderError, TransientProviderError
from loafer_kit.ext.aws.requests import direct

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
