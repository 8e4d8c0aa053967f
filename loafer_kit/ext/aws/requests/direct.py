"""DirectTransport: SQS's JSON protocol over aiohttp, without botocore in the path of a request.

botocore resolves credentials, region, endpoint and TLS settings once, in `open_transport`. For each
request it would also validate and serialize the parameters, apply endpoint rules and hooks and
parse the answer by its model, which costs several times as much as the request itself. The five
actions of a consumer need none of that.
"""

import asyncio
import base64
import functools
import hashlib
import hmac
import io
import itertools
import json
import logging
import os
import ssl
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp
import yarl
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import NoCredentialsError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies, normalize_url_path

from loafer_kit.events import requesting
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws import trace_headers
from loafer_kit.ext.aws.limits import SQS_LONGEST_POLL
from loafer_kit.ext.aws.requests import errors
from loafer_kit.ext.aws.requests.transport import OK, parse_json

logger = logging.getLogger(__name__)

#: Seconds: AWS closes a connection that was idle for 20 seconds; ours are closed before.
_KEEP_ALIVE = 12.0

#: Seconds after the end of a long poll in which its answer must arrive. The queue's own setting may
#: ask for the longest poll when the request names none.
_ANSWER_MARGIN = 5.0

#: Bytes of a request that are written in one go.
_LARGEST_WRITE = 1_048_576

#: The most attempts of one request: the clock and the credentials may each be corrected.
_ATTEMPTS = 3

_SENDS = ("SendMessage", "SendMessageBatch")

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CONTENT_TYPE = "application/x-amz-json-1.0"
_SIGNED = "content-type;host;x-amz-date;x-amz-target;x-amzn-query-mode"
_SIGNED_IN_A_SESSION = (
    "content-type;host;x-amz-date;x-amz-security-token;x-amz-target;x-amzn-query-mode"
)


class FrozenCredentials(Protocol):
    """Credentials of one moment, as `get_frozen_credentials()` returns them."""

    access_key: str
    secret_key: str
    token: str | None


class Credentials(Protocol):
    """Where the credentials of each request come from."""

    async def get_frozen_credentials(self) -> FrozenCredentials:
        """Return credentials that are valid now."""

    def accepted(self) -> None:
        """Take note that AWS accepts the credentials."""

    async def renewed(self, rejected: FrozenCredentials) -> bool:
        """Return whether there are other credentials than those that AWS did not accept."""


# Signature Version 4: 34 µs a request, where botocore's general implementation takes 237 µs


class Signer:
    """Signs POSTs of AWS JSON 1.0 to one endpoint, as `region` and `service` (the signing name).

    The parts that are equal in all requests are computed once.
    """

    def __init__(self, endpoint_url: str, region: str, service: str) -> None:
        url = urllib.parse.urlsplit(endpoint_url)
        self._region = region
        self._service = service
        self._host = _host(url)
        path = urllib.parse.quote(normalize_url_path(url.path), safe="/~")
        self._head = f"POST\n{path}\n\ncontent-type:{_CONTENT_TYPE}\nhost:{self._host}\nx-amz-date:"

    def headers(
        self, credentials: FrozenCredentials, target: str, body: bytes, moment: float
    ) -> dict[str, str]:
        """Return the headers of a request made at `moment` (seconds since the epoch)."""
        timestamp = _timestamp(int(moment))
        headers = {
            "Content-Type": _CONTENT_TYPE,
            "Host": self._host,
            "X-Amz-Date": timestamp,
            "X-Amz-Target": target,
            # SQS then also returns an error's code of the old query protocol, which botocore reports.
            "X-Amzn-Query-Mode": "true",
        }
        signed = _SIGNED
        session = ""
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
            session = f"x-amz-security-token:{' '.join(credentials.token.split())}\n"
            signed = _SIGNED_IN_A_SESSION
        canonical = (
            f"{self._head}{timestamp}\n{session}x-amz-target:{target}\nx-amzn-query-mode:true\n\n"
            f"{signed}\n{hashlib.sha256(body).hexdigest()}"
        )
        day = timestamp[:8]
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        to_sign = (
            f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n"
            f"{hashlib.sha256(canonical.encode()).hexdigest()}"
        )
        key = _signing_key(credentials.secret_key, day, self._region, self._service)
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed}, Signature={_hmac(key, to_sign).hex()}"
        )
        return headers


