"""SQS's endpoint in AWS JSON 1.0: actions are signed and posted, answers decoded."""

import base64
import email.utils
import json
import logging
import time
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp
import yarl
from botocore.exceptions import NoCredentialsError

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws import errors
from loafer_kit.ext.aws.signing import FrozenCredentials, Signer

logger = logging.getLogger(__name__)

#: What AWS answers when a signature does not hold: the request's time may be why.
_SIGNATURE_ERRORS = frozenset(
    {
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
#: AWS tolerates five minutes between its clock and ours.
_TOLERATED_SKEW = 240.0


class Credentials(Protocol):
    """Where credentials come from; botocore's are refreshed in place."""

    async def get_frozen_credentials(self) -> FrozenCredentials:
        """Return credentials that are valid now."""


class Endpoint:
    """Calls SQS's actions on queues. Nothing is repeated, except what our clock has spoilt."""

    def __init__(
        self, url: str, signer: Signer, credentials: Credentials | None, http: aiohttp.ClientSession
    ) -> None:
        self._url = yarl.URL(url, encoded=True)
        self._signer = signer
        self._credentials = credentials
        self._http = http
        self._clock_offset = 0.0  # seconds that AWS's clock is ahead of ours

    async def call(
        self, action: str, queue_url: str, limits: aiohttp.ClientTimeout, **parameters: Any
    ) -> dict[str, Any]:
        """Return the answer to `action` on a queue.

        Raises `TransientProviderError` for what may pass, any other `ProviderError` for what will
        not.
        """
        request = _ENCODER.encode({"QueueUrl": queue_url, **parameters}).encode()
        try:
            response, answer = await self._post(action, request, limits)
            if response.status != HTTPStatus.OK and self._corrects_clock(response, answer):
                response, answer = await self._post(action, request, limits)
        except errors.REQUEST_ERRORS as error:
            subject = errors.queue_subject(queue_url)
            raise errors.from_exception(error, action=action, subject=subject) from error
        if response.status != HTTPStatus.OK:
            raise _error(response, answer, action, queue_url)
        return _decode(answer, action, queue_url)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _post(
        self, action: str, request: bytes, limits: aiohttp.ClientTimeout
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        if self._credentials is None:
            raise NoCredentialsError
        credentials = await self._credentials.get_frozen_credentials()
        moment = time.time() + self._clock_offset
        headers = self._signer.headers(credentials, f"AmazonSQS.{action}", request, moment)
        async with self._http.post(
            self._url, data=request, headers=headers, timeout=limits, allow_redirects=False
        ) as response:
            return response, await response.read()

    def _corrects_clock(self, response: aiohttp.ClientResponse, answer: bytes) -> bool:
        """Adopt AWS's time if that is why the signature did not hold."""
        if _failure(response, answer)[0] not in _SIGNATURE_ERRORS:
            return False
        try:
            there = email.utils.parsedate_to_datetime(response.headers["Date"]).timestamp()
        except (KeyError, ValueError):
            return False
        offset = there - time.time()
        if abs(offset - self._clock_offset) < _TOLERATED_SKEW:
            return False
        self._clock_offset = offset
        logger.warning("clock.corrected offset=%.0f: this machine's clock is wrong", offset)
        return True


def _as_base64(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    raise TypeError(f"{value!r} cannot be sent to SQS.")


_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=_as_base64)


def _decode(answer: bytes, action: str, queue_url: str) -> dict[str, Any]:
    decoded = _parse(answer) if answer else {}
    if not isinstance(decoded, dict):
        raise TransientProviderError(
            f"{errors.queue_subject(queue_url)}: {action} was answered with no JSON object: {answer[:80]!r}"
        )
    return decoded


def _error(
    response: aiohttp.ClientResponse, answer: bytes, action: str, queue_url: str
) -> ProviderError:
    return errors.from_code(
        *_failure(response, answer),
        response.status,
        action=action,
        subject=errors.queue_subject(queue_url),
        retry_after=errors.retry_after(response.headers.get("Retry-After")),
    )


def _failure(response: aiohttp.ClientResponse, answer: bytes) -> tuple[str, str]:
    """Return the code and the message of an error, as botocore does."""
    error = _parse(answer)
    if not isinstance(error, dict):
        error = {"message": answer.decode(errors="replace")}
    code = str(error.get("__type") or response.status).partition(":")[0].rpartition("#")[2]
    old_code, separator, _ = response.headers.get("x-amzn-query-error", "").partition(";")
    if separator and old_code:
        code = old_code
    return code, str(error.get("message") or error.get("Message") or "")


def _parse(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return None
