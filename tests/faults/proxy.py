"""A proxy in front of an SQS server that breaks requests on demand."""

import asyncio
import collections
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from aiohttp import web

_JSON = {"Content-Type": "application/x-amz-json-1.0"}

Answer = tuple[int, dict[str, str], bytes]
Forward = Callable[[], Awaitable[Answer]]


@dataclass
class Fault:
    """What happens to the next `times` requests of `action` (None: of any action)."""

    breaks: Callable[[web.Request, Forward], Awaitable[web.StreamResponse]]
    action: str | None = None
    times: int = 1


class FaultProxy:
    """Forwards to `upstream`, except where a fault says otherwise; counts requests by action.

    `upstream` is a URL, or a function `(action, parameters)` that returns the answer.
    """

    def __init__(self, upstream):
        self.upstream = upstream
        self.faults = []
        self.counts = collections.Counter()
        #: What happened, in order: ("received" | "deleted" | "handled", message id).
        self.events = []
        self._messages = {}
        #: What the server stored, in order: (message id, body).
        self.stored = []
        self.port = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def inject(self, breaks, action=None, times=1):
        self.faults.append(Fault(breaks, action, times))

    async def __aenter__(self):
        self._session = aiohttp.ClientSession(auto_decompress=False)
        await self.listen()
        return self

    async def __aexit__(self, *exc_info):
        await self.refuse()
        await self._session.close()

    async def listen(self):
        """Accept connections, at the same port as before."""
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def refuse(self):
        """Close every connection and refuse new ones."""
        await self._runner.cleanup()

    async def _handle(self, request):
        action = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        self.counts[action] += 1
        body = await request.read()
        headers = {
            k: v for k, v in request.headers.items() if k.lower() not in {"host", "content-length"}
        }

        async def forward(data=body):
            if callable(self.upstream):
                parameters = json.loads(data)
                answer = self.upstream(action, parameters)
                self._observe(action, parameters, answer)
                return HTTPStatus.OK, dict(_JSON), json.dumps(answer).encode()
            async with self._session.request(
                request.method, self.upstream + request.path_qs, data=data, headers=headers
            ) as answer:
                kept = {
                    k: v
                    for k, v in answer.headers.items()
                    if k.lower() in {"content-type", "x-amzn-query-error", "date"}
                }
                content = await answer.read()
                if answer.status == HTTPStatus.OK:
                    self._observe(action, json.loads(data or b"{}"), json.loads(content or b"{}"))
                return answer.status, kept, content

        for fault in self.faults:
            if fault.times > 0 and fault.action in {None, action}:
                fault.times -= 1
                return await fault.breaks(request, forward)
        return _response(await forward())

    def _observe(self, action, request, answer):
        """Record what the server did, even if its response is lost."""
        if action == "ReceiveMessage":
            for message in answer.get("Messages", []):
                self._messages[message["ReceiptHandle"]] = message["MessageId"]
                self.events.append(("received", message["MessageId"]))
        elif action == "DeleteMessageBatch":
            done = {entry["Id"] for entry in answer.get("Successful", [])}
            for entry in request["Entries"]:
                if entry["Id"] in done:
                    self.events.append(("deleted", self._messages[entry["ReceiptHandle"]]))
        elif action == "SendMessage":
            self.stored.append((answer["MessageId"], request["MessageBody"]))
        elif action == "SendMessageBatch":
            bodies = {entry["Id"]: entry["MessageBody"] for entry in request["Entries"]}
            for entry in answer.get("Successful", []):
                self.stored.append((entry["MessageId"], bodies[entry["Id"]]))

    def handled(self, message_id):
        """Record that a handler was called."""
        self.events.append(("handled", message_id))


def _response(answer):
    status, headers, body = answer
    return web.Response(status=status, headers=headers, body=body)


def _error(code, status):
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": code}).encode()

    async def breaks(request, forward):
        return _response((status, _JSON, body))

    return breaks


