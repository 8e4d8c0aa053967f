from datetime import UTC, datetime
from unittest import mock

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.ext.aws.requests.signing import Signer

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
