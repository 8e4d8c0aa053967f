"""The control socket of a service, by which an operator of this machine looks and steers.

A client writes requests, a line of JSON each, `{"action": "pause", "route": "orders"}`, and reads a
line for each: `{"ok": true, "result": …}` or `{"ok": false, "error": "…"}`.
"""

import asyncio
import contextlib
import inspect
import json
import logging
import os
import socket
import stat
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from loafer_kit.config import check_number, suggestion
from loafer_kit.engine.flow import Flow
from loafer_kit.events import ObservedCall, Observer
from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.logs import log_event
from loafer_kit.operations.recorder import outcome_name, recorder_of, running
from loafer_kit.outcomes import Delivery
from loafer_kit.routes import Route
from loafer_kit.services import Service

logger = logging.getLogger(__name__)

#: The variable that names the control socket. Empty: there is none.
CONTROL_VARIABLE = "LOAFER_CONTROL"

#: An action by its name: it takes the other members of a request as keywords.
Actions = Mapping[str, Callable[..., Any]]

#: The finished messages that are kept.
RECENT = 200

#: Handler starts per second.
_HIGHEST_RATE = 1e9

#: Bytes of a request, and of an answer.
_LONGEST_REQUEST, _LONGEST_ANSWER = 2**16, 2**26

#: Seconds that a client gets to write a request, to read an answer, and to wait for one.
_IDLE_TIME, _WRITE_TIME, _ANSWER_TIME = 60.0, 5.0, 30.0

#: Turns of the event loop from the acceptance of a connection to its client.
_ACCEPT_STEPS = 3

#: The most clients at the same time.
_CLIENTS = 32


class ControlError(ConfigurationError):
    """A process cannot be asked, or refuses what it is asked for."""


class ControlSocket:
    """Carries out `actions` for clients that run as the same user."""

    def __init__(self, path: Path, actions: Actions) -> None:
        self.path = path
        self._actions = actions
        self._clients: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen while the block runs; a socket that cannot be made is logged."""
        try:
            listener = _bind(self.path)
        except (OSError, ControlError) as error:
            text = f"{error}; the service goes on without its control socket"
            log_event(logger, logging.ERROR, "control.failed", {"path": str(self.path)}, text)
            yield
            return
        inode = self.path.lstat().st_ino
        server = await asyncio.start_unix_server(
            self._connected, sock=listener, limit=_LONGEST_REQUEST
        )
        log_event(logger, logging.DEBUG, "control.started", {"path": str(self.path)})
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if self.path.lstat().st_ino == inode:
                    self.path.unlink()
            # asyncio leaves a connection open that it has just accepted when its server closes.
            for _ in range(_ACCEPT_STEPS):
                await asyncio.sleep(0)
            server.close()
            for client in self._clients:
                client.cancel()
            if self._clients:
                await asyncio.wait(self._clients)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= _CLIENTS:
            writer.transport.abort()
            return
        client = asyncio.create_task(self._serve(reader, writer), name="control")
        self._clients.add(client)

        def ended(_: object) -> None:
            self._clients.discard(client)
            writer.transport.abort()
            if not client.cancelled():
                client.exception()  # the client has gone

        client.add_done_callback(ended)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(_IDLE_TIME):
                    line = await reader.readline()
            except ValueError:
                line = None
            if line == b"":
                return
            answer = await self._answer(line)
            writer.write(json.dumps(answer).encode() + b"\n")
            async with asyncio.timeout(_WRITE_TIME):
                await writer.drain()
            if line is None:  # the rest of the line would be taken for requests
                return

    async def _answer(self, line: bytes | None) -> dict[str, Any]:
        try:
            return {"ok": True, "result": await perform(self._actions, _read_request(line))}
        except ConfigurationError as error:
            return {"ok": False, "error": str(error)}
        except Exception as error:  # noqa: BLE001 - whatever an action raises
            log_event(logger, logging.ERROR, "control.error", {}, exc_info=error)
            return {"ok": False, "error": f"the service failed to answer: {error!r}"}


def _bind(path: Path) -> socket.socket:
    """Return a socket that only this user reaches; replace that of a process that has ended."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlError("there is a file that is not a socket")
        if is_alive(path):
            raise ControlError("another process listens there")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    # Nobody can connect before the mode is set, as it would be with chmod.
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen()
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener


