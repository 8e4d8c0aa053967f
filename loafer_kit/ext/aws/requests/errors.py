"""Failures of requests to AWS: whether repeating can help, and what to do about it."""

import email.utils
import re
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import aiohttp
from botocore import exceptions as boto
from botocore.awsrequest import HeadersDict
from botocore.parsers import ResponseParserError

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.limits import SQS_MESSAGES_IN_FLIGHT

_CREDENTIALS_HELP = (
    "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (or an AWS profile or role), "
    "or run `loafer-kit dev` to work without AWS."
)


def _codes(names: str) -> frozenset[str]:
    return frozenset(names.split())


_TRANSIENT = _codes("""
    BandwidthLimitExceeded KMS.ThrottlingException KmsThrottled PriorRequestNotComplete
    RequestLimitExceeded RequestThrottled RequestThrottledException SlowDown Throttled
    ThrottledException Throttling ThrottlingException TooManyRequests TooManyRequestsException
    IDPCommunicationError InternalError InternalFailure InternalServerError RequestExpired
    RequestTimeout RequestTimeTooSkewed ServiceUnavailable UnknownError
    """)
_MISSING = _codes("NonExistentQueue QueueDoesNotExist NotFound NotFoundException")
_DENIED = _codes("""
    AccessDenied AccessDeniedException AuthorizationError AuthorizationErrorException
    NotAuthorized UnauthorizedOperation
    """)
_BAD_CREDENTIALS = _codes("""
    AuthFailure ExpiredToken ExpiredTokenException IncompleteSignature InvalidAccessKeyId
    InvalidClientTokenId InvalidSecurity InvalidSignatureException MissingAuthenticationToken
    MissingAuthenticationTokenException OptInRequired SignatureDoesNotMatch
    UnrecognizedClientException
    """)
#: AWS's answers to a signature that is not valid: the request's time may be the reason.
_SIGNATURE_ERRORS = _codes("""
    InvalidSignatureException RequestExpired RequestInTheFuture RequestTimeTooSkewed
    SignatureDoesNotMatch
    """)

#: Seconds: AWS accepts signatures up to five minutes old; a clock that is less wrong is left alone.
_TOLERATED_SKEW = 240.0

_LEASE_LOST = _codes("MessageNotInflight ReceiptHandleIsInvalid")

#: How AWS says that a message or a batch is too large: there is no code of its own for it.
_TOO_LARGE = re.compile(r"too ?long|(?:short|long)er than", re.IGNORECASE)

#: Statuses of errors that pass: request timeout, too many requests.
_TRANSIENT_STATUSES = frozenset({408, 429})
_SERVER_ERROR = 500

#: Characters of an answer that an error quotes.
_QUOTED = 80


class UnexpectedAnswerError(Exception):
    """An answer that AWS did not write: a page of a proxy or a gateway, or nothing."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        # A character takes four bytes at most.
        text = one_line(body[: 4 * _QUOTED].decode(errors="replace"))[:_QUOTED]
        kind = headers.get("Content-Type") or "no content type"
        super().__init__(f"status {status}, {kind}, {text!r}")
        self.status = status
        self.retry_after = retry_after(headers.get("Retry-After"))

    @property
    def is_server_error(self) -> bool:
        """Whether AWS itself may have answered: a busy or broken server may name no error code."""
        return self.status >= _SERVER_ERROR or self.status in _TRANSIENT_STATUSES


class ClockError(Exception):
    """AWS refuses a signature because this machine's clock is wrong by `skew` seconds."""

    def __init__(self, skew: float) -> None:
        super().__init__(
            f"AWS refuses the signature: its clock is {skew:+.0f} s from this machine's"
        )


