"""The gate of the local server: it passes requests of AWS clients and refuses those of web pages."""

import io
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

#: The services behind the gate. SNSHandler asks STS for the account of a topic that it has by name.
SERVICES = ("sqs", "sns", "sts")

#: Actions of SQS that moto would answer with a traceback.
MISSING = frozenset({"StartMessageMoveTask", "CancelMessageMoveTask", "ListMessageMoveTasks"})

_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
_SCOPE = re.compile(r"(Credential=[^/,\s]+/\d+/)[^/,\s]+/([^/,\s]+)/aws4_request")


class Gate:
    """A WSGI application that passes each request on to the service that it is signed for.

    An AWS client signs its requests; a web page cannot. `region` replaces the region of the
    signature, because moto keeps the regions apart. Answers never have CORS headers.
    """

    def __init__(self, services: Mapping[str, Any], region: str) -> None:
        self._services = services
        self._region = region

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        refusal = why_foreign(environ) or _why_not_served(scope and scope[2].lower(), environ)
        if refusal is not None or scope is None:
            return _error("403 Forbidden", "AccessDenied", str(refusal), environ, start_response)
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if action in MISSING:
            text = f"The local server has no {action}"
            return _error("400 Bad Request", "UnsupportedOperation", text, environ, start_response)
        environ["HTTP_AUTHORIZATION"] = _SCOPE.sub(
            rf"\g<1>{self._region}/\g<2>/aws4_request", environ["HTTP_AUTHORIZATION"]
        )

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            kept = [pair for pair in headers if not pair[0].lower().startswith("access-control-")]
            return start_response(status, kept, exc_info)

        return self._services[scope[2].lower()](environ, start)  # type: ignore[no-any-return]


def why_foreign(environ: Mapping[str, Any]) -> str | None:
    """Return why a request may come from a web page of another site, or None.

    A page whose host name was rebound to this machine sends that name as Host. A browser names
    another site as Origin in a request that writes, and in Sec-Fetch-Site in every request.
    """
    host = environ.get("HTTP_HOST", "")
    if not _OWN_HOST.fullmatch(host):
        return f"The host {host!r} is not this machine: use http://127.0.0.1"
    origin = environ.get("HTTP_ORIGIN", f"http://{host}")
    if origin != f"http://{host}":
        return f"Requests of web pages are refused; this one has the origin {origin!r}"
    site = environ.get("HTTP_SEC_FETCH_SITE", "none")
    if site not in {"none", "same-origin"}:
        return f"Requests of web pages are refused; this one is {site}"
    return None


def _why_not_served(service: str | None, environ: dict[str, Any]) -> str | None:
    if service is None:
        return "The request is not signed: use an AWS client"
    if service not in SERVICES:
        return f"The local server serves SQS and SNS, not {service}"
    if service == "sts" and _action(environ) != "GetCallerIdentity":
        return "Of STS, the local server serves GetCallerIdentity only"
    return None


def _action(environ: dict[str, Any]) -> str | None:
    """Return the action of a request in AWS's query protocol; its body can be read again."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    actions = parse_qs(body.decode(errors="replace")).get("Action", [])
    return actions[0] if len(actions) == 1 else None


def _error(
    status: str, code: str, text: str, environ: Mapping[str, Any], start_response: Any
) -> list[bytes]:
    """Answer with an error, in the protocol of the request."""
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        error = f"<Error><Code>{code}</Code><Message>{escape(text)}</Message></Error>"
        kind, answer = "text/xml", f"<ErrorResponse>{error}</ErrorResponse>".encode()
    else:
        kind, answer = "application/json", json.dumps({"__type": code, "message": text}).encode()
    # With its length, a client need not wait for the end of the connection.
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(answer)))])
    return [answer]
