"""Monitor: shows the runs of one service where the environment and its settings say."""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from loafer_kit.operations import emf
from loafer_kit.operations.control import CONTROL_VARIABLE, Actions, ControlSocket, ServiceControl
from loafer_kit.operations.health import HealthFile, States, Vitals
from loafer_kit.operations.metrics import families
from loafer_kit.operations.probe import HEALTH_VARIABLE
from loafer_kit.operations.recorder import recorder_of
from loafer_kit.operations.snapshot import Snapshot
from loafer_kit.services import Service

#: The variable of the environment that says where the HTTP face listens. Empty: nowhere.
HTTP_VARIABLE = "LOAFER_HTTP"

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
            await shown.enter_async_context(
                faces(self._states, self._recorded, actions, self.address)
            )
            if self._emf_namespace is not None:
                snapshot = self._recorded()
                await shown.enter_async_context(
                    emf.reporting(
                        emf.Reports(self._emf_namespace, self._service.name),
                        lambda: families(snapshot()),
                    )
                )
            yield

    def _recorded(self) -> Callable[[], Snapshot]:
        """Count what happens from now on; return the function that takes snapshots of it."""
        return recorder_of(self._service).snapshot


@contextlib.asynccontextmanager
async def faces(
    vitals: Vitals,
    recorded: Callable[[], Callable[[], Snapshot]],
    actions: Actions,
    address: str | None,
) -> AsyncIterator[None]:
    """Show and steer a service while the block runs: by control socket, health file and HTTP.

    The environment says which of them there are; `address` is where HTTP listens unless it names
    another. `recorded` is called if there is HTTP.
    """
    async with contextlib.AsyncExitStack() as shown:
        if path := os.environ.get(CONTROL_VARIABLE):
            await shown.enter_async_context(ControlSocket(Path(path), actions).listening())
        if path := os.environ.get(HEALTH_VARIABLE):
            shown.enter_context(HealthFile(Path(path), vitals).kept())
        if text := os.environ.get(HTTP_VARIABLE, address or "").strip():
            from loafer_kit.operations.http import HttpFace  # aiohttp's server, which is large

            face = HttpFace(vitals, recorded())
            await shown.enter_async_context(face.listening(text, HTTP_VARIABLE))
        yield
