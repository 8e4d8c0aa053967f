"""LocalServer: moto's SQS and SNS over HTTP, in a thread of this process."""

import io
import json
import logging
import re
import select
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

from loafer_kit.exceptions import ConfigurationError, MissingExtraError
from loafer_kit.ext.aws.limits import SQS_LONGEST_POLL
from loafer_kit.local.environments import DEFAULT_REGION, child_environment, environment

HOST = "127.0.0.1"

#: Seconds: how long a long poll may go on that was abandoned or released.
_SLICE = 1

_SIGNED_REGION = re.compile(r"(Credential=[^/]+/\d+/)[^/]+")


class LocalServer:
    """An SQS and SNS server on 127.0.0.1, for as long as the `with` block lasts.

    `port` 0 takes a free one. The queues are in the memory of this process: the first server starts
    without any, servers that run at the same time share them. For development and tests: it is slow
    on deep queues and has data races, so it proves nothing about concurrency. `region` is the one
    in the ARNs; clients of any region see the same queues.

    Raises `MissingExtraError` without the extra `local`, `ConfigurationError` if the port is taken.
    """

    _running: ClassVar[int] = 0

    def __init__(self, port: int = 0, region: str = DEFAULT_REGION) -> None:
        self._port = port
        self._region = region
        self._server: Any = None
        self._polls: LongPolls | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The endpoint: `http://127.0.0.1:PORT`."""
        return f"http://{HOST}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The AWS variables that direct a client to this server."""
        return environment(self.url, self._region)

    def child_environment(self) -> dict[str, str]:
        """Return this process's environment with AWS variables that direct a child to this server."""
        return child_environment(self.url, region=self._region)

    def start(self) -> None:
        """Start listening, and return when the server answers."""
        application, handler, make_server, client = _load()
        if not LocalServer._running:
            client(application).post("/moto-api/reset")  # forgets all queues
        self._polls = LongPolls(_in_one_region(application, self._region))
        with _bind(self._port) as listener:
            self._port = listener.getsockname()[1]
            self._server = make_server(
                HOST,
                self._port,
                self._polls,
                threaded=True,
                request_handler=handler,
                fd=listener.fileno(),
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="loafer-kit-local-server",
            daemon=True,
        )
        self._thread.start()
        LocalServer._running += 1

    @property
    def was_polled(self) -> bool:
        """Whether a client has asked for messages."""
        return self._polls is not None and self._polls.was_polled

    def received_more_than(self, times: int, queue: str) -> int:
        """Return how many messages of a queue were received more than `times` times."""
        if self._polls is None:
            return 0
        return sum(count > times for count in self._polls.receives[queue].values())

    def release_polls(self) -> None:
        """Answer open long polls soon and later ones at once, so that a consumer can stop quickly."""
        if self._polls is not None:
            self._polls.release()

    def stop(self) -> None:
        """Stop listening; a second call does nothing."""
        if self._thread is None:
            return
        self.release_polls()
        self._server.shutdown()
        self._thread.join()
        self._server = self._thread = None
        LocalServer._running -= 1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _load() -> tuple[Any, Any, Any, Any]:
    """Return moto's application, a request handler that logs nothing, werkzeug's factory and client."""
    try:
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server
        from werkzeug.test import Client
    except ImportError as error:
        raise MissingExtraError("The local SQS server", "local") from error

    class QuietRequestHandler(MotoRequestHandler):  # type: ignore[misc, unused-ignore]
        protocol_version = "HTTP/1.0"  # a stopped server must not answer on an open connection

        def log_request(self, *_args: object) -> None: ...

        def log_error(self, *args: Any) -> None:
            logging.getLogger(__name__).warning(*args)

    application = DomainDispatcherApplication(create_backend_app)
    return application, QuietRequestHandler, make_server, Client


def _in_one_region(application: Any, region: str) -> Any:
    """Return `application` with `region` for every request: moto keeps the regions apart."""

    def within(environ: dict[str, Any], start_response: Any) -> Any:
        signature = environ.get("HTTP_AUTHORIZATION", "")
        environ["HTTP_AUTHORIZATION"] = _SIGNED_REGION.sub(rf"\g<1>{region}", signature)
        return application(environ, start_response)

    return within


def _bind(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"Cannot listen on {HOST}:{port}: {error.strerror}; choose another port, or 0 for a free one"
        ) from error
    listener.listen(128)
    return listener


class LongPolls:
    """A WSGI application around moto's that cuts long polls into slices: moto's own never end early.

    Between two slices it checks whether the client has closed the connection, since a message for it
    would be lost until its visibility timeout, and whether the polls were released.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._released = threading.Event()
        #: How often each message was received, by queue and message id.
        self.receives: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.was_polled = False

    def release(self) -> None:
        """Answer open polls soon, and later polls at once."""
        self._released.set()

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
        queue = str(request.get("QueueUrl")).rpartition("/")[2]
        self.receives[queue].update(message["MessageId"] for message in answer.messages)
        start_response(answer.status, answer.headers)
        return [answer.body]

    def _poll(self, environ: dict[str, Any], request: dict[str, Any], deadline: float) -> "_Answer":
        while True:
            released = self._released.is_set()
            request["WaitTimeSeconds"] = 0 if released else _SLICE
            answer = _Answer(self._application, environ, json.dumps(request).encode())
            if answer.is_error or answer.messages or released or time.monotonic() >= deadline:
                return answer
            if _is_gone(environ["werkzeug.socket"]):
                return answer


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
