"""The server of the console: its page, the streams of live data, and the requests that look and steer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from loafer_kit.console.queues import Letters, Queue, QueueWatch, Row, Values
from loafer_kit.console.security import SESSION, Guard
from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.local import sending
from loafer_kit.local.sending import Server
from loafer_kit.operations import control
from loafer_kit.operations.http import Address

#: The messages that a page shows.
_MOST_RECENT = 200

#: The most pages that are open at once.
_MOST_STREAMS = 16

#: Seconds that a page gets to read what it was sent, and between two signs of life.
_WRITE_TIME, _BEAT_EVERY = 10.0, 15.0

#: Seconds between two looks at the processes, while a page is open.
_LOOK_EVERY = 1.0

#: Seconds that a request gets to arrive, and that open ones get when the console ends.
_READ_TIME, _CLOSE_TIME = 10.0, 1.0

#: Bytes: a message of 1 MiB, whose characters JSON may escape.
_LARGEST_REQUEST = 8 * 1024 * 1024

_PAGE = Path(__file__).with_name("page")
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

#: The content and the content type of a file of the page.
File = tuple[bytes, str]

Action = Callable[[Values], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Service:
    """A service that the console shows; `control` is the path of its control socket."""

    name: str
    queues: Sequence[Queue]
    control: Path


async def look(services: Sequence[Service]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what each service does now, and the last messages of all, the newest first."""
    answers = await asyncio.gather(*map(_look, services))
    recent = [
        {**message, "service": service.name}
        for service, (_, messages) in zip(services, answers, strict=True)
        for message in messages
    ]
    recent.sort(key=lambda message: float(message["time"]), reverse=True)
    return [status for status, _ in answers], recent[:_MOST_RECENT]


async def _look(service: Service) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        status = await control.ask(service.control, "status")
        recent = await control.ask(service.control, "recent")
    except LoaferKitError as error:
        return {"service": service.name, "error": str(error), "status": None}, []
    return {"service": service.name, "error": None, "status": status}, recent