internal_error = _error("InternalError", 500)
unavailable = _error("ServiceUnavailable", 503)
throttled = _error("ThrottlingException", 400)


async def malformed(request, forward):
    """The server carries the request out; the response is not JSON."""
    await forward()
    return _response((200, _JSON, b'{"Messages": [{"Bo'))


async def reset_before(request, forward):
    """The connection breaks before the request arrives."""
    request.transport.abort()
    return web.Response()


async def reset_after(request, forward):
    """The server carries the request out, but the response never arrives."""
    await forward()
    request.transport.abort()
    return web.Response()


async def reset_midway(request, forward):
    """The connection breaks in the middle of the response."""
    status, headers, body = await forward()
    response = web.StreamResponse(
        status=status, headers={**headers, "Content-Length": str(len(body) + 10)}
    )
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    request.transport.abort()
    return response


async def half_closed(request, forward):
    """The server closes its side without a response."""
    await forward()
    with contextlib.suppress(OSError, RuntimeError):
        request.transport.write_eof()
    await asyncio.sleep(0.05)
    request.transport.close()
    return web.Response()


def slow(seconds):
    """The response is delayed."""

    async def breaks(request, forward):
        answer = await forward()
        await asyncio.sleep(seconds)
        return _response(answer)

    return breaks


async def entries_failed(request, forward):
    """Every entry of a batch fails, and the sender is not to blame."""
    entries = json.loads(await request.read())["Entries"]
    failed = [
        {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError", "Message": "try again"}
        for entry in entries
    ]
    body = json.dumps({"Successful": [], "Failed": failed}).encode()
    return _response((200, _JSON, body))


def some_entries_failed(chance):
    """About half of the entries of a batch never arrive, and the sender is not to blame."""

    async def breaks(request, forward):
        batch = json.loads(await request.read())
        if "Entries" not in batch:
            return await internal_error(request, forward)
        good = [entry for entry in batch["Entries"] if chance.random() < 0.5]
        answer = {}
        if good:
            _, _, content = await forward(json.dumps({**batch, "Entries": good}).encode())
            answer = json.loads(content)
        failure = {"SenderFault": False, "Code": "InternalError", "Message": "try again"}
        arrived = {entry["Id"] for entry in good}
        answer["Failed"] = [
            {"Id": entry["Id"], **failure}
            for entry in batch["Entries"]
            if entry["Id"] not in arrived
        ]
        return _response((200, _JSON, json.dumps(answer).encode()))

    return breaks


def one_of(chance, part, *faults):
    """A part of the requests meet one of the faults; the others are answered."""

    async def breaks(request, forward):
        if chance.random() < part:
            return await chance.choice(faults)(request, forward)
        return _response(await forward())

    return breaks


def says(body, status=200, content_type="text/html"):
    """Something else than the server answers; the server hears of nothing."""

    async def breaks(request, forward):
        return _response((status, {"Content-Type": content_type}, body))

    return breaks


async def entries_refused(request, forward):
    """Every entry of a batch is refused, as the sender's fault."""
    entries = json.loads(await request.read())["Entries"]
    failed = [
        {"Id": entry["Id"], "SenderFault": True, "Code": "InvalidMessageContents", "Message": "no"}
        for entry in entries
    ]
    body = json.dumps({"Failed": failed}).encode()
    return _response((200, _JSON, body))


def refused_above(limit):
    """A batch whose bodies and attributes have more bytes than `limit` is refused as a whole."""
    refuse = _error("BatchRequestTooLong", 400)

    async def breaks(request, forward):
        size = 0
        for entry in json.loads(await request.read())["Entries"]:
            size += len(entry["MessageBody"].encode())
            for name, value in entry.get("MessageAttributes", {}).items():
                size += len(name) + sum(map(len, value.values()))
        return await refuse(request, forward) if size > limit else _response(await forward())

    return breaks
