"""LongPolls: long polls on moto's server that end early when their client has gone."""

import io
import json
import select
import socket
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loafer_kit.ext.aws.limits import SQS_LONGEST_POLL

#: Seconds: how long a long poll may go on that was abandoned or released.
_SLICE = 1


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