@functools.lru_cache(maxsize=16)
def _timestamp(second: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


@functools.lru_cache(maxsize=16)
def _signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    key = _hmac(f"AWS4{secret_key}".encode(), day)
    for part in (region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _host(url: urllib.parse.SplitResult) -> str:
    host = url.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if url.port is not None and url.port != _DEFAULT_PORTS.get(url.scheme):
        host = f"{host}:{url.port}"
    return host


# Requests


class DirectTransport:
    """An `SQSTransport` that signs and posts each request itself.

    Long polls (`polls`) and other requests (`http`) have connections of their own, so that a
    deletion never waits for a connection that a long poll occupies. Timeouts are in seconds; a
    receive is given more than `read_timeout` where its long poll may need it.
    """

    def __init__(
        self,
        url: str,
        signer: Signer,
        credentials: Credentials | None,
        *,
        http: aiohttp.ClientSession,
        polls: aiohttp.ClientSession,
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        self._url = yarl.URL(url, encoded=True)
        self._signer = signer
        self._credentials = credentials
        self._http = http
        self._polls = polls
        self._timeout = _timeout(connect_timeout, read_timeout)
        self._poll_timeout = _timeout(
            connect_timeout, max(read_timeout, SQS_LONGEST_POLL + _ANSWER_MARGIN)
        )
        self._clock_offset = 0.0  # seconds that AWS's clock is ahead of this machine's

    async def call(self, action: str, url: str, /, **parameters: Any) -> dict[str, Any]:
        """Return SQS's answer to `action`.

        A request is repeated only to correct the clock or to renew the credentials.
        """
        parameters = {"QueueUrl": url, **parameters}
        with requesting("sqs", action, parameters, trace_headers.read) as told:
            response, answer = await self._answer(action, url, parameters)
            if action in _SENDS:  # as botocore does; users of a handler get it
                request_id = response.headers.get("x-amzn-RequestId")
                answer["ResponseMetadata"] = {"RequestId": request_id}
            if told is not None:
                told.answer, told.request_id = answer, response.headers.get("x-amzn-RequestId")
        return answer

    async def _answer(
        self, action: str, url: str, parameters: dict[str, Any]
    ) -> tuple[aiohttp.ClientResponse, dict[str, Any]]:
        request = _ENCODER.encode(parameters).encode()
        try:
            response, answer = await self._ask(action, request)
            if response.status == OK and action == "ReceiveMessage":
                _decode_binary_attributes(answer)
        except errors.REQUEST_ERRORS as error:
            subject = errors.queue_subject(url)
            raise errors.from_exception(error, action=action, subject=subject) from error
        if response.status != OK:
            raise errors.from_code(
                *_failure(response, answer),
                response.status,
                action=action,
                subject=errors.queue_subject(url),
                retry_after=errors.retry_after(response.headers.get("Retry-After")),
            )
        return response, answer

    async def close(self) -> None:
        """Close the connections."""
        await self._polls.close()
        await self._http.close()

    async def _ask(
        self, action: str, request: bytes
    ) -> tuple[aiohttp.ClientResponse, dict[str, Any]]:
        if self._credentials is None:
            raise NoCredentialsError
        for attempt in itertools.count(1):
            credentials = await self._credentials.get_frozen_credentials()
            moment = time.time() + self._clock_offset
            response, answer = await self._post(action, request, credentials, moment)
            if response.status == OK:
                self._credentials.accepted()
                break
            code, _ = _failure(response, answer)
            skew = errors.clock_skew(code, response.headers, moment)
            if skew is not None:
                if attempt == _ATTEMPTS:
                    raise errors.ClockError(skew)
                self._correct_clock(moment + skew)
            elif (
                attempt == _ATTEMPTS
                or not errors.is_about_credentials(code)
                or not await self._credentials.renewed(credentials)
            ):
                break
        return response, answer

    async def _post(
        self, action: str, request: bytes, credentials: FrozenCredentials, moment: float
    ) -> tuple[aiohttp.ClientResponse, dict[str, Any]]:
        headers = self._signer.headers(credentials, f"AmazonSQS.{action}", request, moment)
        http, timeout = self._http, self._timeout
        if action == "ReceiveMessage":
            http, timeout = self._polls, self._poll_timeout
        # aiohttp writes bytes in one go, and warns of so many.
        data = request if len(request) <= _LARGEST_WRITE else io.BytesIO(request)
        async with http.post(
            self._url, data=data, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            body = await response.read()
        return response, parse_json(action, response.status, response.headers, body)

    def _correct_clock(self, aws_time: float) -> None:
        """Adopt AWS's time; another request under way may have done so already."""
        offset = aws_time - time.time()
        if abs(offset - self._clock_offset) > 1.0:
            logger.warning(
                "clock.corrected offset=%.0f: this machine's clock is wrong",
                offset,
                extra={"event": "clock.corrected", "offset": offset},
            )
        self._clock_offset = offset


def _timeout(connect: float, read: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read)


# Requests and answers: AWS JSON 1.0


def _as_base64(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    raise TypeError(f"{value!r} cannot be sent to SQS.")


_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=_as_base64)


def _decode_binary_attributes(answer: dict[str, Any]) -> None:
    """Decode the binary attributes of received messages in place, as botocore does."""
    for message in answer.get("Messages") or ():
        for attribute in (message.get("MessageAttributes") or {}).values():
            if "BinaryValue" in attribute:
                attribute["BinaryValue"] = base64.b64decode(attribute["BinaryValue"])


def _failure(response: aiohttp.ClientResponse, error: dict[str, Any]) -> tuple[str, str]:
    """Return the code and the message of an error, as botocore does."""
    code = str(error.get("__type") or response.status).partition(":")[0].rpartition("#")[2]
    old_code, separator, _ = response.headers.get("x-amzn-query-error", "").partition(";")
    if separator and old_code:
        code = old_code
    return code, str(error.get("message") or error.get("Message") or "")


# Taken over from botocore: endpoint, credentials, TLS, timeouts


def can_replace(client: Any) -> bool:
    """Return whether the direct transport supports all that an (open) SQS client is configured for.

    Proxies, client certificates, aiohttp connector arguments, FIPS or dual-stack endpoints and
    signatures other than Signature Version 4 are left to botocore.
    """
    config = client.meta.config
    return bool(
        client.meta.service_model.resolved_protocol == "json"
        and config.signature_version == "v4"
        and config.http_session_cls is AIOHTTPSession
        and set(config.connector_args or ()) <= {"keepalive_timeout"}
        and not config.client_cert
        and not config.use_fips_endpoint
        and not config.use_dualstack_endpoint
        and not config.proxies
        and not get_environ_proxies(client.meta.endpoint_url)
    )


async def open_transport(
    session: Any, client: Any, options: Mapping[str, Any], credentials: Credentials | None
) -> DirectTransport:
    """Return a transport that behaves as `client`, which `session` made with `options`."""
    config = client.meta.config
    url = client.meta.endpoint_url
    verification = await _verification(session, url, options.get("verify"))
    return DirectTransport(
        url,
        Signer(url, client.meta.region_name, client.meta.service_model.signing_name),
        credentials,
        http=_http(config, verification),
        polls=_http(config, verification),
        connect_timeout=config.connect_timeout,
        read_timeout=config.read_timeout,
    )


def _http(config: Any, verification: ssl.SSLContext | bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=config.max_pool_connections, keepalive_timeout=_KEEP_ALIVE, ssl=verification
        ),
        headers={"User-Agent": config.user_agent},
        skip_auto_headers=("Accept", "Accept-Encoding"),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def _verification(session: Any, url: str, verify: bool | str | None) -> ssl.SSLContext | bool:
    """Return aiohttp's `ssl` argument; the CA bundle is chosen in botocore's order."""
    if not url.startswith("https:"):
        return True
    if verify is None:
        verify = session.get_config_variable("ca_bundle")
    if verify is None:
        verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    return await asyncio.to_thread(_ssl_context, verify) if verify else False


def _ssl_context(verify: bool | str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bundle = get_cert_path(verify)
    try:
        context.load_verify_locations(bundle)
    except OSError as error:
        raise ConfigurationError(
            f"The CA bundle {bundle!r} (verify, AWS_CA_BUNDLE) cannot be read: {error}"
        ) from error
    return context