def is_alive(path: Path) -> bool:
    """Return whether a process listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # its queue of connections is full, or it belongs to another user
            return True
    return True


def _read_request(line: bytes | None) -> dict[str, Any]:
    if line is None:
        raise ControlError(f"a request has at most {_LONGEST_REQUEST} bytes")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise ControlError('a request is an object in one line of JSON, like {"action": "status"}')
    return request


async def perform(actions: Actions, request: Mapping[str, Any]) -> Any:
    """Carry out one request; raise `ControlError` if it cannot be."""
    parameters = {name: value for name, value in request.items() if name != "action"}
    name = request.get("action")
    action = actions.get(name) if isinstance(name, str) else None
    if action is None:
        raise ControlError(f"There is no action {name!r}.{suggestion(str(name), actions)}")
    try:
        inspect.signature(action).bind(**parameters)
    except TypeError as error:
        raise ControlError(f"{name}: {error}.") from None
    result = action(**parameters)
    return await result if inspect.isawaitable(result) else result


class ServiceControl(Observer):
    """What an operator can ask of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._recorder = recorder_of(service)
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        service.observe(self)
        self.actions: Actions = {
            "status": lambda: self._recorder.snapshot().as_dict(),
            "recent": lambda: list(self._recent),
            "queues": self._queues,
            "pause": self._pause,
            "resume": self._resume,
            "rate": self._limit_rate,
            "concurrency": self._set_concurrency,
            "dump": self._dump,
            "drain": self._drain,
            "vitals": self._vitals,
        }

    async def obey(self, requests: Iterable[Mapping[str, Any]]) -> None:
        """Carry out requests before the service runs; those that it refuses are logged."""
        for request in requests:
            try:
                await perform(self.actions, request)
            except ConfigurationError as error:
                log_event(logger, logging.WARNING, "control.refused", {}, str(error))

    def finished(self, call: ObservedCall) -> None:
        """Keep what became of the messages."""
        now, route = time.time(), call.route
        for position, (message, delivery) in enumerate(
            zip(call.messages, call.deliveries, strict=True)
        ):
            lost = position in call.lost
            message_id = route.provider.describe(message).get("message_id")
            self._recent.append(
                {
                    "time": now,
                    "route": route.name,
                    "message_id": None if message_id is None else str(message_id),
                    "outcome": "lost" if lost else outcome_name(delivery.outcome),
                    "error": _reason(delivery),
                    "duration": call.seconds,
                }
            )

    async def _queues(self) -> list[dict[str, Any]]:
        """Ask the source of each route how many messages it has; `error` if it refuses."""
        return await asyncio.gather(*(_depth(status.route) for status in self._service.statuses()))

    def _vitals(self) -> dict[str, Any]:
        """Return what the parent of several processes asks each of them every second.

        Running handlers are left out: there may be thousands, and the parent needs their number only.
        """
        snapshot = self._recorder.snapshot()
        counted = tuple(replace(route, running=()) for route in snapshot.routes)
        return {
            "problems": self._recorder.states.problems(),
            "unready": self._recorder.states.unready(),
            "snapshot": replace(snapshot, routes=counted).as_dict(),
        }

    def _pause(self, route: str) -> list[str]:
        return self._steer("pause", str(route), Flow.pause)

    def _resume(self, route: str | None = None) -> list[str]:
        return self._steer("resume", route, Flow.resume)

    def _limit_rate(self, route: str, per_second: float | None) -> list[str]:
        check_number("per_second", per_second, more_than=0)
        if per_second is not None and not per_second < _HIGHEST_RATE:
            raise ControlError(
                f"per_second must be less than {_HIGHEST_RATE:g}, or null for no limit."
            )

        def change(flow: Flow) -> None:
            flow.rate_limit = per_second

        return self._steer("rate", str(route), change, per_second=per_second)

    def _set_concurrency(self, route: str, value: int) -> list[str]:
        if value is None:
            raise ControlError("value must be a whole number of at least 1, not None.")
        check_number("value", value, at_least=1, whole=True)

        def change(flow: Flow) -> None:
            flow.concurrency = value

        return self._steer("concurrency", str(route), change, value=value)

    def _dump(self, route: str | None = None) -> list[dict[str, Any]]:
        """Return the running handlers, with where they stand."""
        chosen = {id(found) for found in self._routes(route)}
        return [
            {
                "route": status.route.name,
                **asdict(running(status.route, call, time.monotonic())),
                "stack": call.stack(),
            }
            for status in self._service.statuses()
            if id(status.route) in chosen
            for call in status.calls
        ]

    def _drain(self) -> None:
        log_event(logger, logging.INFO, "control.drain", {})
        self._service.stop()

    def _steer(
        self, action: str, route: str | None, change: Callable[[Flow], object], **facts: object
    ) -> list[str]:
        """Change the flow of the routes of this name, or of all; return their names."""
        chosen = self._routes(route)
        for found in chosen:
            change(found.flow)
        names = [found.name for found in chosen]
        log_event(logger, logging.INFO, f"control.{action}", {"routes": names, **facts})
        return names

    def _routes(self, name: str | None) -> list[Route]:
        routes = [status.route for status in self._service.statuses()]
        chosen = [route for route in routes if name is None or route.name == name]
        if not chosen:
            names = [route.name for route in routes]
            raise ControlError(f"There is no route {name!r}.{suggestion(str(name), names)}")
        return chosen


def _reason(delivery: Delivery) -> str | None:
    """Return why a message was not acknowledged; a handler may say so without an exception."""
    if delivery.error is not None:
        return repr(delivery.error)
    return getattr(delivery.outcome, "reason", None) or None


async def _depth(route: Route) -> dict[str, Any]:
    found = {"route": route.name, "queue": getattr(route.provider, "name", None)}
    try:
        return {**found, **await route.provider.depth()}
    except ProviderError as error:
        return {**found, "error": str(error)}


async def ask(path: Path | str, action: str, **parameters: object) -> Any:
    """Ask the process behind a control socket; return the result.

    Raises `ControlError`, with one line, if nobody answers or if the process refuses.
    """
    request = json.dumps({"action": action, **parameters}).encode() + b"\n"
    try:
        async with asyncio.timeout(_ANSWER_TIME):
            line = await _exchange(Path(path), request)
    except TimeoutError:
        raise ControlError(
            f"The service behind {path} has not answered within {_ANSWER_TIME:g} s: "
            "its event loop may be blocked."
        ) from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise ControlError(
            f"No service listens on {path}: start one with {CONTROL_VARIABLE}={path}."
        ) from None
    except OSError as error:
        raise ControlError(f"{path} cannot be reached: {error.strerror or error}.") from None
    try:
        answer = json.loads(line)
        if answer["ok"]:
            return answer["result"]
        refusal = str(answer["error"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ControlError(f"{path} is not the control socket of a service.") from None
    raise ControlError(refusal)


async def _exchange(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=_LONGEST_ANSWER)
    try:
        writer.write(request)
        return await reader.readline()
    except ValueError:
        return b""
    finally:
        writer.transport.abort()
