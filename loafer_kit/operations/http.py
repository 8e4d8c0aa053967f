"""The HTTP face of a service: pages for probes and scrapers, without bodies and without control."""

import asyncio
import contextlib
import ipaddress
import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.logs import log_event
from loafer_kit.operations.health import Vitals
from loafer_kit.operations.metrics import as_text, content_type, families, info_of
from loafer_kit.operations.snapshot import Snapshot

logger = logging.getLogger(__name__)

_ADDRESS = re.compile(r"(?P<host>|\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s/@]+):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT = 65_535

#: Seconds that a client gets to read an answer.
_WRITE_TIME = 5.0

#: Seconds that open requests get when the face closes.
_CLOSE_TIME = 1.0

#: The most connections that the system accepts in advance.
_BACKLOG = 16


@dataclass(frozen=True, slots=True)
class Address:
    """Where the face listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: object, where: str) -> "Address":
        """Read `[host]:port`; without a host it is 127.0.0.1. `where` names the text in an error."""
        found = _ADDRESS.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None or int(found["port"]) > _HIGHEST_PORT:
            raise ConfigurationError(
                f"{where} must be [host]:port, like :9464 or 0.0.0.0:9464, not {text!r}."
            )
        return cls(found["host"].strip("[]") or "127.0.0.1", int(found["port"]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class HttpFace:
    """Answers `/livez`, `/readyz`, `/metrics` and `/info` of one run: of one process, or of several."""

    def __init__(self, vitals: Vitals, snapshot: Callable[[], Snapshot]) -> None:
        self._vitals = vitals
        self._snapshot = snapshot

    @contextlib.asynccontextmanager
    async def listening(self, address: str, where: str) -> AsyncIterator[None]:
        """Listen while the block runs; if that fails, it is logged. `where` says what set the address."""
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_CLOSE_TIME,
        )
        try:
            await _listen(runner, address, where)
            yield
        finally:
            try:
                await runner.cleanup()
            except Exception as error:  # noqa: BLE001 - the service ends as if there were no face
                log_event(logger, logging.WARNING, "http.not_closed", {}, repr(error))

    def _application(self) -> web.Application:
        application = web.Application()
        pages: dict[str, Callable[[web.Request], web.Response]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics_page,
            "/info": self._info,
        }
        for path, page in pages.items():
            application.router.add_get(path, _written(page))
        return application

    def _livez(self, _: web.Request) -> web.Response:
        problems = self._vitals.problems()
        text = "".join(f"{line}\n" for line in problems or ["alive"])
        return web.Response(text=text, status=503 if problems else 200)

    def _readyz(self, _: web.Request) -> web.Response:
        problems, state = self._vitals.problems(), self._vitals.state
        text = "".join(f"{line}\n" for line in problems or self._vitals.unready() or [state])
        is_ready = state == "ready" and not problems
        return web.Response(text=text, status=200 if is_ready else 503)

    def _metrics_page(self, request: web.Request) -> web.Response:
        kind = content_type(request.headers.get("Accept", ""))
        text = as_text(families(self._snapshot()), kind)
        return web.Response(body=text.encode(), headers={"Content-Type": kind})

    def _info(self, _: web.Request) -> web.Response:
        snapshot = self._snapshot()
        routes = {
            route.name: {
                "concurrency": route.slots,
                "paused": route.paused,
                "breaker_open": route.breaker_open,
            }
            for route in snapshot.routes
            if route.slots
        }
        facts = {
            **info_of(snapshot),
            "python": snapshot.versions["python"],
            "state": snapshot.state,
            "uptime": round(snapshot.uptime, 3),
        }
        return web.json_response({**facts, "routes": routes})


def _written(
    page: Callable[[web.Request], web.Response],
) -> Callable[[web.Request], Any]:
    """Return a handler that drops a client that does not read its answer."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = page(request)
        response.headers["Cache-Control"] = "no-store"
        try:
            async with asyncio.timeout(_WRITE_TIME):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            facts = {"client": request.remote, "path": request.path}
            text = f"it did not read its answer within {_WRITE_TIME:g} s"
            log_event(logger, logging.WARNING, "http.client_dropped", facts, text)
            if request.transport is not None:
                request.transport.abort()
        return response

    return handle


async def _listen(runner: web.AppRunner, text: str, where: str) -> None:
    try:
        address = Address.parse(text, where)
        await runner.setup()
        await web.TCPSite(runner, address.host, address.port, backlog=_BACKLOG).start()
    except (ConfigurationError, OSError, OverflowError, ValueError) as error:
        why = f"{str(error).rstrip('.')}; the service goes on without its pages"
        log_event(logger, logging.ERROR, "http.failed", {"address": text}, why)
        return
    address = Address(address.host, runner.addresses[0][1])
    if address.is_loopback:
        level, reach = logging.INFO, "reachable from this machine"
    else:
        level, reach = logging.WARNING, "reachable from other machines, without a login"
    log_event(logger, level, "http.started", {"address": str(address)}, reach)
