"""Classification of failed requests."""

import aiohttp
import pytest
from botocore import exceptions as boto

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.requests import errors

SUBJECT = errors.queue_subject("https://sqs.eu-west-1.amazonaws.com/123456789012/orders")


def from_code(code, status=400, message="said AWS"):
    return errors.from_code(code, message, status, action="ReceiveMessage", subject=SUBJECT)


def from_exception(exc):
    return errors.from_exception(exc, action="ReceiveMessage", subject=SUBJECT)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 400),
        ("com.amazonaws.sqs#RequestThrottled", 400),
        ("ServiceUnavailable", 503),
        ("", 500),
        ("", 429),
        ("OverLimit", 403),
        ("KmsThrottled", 400),
    ],
)
def test_passing_answers_may_be_repeated(code, status):
    """Throttling, 5xx and the in-flight limit pass by themselves."""
    assert isinstance(from_code(code, status), TransientProviderError)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", "loafer-kit dev"),
        ("QueueDoesNotExist", "create it"),
        ("AccessDenied", "sqs:ReceiveMessage"),
        ("InvalidClientTokenId", "AWS_ACCESS_KEY_ID"),
        ("ExpiredToken", "AWS_SECRET_ACCESS_KEY"),
        ("KmsDisabled", "encryption key"),
        ("InvalidAddress", "InvalidAddress: said AWS"),
    ],
)
def test_final_answers_name_the_queue_and_the_way_out(code, advice):
    """What repeating does not cure is one line with the queue's name and what to do."""
    error = from_code(code)
    assert not isinstance(error, TransientProviderError)
    assert "'orders'" in str(error)
    assert advice in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "exc",
    [
        ConnectionResetError(104, "reset"),
        TimeoutError(),
        aiohttp.ServerDisconnectedError(),
        boto.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        boto.ReadTimeoutError(endpoint_url="http://127.0.0.1:1"),
        boto.CredentialRetrievalError(provider="sso", error_msg="later"),
    ],
)
def test_broken_connections_may_be_repeated(exc):
    """Network failures are transient."""
    assert isinstance(from_exception(exc), TransientProviderError)


def test_a_connection_that_ends_within_an_answer_is_described():
    """aiohttp's text of it is the answer's head, with all headers."""
    head = ("HTTP/1.0", 200, "OK", {"Server": "x"})
    error = from_exception(aiohttp.ServerDisconnectedError(head))
    assert str(error).endswith(" failed: Server disconnected")


@pytest.mark.parametrize(
    ("exc", "what"),
    [(boto.NoCredentialsError(), "no AWS credentials"), (boto.NoRegionError(), "no AWS region")],
)
def test_missing_setup_names_the_ways_out(exc, what):
    """Without credentials or region the line names the variables and the local server."""
    error = from_exception(exc)
    assert type(error) is ProviderError
    for part in (what, "loafer-kit dev", "AWS_ACCESS_KEY_ID", "AWS_REGION"):
        assert part in str(error)


def test_untrusted_certificate_is_final():
    """A certificate does not become trusted by repeating."""
    exc = boto.SSLError(endpoint_url="https://x", error="[SSL: CERTIFICATE_VERIFY_FAILED]")
    assert type(from_exception(exc)) is ProviderError


def test_client_error_carries_the_retry_after_header():
    """The seconds that AWS asks for reach the engine's backoff."""
    exc = boto.ClientError(
        {
            "Error": {"Code": "Throttling", "Message": "slow\ndown"},
            "ResponseMetadata": {"HTTPStatusCode": 400, "HTTPHeaders": {"retry-after": "7"}},
        },
        "ReceiveMessage",
    )
    error = from_exception(exc)
    assert isinstance(error, TransientProviderError)
    assert error.retry_after == 7.0


@pytest.mark.parametrize(
    ("failure", "verdict"),
    [
        ({"Code": "ReceiptHandleIsInvalid", "SenderFault": True}, "lease lost"),
        ({"Code": "AWS.SimpleQueueService.MessageNotInflight", "SenderFault": True}, "lease lost"),
        ({"Code": "InvalidParameterValue", "Message": "The receipt handle …"}, "lease lost"),
        ({"Code": "InvalidParameterValue", "Message": "beyond", "SenderFault": True}, "final"),
        ({"Code": "InternalError", "SenderFault": False}, "transient"),
        ({}, "transient"),
    ],
)
def test_a_failed_entry_is_judged_in_one_place(failure, verdict):
    """Only a refused receipt handle is a lost lease; a failure of SQS may be repeated."""
    assert errors.judge_entry(failure) == verdict


def test_denied_batch_names_the_permission_it_needs():
    """IAM knows no batches: a denied batch asks for the permission of the single action."""
    error = errors.from_code(
        "AccessDenied", "no", 403, action="DeleteMessageBatch", subject=SUBJECT
    )
    assert "allow sqs:DeleteMessage to" in str(error)
