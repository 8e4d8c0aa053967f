"""Everything between HTTP and moto: a gate that refuses web pages, long polls that end early.

It imports moto.
"""

import io
import json
import logging
import re
import select
import socket
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.backends import get_backend
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from loafer_kit.ext.aws.limits import SQS_LONGEST_POLL

#: The services behind the gate. SNSHandler asks STS for the account of a topic that it has by name.
SERVICES: tuple[Any, ...] = ("sqs", "sns", "sts")

#: Actions of SQS that moto would answer with a traceback.
MISSING = frozenset({"StartMessageMoveTask", "CancelMessageMoveTask", "ListMessageMoveTasks"})

_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
_SCOPE = re.compile(r"(Credential=[^/,\s]+/\d+/)[^/,\s]+/([^/,\s]+)/aws4_request")

#: Seconds: how long a long poll may go on that was abandoned or released.
_SLICE = 1


class Gate:
    """A WSGI application that passes each request on to the service that it is signed for.

    An AWS client signs its requests; a web page cannot. `region` replaces the region of the
    signature, because moto keeps the regions apart. Answers never have CORS headers.
    """

    def __init__(self, region: str) -> None:
        services = {name: create_backend_app(name) for name in SERVICES}
        self.polls = LongPolls(services["sqs"])
        self._services = services | {"sqs": self.polls}
        self._region = region

    def forget_all(self) -> None:
        """Forget the queues and topics of this process; what other services hold stays."""
        backends: list[Any] = [get_backend("sqs"), get_backend("sns")]
        for account in [account for backend in backends for account in backend.values()]:
            account.reset()

    def listen(self, listener: socket.socket) -> BaseWSGIServer:
        """Return a server whose `serve_forever` answers what connects to `listener`."""
        host, port = listener.getsockname()
        return make_server(
            *(host, port, self),
            threaded=True,
            request_handler=QuietRequestHandler,
            fd=listener.fileno(),
        )

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        refusal = _why_foreign(environ) or self._why_not_served(scope, environ)
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

        return self._services[scope[2].lower()](environ, start)

    def _why_not_served(self, scope: re.Match[str] | None, environ: dict[str, Any]) -> str | None:
        if scope is None:
            return "The request is not signed: use an AWS client"
        service = scope[2].lower()
        if service not in self._services:
            return f"The local server serves SQS and SNS, not {service}"
        if service == "sts" and _action(environ) != "GetCallerIdentity":
            return "Of STS, the local server serves GetCallerIdentity only"
        return None


def _why_foreign(environ: Mapping[str, Any]) -> str | None:
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


class QuietRequestHandler(MotoRequestHandler):  # type: ignore[misc, unused-ignore]
    """Logs errors only, and closes each connection after its answer."""

    protocol_version = "HTTP/1.0"  # a stopped server must not answer on an open connection

    def log_request(self, *_args: object) -> None: ...

    def log_error(self, *args: Any) -> None:
        logging.getLogger(__name__).warning(*args)


class LongPolls:
    """A WSGI application around moto's that cuts long polls into slices: moto's own never end early.

    Between two slices it checks whether the client has closed the connection, since a message for it
    would be lost until its visibility timeout, and whether the polls were released.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._released: frozenset[str] = frozenset()
        self._is_closed = False
        #: The latest receipt handle of each message, by queue and message id.
        self.handles: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.was_polled = False

    def release(self, queues: Iterable[str]) -> None:
        """Answer open polls of some queues soon, and later polls at once."""
        self._released |= set(queues)

    def hold(self, queues: Iterable[str]) -> None:
        """Let polls of some queues wait again."""
        self._released -= set(queues)

    def close(self) -> None:
        """Answer every open poll soon, and later polls at once."""
        self._is_closed = True

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("HTTP_X_AMZ_TARGET") != "AmazonSQS.ReceiveMessage":
            return self._application(environ, start_response)  # type: ignore[no-any-return]
        self.was_polled = True
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        request = json.loads(body)
        wait = request.get("WaitTimeSeconds")
        if wait in range(1, SQS_LONGEST_POLL + 1):
            answer = self._poll(environ, request, time.monotonic() + wait)
        else:
            answer = _Answer(self._application, environ, body)
        for message in answer.messages:
            self.handles[_queue_of(request)][message["MessageId"]] = message["ReceiptHandle"]
        start_response(answer.status, answer.headers)
        return [answer.body]

    def _poll(self, environ: dict[str, Any], request: dict[str, Any], deadline: float) -> "_Answer":
        while True:
            released = self._is_closed or _queue_of(request) in self._released
            request["WaitTimeSeconds"] = 0 if released else _SLICE
            answer = _Answer(self._application, environ, json.dumps(request).encode())
            if answer.is_error or answer.messages or released or time.monotonic() >= deadline:
                return answer
            if _is_gone(environ["werkzeug.socket"]):
                return answer


def _queue_of(request: Mapping[str, Any]) -> str:
    return str(request.get("QueueUrl")).rpartition("/")[2]


class _Answer:
    """The answer of the application to one request."""

    def __init__(self, application: Any, environ: dict[str, Any], request: bytes) -> None:
        repeated = environ | {
            "wsgi.input": io.BytesIO(request),
            "CONTENT_LENGTH": str(len(request)),
        }
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        chunks = application(repeated, self._start)
        try:
            self.body = b"".join(chunks)
        finally:
            getattr(chunks, "close", lambda: None)()

    @property
    def is_error(self) -> bool:
        return not self.status.startswith("200")

    @property
    def messages(self) -> Sequence[dict[str, Any]]:
        return [] if self.is_error else json.loads(self.body).get("Messages", [])

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status, self.headers = status, headers


def _is_gone(client: socket.socket) -> bool:
    readable, _, _ = select.select([client], [], [], 0)
    return bool(readable) and client.recv(1, socket.MSG_PEEK) == b""
