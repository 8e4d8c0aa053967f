"""HTTP/1.1 for the stub: one request at a time per connection, kept alive, parsed minimally."""

import asyncio
import json
import urllib.parse
import uuid
from collections.abc import Awaitable
from typing import Any, cast

from benchmarks.stub.actions import ACTIONS
from benchmarks.stub.control import CONTROLS
from benchmarks.stub.errors import ApiError, InvalidValueError, UnsupportedError
from benchmarks.stub.service import Service

Answer = dict[str, Any] | bytes
_REASONS = {200: "OK", 400: "Bad Request"}
_ACTIONS = {name.lower().encode(): name for name in ACTIONS}

_DELETION = b"amazonsqs.deletemessagebatch"


class Connection(asyncio.Protocol):
    """One client connection; `latency` seconds are added to every SQS answer."""

    def __init__(self, service: Service, latency: float) -> None:
        self._service = service
        self._latency = latency
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end])
        lowered = head.lower()
        length = int(_header(lowered, b"content-length") or 0)
        if len(self._buffer) < end + 4 + length:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        target = _header(lowered, b"x-amz-target")
        if target:
            latency = self._latency
            if target == _DELETION:
                latency += self._service.deletion_latency
            self._answer(lambda: self._call_sqs(target, body), latency)
        else:
            self._answer(lambda: self._call_control(head), 0)

    def _answer(self, call: Any, latency: float) -> None:
        try:
            answer = call()
        except ApiError as error:
            self._respond(error, latency)
            return
        if isinstance(answer, (bytes, dict)):
            self._respond(answer, latency)
        else:
            self._task = self._loop.create_task(self._answer_later(answer, latency))

    async def _answer_later(self, answer: Awaitable[Answer], latency: float) -> None:
        try:
            self._respond(await answer, latency)
        except ApiError as error:
            self._respond(error, latency)

    def _call_sqs(self, target: bytes, body: bytes) -> Answer | Awaitable[Answer]:
        name = _ACTIONS.get(target.removeprefix(b"amazonsqs."))
        if name is None:
            raise UnsupportedError(f"This stub does not know {target.decode()}.")
        self._service.requests[name] += 1
        if target == _DELETION:
            self._service.check_deletion(self._loop.time())
        try:
            return ACTIONS[name](self._service, json.loads(body))
        except KeyError as error:
            raise InvalidValueError(f"The request must contain {error}.") from error

    def _call_control(self, head: bytes) -> Answer | Awaitable[Answer]:
        url = urllib.parse.urlsplit(head.split(b" ", 2)[1].decode())
        if url.path not in CONTROLS:
            raise UnsupportedError("This stub speaks the AWS JSON protocol only.")
        return CONTROLS[url.path](self._service, dict(urllib.parse.parse_qsl(url.query)))

    def _respond(self, answer: Answer | ApiError, latency: float) -> None:
        response = _render(answer)
        if latency:
            self._loop.call_later(latency, self._transport.write, response)
        else:
            self._transport.write(response)


def _header(head: bytes, name: bytes) -> bytes:
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip()


def _render(answer: Answer | ApiError) -> bytes:
    status, extra = 200, ""
    if isinstance(answer, ApiError):
        status, extra = answer.status, f"x-amzn-query-error: {answer.code};Sender\r\n"
        answer = answer.render()
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        f"x-amzn-RequestId: {uuid.uuid4()}\r\n"
        "Content-Type: application/x-amz-json-1.0\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
