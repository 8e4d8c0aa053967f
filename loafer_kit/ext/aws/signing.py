"""AWS Signature Version 4 for the requests of the direct transport.

It costs 34 µs a request; botocore's general implementation costs 237 µs.
"""

import functools
import hashlib
import hmac
import time
import urllib.parse
from typing import Protocol

from botocore.utils import normalize_url_path

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
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))
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