class CredentialsError(Exception):
    """The source of the credentials failed; `cause` is what it raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(
            f"the AWS credentials cannot be obtained: {type(cause).__name__}: {one_line(str(cause))}"
        )


class RefusedCredentialsError(CredentialsError):
    """AWS no longer accepts credentials that it accepted before; they may be about to be replaced."""

    def __init__(self) -> None:
        Exception.__init__(
            self,
            "AWS no longer accepts the credentials, and reading them again brings no others yet",
        )


#: Raised by a request when AWS, the network or the configuration fails it. (botocore raises
#: `ValueError` for an endpoint that is not a URL.)
REQUEST_ERRORS: tuple[type[Exception], ...] = (
    aiohttp.ClientError,
    boto.BotoCoreError,
    boto.ClientError,
    OSError,  # a TimeoutError is one
    ResponseParserError,
    ClockError,
    CredentialsError,
    UnexpectedAnswerError,
    ValueError,
)


class BatchEntryFailure(TypedDict):
    """One entry of a batch request that SQS refused; `Id` is its position in the batch."""

    Id: str
    SenderFault: bool
    Code: str
    Message: str


class AccessDeniedError(ProviderError):
    """The credentials in use do not allow an action."""


class RefusedError(ProviderError):
    """AWS refuses what a request contains, such as a message."""


class TooLargeError(RefusedError):
    """A message, or a batch of them, is larger than the queue or the topic takes."""


def queue_subject(queue: str) -> str:
    """Return how an error names a queue that is given by name or URL."""
    return f"Queue {queue.rstrip('/').rpartition('/')[2]!r}"


def topic_subject(topic: str) -> str:
    """Return how an error names a topic that is given by name or ARN."""
    return f"Topic {topic.rpartition(':')[2]!r}"


#: What the failure of one batch entry about a lease means. "lease lost": another consumer may have
#: the message. "final": the request is wrong, repeating it is useless. "transient": SQS failed, the
#: entry may be repeated while the lease lasts.
EntryVerdict = Literal["lease lost", "final", "transient"]


def judge_entry(failure: BatchEntryFailure) -> EntryVerdict:
    """Return what the failure of one batch entry means."""
    code = _short(failure.get("Code", ""))
    refuses_handle = code.startswith("InvalidParameterValue") and (
        "handle" in failure.get("Message", "").lower()
    )
    if code in _LEASE_LOST or refuses_handle:
        return "lease lost"
    return "final" if failure.get("SenderFault") else "transient"


def is_about_credentials(code: str) -> bool:
    """Return whether AWS does not accept the credentials, or the signature made with them."""
    return _short(code) in _BAD_CREDENTIALS


def clock_skew(code: str, headers: Mapping[str, str], *moments: float) -> float | None:
    """Return the seconds from a moment to AWS's time if they are why AWS refused a signature.

    `moments` are the time that the request was signed with, and others that it may have been.
    """
    if _short(code) not in _SIGNATURE_ERRORS:
        return None
    try:
        aws_time = email.utils.parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return None
    skew = max((aws_time - moment for moment in moments), key=abs)
    return skew if abs(skew) >= _TOLERATED_SKEW else None


def client_error_code(exc: boto.ClientError) -> str:
    """Return AWS's code of an error that botocore raised."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def client_error_headers(exc: boto.ClientError) -> Mapping[str, str]:
    """Return the headers of the answer; their names are found in any case."""
    metadata: dict[str, Any] = exc.response.get("ResponseMetadata", {})
    headers: Mapping[str, str] = HeadersDict(metadata.get("HTTPHeaders", {}))
    return headers


def from_code(
    code: str,
    message: str,
    status: int,
    *,
    action: str,
    subject: str,
    retry_after: float | None = None,
) -> ProviderError:
    """Return the error for AWS's answer to `action` on `subject` (as `queue_subject` names it).

    An action of another service than SQS is given as its permission: `sns:Publish`.
    """
    code = _short(code)
    answer = f"{action} answered {code or status}{f': {one_line(message)}' if message else ''}"
    if code == "OverLimit":
        return TransientProviderError(
            f"{subject} has as many messages in flight as SQS allows ({SQS_MESSAGES_IN_FLIGHT:,}): "
            "it delivers none until consumers delete or release some; "
            "look for consumers that neither finish nor fail.",
            retry_after=retry_after,
        )
    if code in _TRANSIENT or status in _TRANSIENT_STATUSES or status >= _SERVER_ERROR:
        return TransientProviderError(f"{subject}: {answer}", retry_after=retry_after)
    if code in _DENIED:
        # A batch needs the permission of the single action.
        permission = (action if ":" in action else f"sqs:{action}").removesuffix("Batch")
        return AccessDeniedError(
            f"{subject}: access denied; allow {permission} to the credentials in use. {answer}"
        )
    if final := _final_message(code, answer, action, subject):
        return ProviderError(final)
    kind = TooLargeError if _TOO_LARGE.search(answer) else RefusedError
    return kind(f"{subject}: {answer}")