class Streams:
    """Sends the newest state of each topic to every open page.

    A page that reads slowly misses states in between: for each topic it is owed one, the newest.
    `opened` is called for each new page.
    """

    def __init__(self, opened: Callable[[], object] = lambda: None) -> None:
        self._opened = opened
        self._frames: dict[str, bytes] = {}
        self._pages: set[_Page] = set()
        self._closed = False

    @property
    def are_watched(self) -> bool:
        """Whether a page is open."""
        return bool(self._pages)

    def publish(self, topic: str, state: Any) -> None:
        """Send the state of a topic to every page, now and when it opens, unless it is known."""
        frame = f"event: {topic}\ndata: {json.dumps(state)}\n\n".encode()
        if self._frames.get(topic) != frame:
            self._frames[topic] = frame
            for page in self._pages:
                page.owe(topic, frame)

    def close(self) -> None:
        """End all streams, and those that would be opened."""
        self._closed = True
        for page in self._pages:
            page.news.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send events until the page goes away."""
        if len(self._pages) >= _MOST_STREAMS:
            error = f"{_MOST_STREAMS} pages are open already: close one"
            return web.json_response({"error": error}, status=503)
        page = _Page(self._frames)
        self._pages.add(page)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            self._opened()
            await response.prepare(request)
            while not self._closed:
                async with asyncio.timeout(_WRITE_TIME):
                    await response.write(page.take() or b": beat\n\n")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(page.news.wait(), _BEAT_EVERY)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except ConnectionResetError:
            pass
        finally:
            self._pages.discard(page)
        return response


class _Page:
    """What one page has not been sent yet."""

    def __init__(self, frames: dict[str, bytes]) -> None:
        self._owed = dict(frames)
        self.news = asyncio.Event()

    def owe(self, topic: str, frame: bytes) -> None:
        self._owed[topic] = frame
        self.news.set()

    def take(self) -> bytes:
        self.news.clear()
        frames = b"".join(self._owed.values())
        self._owed.clear()
        return frames


class Console:
    """Shows `services` and their queues to browsers; with `write` they may be steered.

    `find` returns the server of a queue of SQS.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        write: bool = False,
        find: Callable[[str], Server] = sending.server_with,
    ) -> None:
        self._services = {service.name: service for service in services}
        self._write = write
        self._opened = asyncio.Event()
        self._streams = Streams(self._opened.set)
        self._loop = asyncio.get_running_loop()
        queues = [queue for service in services for queue in service.queues]
        self._queues = QueueWatch(queues, find, self._seen)
        self._letters = Letters(self._queues)

    @contextlib.asynccontextmanager
    async def listening(self, address: Address) -> AsyncIterator[str]:
        """Listen while the block runs; yield the URL that begins a session.

        Raises `ConfigurationError` if the console cannot listen there.
        """
        files = {
            f"/{file.name}": (file.read_bytes(), _TYPES[file.suffix])
            for file in _PAGE.iterdir()
            if file.suffix in _TYPES
        }
        files["/"] = files.pop("/index.html")
        guard = Guard(address, files, write=self._write)
        runner = web.AppRunner(
            self._application(guard, files),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_CLOSE_TIME,
        )
        looks = asyncio.create_task(self._look())
        try:
            guard.address = await _listen(runner, address)
            self._publish_services()
            self._queues.start()
            yield f"http://{guard.address}/#token={guard.token}"
        finally:
            self._queues.end()
            self._streams.close()
            looks.cancel()
            await asyncio.wait([looks])
            await runner.cleanup()

    def _application(self, guard: Guard, files: Mapping[str, File]) -> web.Application:
        application = web.Application(
            middlewares=[guard.middleware], client_max_size=_LARGEST_REQUEST
        )
        application.on_response_prepare.append(guard.add_headers)
        for path, file in files.items():
            application.router.add_get(path, partial(_send_file, *file))
        application.router.add_get("/api/stream", self._streams.serve)
        reads: dict[str, Action] = {
            SESSION: _confirm_session,
            "/api/letter": self._letters.content,
            "/api/letters": self._letters.look,
        }
        writes: dict[str, Action] = {
            SESSION: guard.begin_session,
            "/api/flow": self._change_flow,
            "/api/purge": self._letters.purge,
            "/api/replay": self._letters.replay,
            "/api/send": self._send,
        }
        for path, action in reads.items():
            application.router.add_get(path, partial(_read, action))
        for path, action in writes.items():
            application.router.add_post(path, partial(_write, action))
        return application

    def _publish_services(self) -> None:
        services = [
            {"name": service.name, "queues": [asdict(queue) for queue in service.queues]}
            for service in self._services.values()
        ]
        self._streams.publish("services", {"write": self._write, "services": services})

    def _seen(self, rows: list[Row]) -> None:
        """Publish what the thread has seen of the queues."""
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(self._streams.publish, "queues", rows)

    async def _look(self) -> None:
        while True:
            if self._streams.are_watched:
                states, recent = await look(list(self._services.values()))
                self._streams.publish("processes", states)
                self._streams.publish("messages", recent)
            self._opened.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._opened.wait(), _LOOK_EVERY)

    async def _send(self, values: Values) -> Values:
        queue, body, group = self._queues.asked(values), values.get("body"), values.get("group")
        if not isinstance(body, str) or not body:
            raise LoaferKitError("The body is empty: a message needs one")
        group = group if isinstance(group, str) and group else None
        send = queue.reachable().send
        return {"message_id": await asyncio.to_thread(send, queue.address, body, group)}

    async def _change_flow(self, values: Values) -> Values:
        service = self._services.get(str(values.get("service")))
        if service is None:
            raise LoaferKitError(f"The console has no service {values.get('service')!r}")
        action = "pause" if values.get("paused") is True else "resume"
        routes = await control.ask(service.control, action, route=str(values.get("route")))
        self._opened.set()  # looks at once, so that the page shows it
        return {"routes": routes}


async def _listen(runner: web.AppRunner, address: Address) -> Address:
    """Return the address with its port, which the system may have chosen."""
    try:
        await runner.setup()
        await web.TCPSite(runner, address.host, address.port).start()
    except (OSError, OverflowError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"The console cannot listen on {address}: {reason}") from error
    return Address(address.host, runner.addresses[0][1])


async def _send_file(content: bytes, kind: str, _: web.Request) -> web.Response:
    return web.Response(body=content, content_type=kind, charset="utf-8")


async def _confirm_session(_: Values) -> Values:
    return {}


async def _write(action: Action, request: web.Request) -> web.StreamResponse:
    try:
        async with asyncio.timeout(_READ_TIME):
            values = await request.json()
        json.dumps(values, ensure_ascii=False).encode()  # half a character is no text
    except web.HTTPRequestEntityTooLarge:
        return _error(f"The request has more than {_LARGEST_REQUEST:,} bytes", 413)
    except TimeoutError:
        return _error(f"The request did not arrive within {_READ_TIME:g} s", 408)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        return _error("The request must be an object of JSON, in UTF-8")
    return await _run(action, values)


async def _read(action: Action, request: web.Request) -> web.StreamResponse:
    return await _run(action, dict(request.query))


async def _run(action: Action, values: Values) -> web.StreamResponse:
    try:
        answer = await action(values)
    except LoaferKitError as error:
        return _error(" ".join(str(error).split()), getattr(error, "status", 400))
    return answer if isinstance(answer, web.Response) else web.json_response(answer)


def _error(text: str, status: int = 400) -> web.Response:
    return web.json_response({"error": text}, status=status)
