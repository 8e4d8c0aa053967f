"""Monitor: shows the runs of one service where the environment and its settings say."""

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TextIO

from loafer_kit.engine.callables import DaemonThreadPool
from loafer_kit.logs import log_event
from loafer_kit.operations.control import CONTROL_VARIABLE, Actions, ControlSocket, ServiceControl
from loafer_kit.operations.health import HealthFile, States, Vitals
from loafer_kit.operations.http import HttpFace
from loafer_kit.operations.metrics import Family, Reports, families
from loafer_kit.operations.probe import HEALTH_VARIABLE
from loafer_kit.operations.recorder import recorder_of
from loafer_kit.operations.snapshot import Snapshot
from loafer_kit.services import Service

logger = logging.getLogger(__name__)

#: The variable of the environment that says where the HTTP face listens. Empty: nowhere.
HTTP_VARIABLE = "LOAFER_HTTP"

#: Seconds between two reports to CloudWatch: its standard resolution.
PERIOD = 60.0

#: Seconds that the last report gets.
_LAST_TIME = 2.0

#: Requests that a process carries out before its first fetch, as JSON.
FIRST_VARIABLE = "_LOAFER_CONTROL_FIRST"


class Monitor:
    """Shows a service by HTTP at `address`, and to CloudWatch in `emf_namespace`; None: not there.

    The environment names the health file, the control socket, and an address that counts before
    `address`.
    """

    def __init__(
        self,
        service: Service,
        *,
        address: str | None = None,
        emf_namespace: str | None = None,
    ) -> None:
        self.address = address
        self._emf_namespace = emf_namespace
        self._service = service
        self._states = States(service)
        self._control: ServiceControl | None = None

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch one run, which is the block."""
        async with contextlib.AsyncExitStack() as shown:
            actions: Actions = {}
            if os.environ.get(CONTROL_VARIABLE):
                self._control = self._control or ServiceControl(self._service)
                await self._control.obey(json.loads(os.environ.get(FIRST_VARIABLE) or "[]"))
                actions = self._control.actions
            address = http_address(self.address)
            if address or self._emf_namespace is not None:
                recorder_of(self._service)  # counts from now on
            faces = serving_faces(self._states, self._snapshot, actions, address)
            await shown.enter_async_context(faces)
            if self._emf_namespace is not None:
                reports = Reports(self._emf_namespace, self._service.name)
                lines = reporting(reports, lambda: families(self._snapshot()))
                await shown.enter_async_context(lines)
            yield

    def _snapshot(self) -> Snapshot:
        return recorder_of(self._service).snapshot()


def http_address(default: str | None) -> str:
    """Return where HTTP listens, by the environment or else by `default`; "" for nowhere."""
    return os.environ.get(HTTP_VARIABLE, default or "").strip()


@contextlib.asynccontextmanager
async def serving_faces(
    vitals: Vitals, snapshot: Callable[[], Snapshot], actions: Actions, address: str
) -> AsyncIterator[None]:
    """Show and steer a service while the block runs: by control socket, health file and HTTP.

    The environment names socket and file; HTTP listens at `address`, unless that is "".
    """
    async with contextlib.AsyncExitStack() as faces:
        if path := os.environ.get(CONTROL_VARIABLE):
            await faces.enter_async_context(ControlSocket(Path(path), actions).listening())
        if path := os.environ.get(HEALTH_VARIABLE):
            faces.enter_context(HealthFile(Path(path), vitals).kept())
        if address:
            pages = HttpFace(vitals, snapshot).listening(address, HTTP_VARIABLE)
            await faces.enter_async_context(pages)
        yield


@contextlib.asynccontextmanager
async def reporting(
    reports: Reports,
    families: Callable[[], list[Family]],
    *,
    period: float = PERIOD,
    stream: TextIO | None = None,
) -> AsyncIterator[None]:
    """Write lines every `period` seconds while the block runs, and at its end.

    They are written in a thread of their own: a stream that nobody reads blocks only that.
    """
    writer = _Writer(stream or sys.stdout)

    def report() -> None:
        writer.write("".join(f"{line}\n" for line in reports.lines(families(), time.time())))

    async def repeat() -> None:
        while True:
            await asyncio.sleep(period)
            report()

    task = asyncio.create_task(repeat(), name="emf")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        report()
        await writer.close()


class _Writer:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._thread = DaemonThreadPool(1)
        self._writing: asyncio.Future[None] | None = None
        self._failed = False

    def write(self, text: str) -> None:
        """Write text, unless the text before it is still being written."""
        if self._writing is not None and not self._writing.done():
            self._fail("the stream is blocked")
            return
        self._writing = asyncio.wrap_future(self._thread.submit(self._write, text))
        self._writing.add_done_callback(self._written)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _written(self, writing: asyncio.Future[None]) -> None:
        if writing.cancelled():
            return
        if (error := writing.exception()) is not None:
            self._fail(repr(error))
        else:
            self._failed = False

    def _fail(self, why: str) -> None:
        if not self._failed:
            text = f"metrics are not written: {why}"
            log_event(logger, logging.WARNING, "emf.failed", {}, text)
        self._failed = True

    async def close(self) -> None:
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=_LAST_TIME)
        self._thread.shutdown()