def _final_message(code: str, answer: str, action: str, subject: str) -> str | None:
    """Return the error for what fails every request, whatever it contains."""
    if code in _MISSING:
        return (
            f"{subject} does not exist in this region and account ({action} answered {code}): "
            "create it or check its name, its region and the account; "
            "`loafer-kit dev` creates it on a local server."
        )
    if code in _BAD_CREDENTIALS:
        return (
            f"{subject}: AWS does not accept the credentials in use; {_CREDENTIALS_HELP} {answer}"
        )
    if code.lower().startswith("kms"):
        return f"{subject}: its encryption key cannot be used; check the key's policy and state. {answer}"
    return None


def from_exception(exc: BaseException, *, action: str, subject: str) -> ProviderError:
    """Return the error for what botocore or aiohttp raised during `action` on `subject`."""
    match exc:
        case ProviderError():
            return exc
        case boto.ClientError():
            return _from_client_error(exc, action, subject)
        case UnexpectedAnswerError():
            return _from_unexpected_answer(exc, action, subject)
        case ClockError() | CredentialsError():
            return TransientProviderError(f"{subject}: {exc}")
    if lack := _lack(exc):
        return ProviderError(f"{subject}: {lack}")
    message = f"{subject}: {action} failed: {_description(exc)}"
    return TransientProviderError(message) if _is_transient(exc) else ProviderError(message)


def _lack(exc: BaseException) -> str | None:
    """Return what is not set up, and how to set it up."""
    if isinstance(exc, boto.NoCredentialsError | boto.PartialCredentialsError):
        return f"no AWS credentials found; {_CREDENTIALS_HELP}"
    if isinstance(exc, boto.NoRegionError):
        return f"no AWS region is set; {_CREDENTIALS_HELP}"
    if "CERTIFICATE_VERIFY_FAILED" in (description := _description(exc)):
        return (
            "the endpoint's certificate is not trusted; name its authority with "
            f"`verify` or AWS_CA_BUNDLE. {description}"
        )
    return None


def _description(exc: BaseException) -> str:
    if isinstance(exc, aiohttp.ServerDisconnectedError):
        return "Server disconnected"  # its own text may be the head of the answer
    return one_line(str(exc)) or type(exc).__name__


def _from_unexpected_answer(
    exc: UnexpectedAnswerError, action: str, subject: str
) -> TransientProviderError:
    if exc.is_server_error:
        message = f"{subject}: {action} answered {exc}"
    else:
        service = action.partition(":")[0].upper() if ":" in action else "SQS"
        message = (
            f"{subject}: what answers {action} is not {service}: {exc}; "
            "check the endpoint, and the proxies and gateways on the way"
        )
    return TransientProviderError(message, retry_after=exc.retry_after)


def _is_transient(exc: BaseException) -> bool:
    return isinstance(
        exc,
        aiohttp.ClientError
        | OSError
        | ResponseParserError
        | boto.ConnectionError
        | boto.CredentialRetrievalError
        | boto.HTTPClientError
        | boto.IncompleteReadError
        | boto.MetadataRetrievalError
        | boto.TokenRetrievalError,
    )


def _from_client_error(exc: boto.ClientError, action: str, subject: str) -> ProviderError:
    error: dict[str, Any] = exc.response.get("Error", {})
    metadata: dict[str, Any] = exc.response.get("ResponseMetadata", {})
    if exc.operation_name.startswith("AssumeRole"):  # asked for credentials, before the action
        action = f"sts:{exc.operation_name}"
    return from_code(
        client_error_code(exc),
        str(error.get("Message", "")),
        int(metadata.get("HTTPStatusCode", 0)),
        action=action,
        subject=subject,
        retry_after=retry_after(client_error_headers(exc).get("Retry-After")),
    )


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header names; None for anything else, such as a date."""
    return float(header) if header is not None and header.isdecimal() else None


def _short(code: str) -> str:
    return code.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.")


def one_line(text: str) -> str:
    """Return `text` with each run of white space as one space."""
    return " ".join(text.split())
