"""Monitor: watches the runs of one service and shows them where its settings say."""

import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.operations import emf
from loafer_kit.operations.control import CONTROL_VARIABLE, ControlSocket, ServiceControl
from loafer_kit.operations.health import HealthFile
from loafer_kit.operations.metrics import families, info_of
from loafer_kit.operations.probe import HEALTH_VARIABLE
from loafer_kit.operations.recorder import recorder_of
from loafer_kit.operations.samples import Family
from loafer_kit.operations.states import State, States
from loafer_kit.services import Service

if TYPE_CHECKING:
    from loafer_kit.operations.control import ServiceControl
    from loafer_kit.operations.http import Address

logger = logging.getLogger(__name__)

#: The variable of the environment that says where the HTTP face listens. Empty: nowhere.
HTTP_VARIABLE = "LOAFER_HTTP"

#: Requests that a process carries out before its first fetch, as JSON.
FIRST_VARIABLE = "_LOAFER_CONTROL_FIRST"


class Monitor:
    """Shows a service by HTTP at `address`, and to CloudWatch in `emf_namespace`; None: not there.

    The environment names the health file, and an address that counts before `address`.
    """

    def __init__(
        self,
        service: Service,
        *,
        address: "Address | None" = None,
        emf_namespace: str | None = None,
    ) -> None:
        self._address = address
        self._emf_namespace = emf_namespace
        self._service = service
        self._states = States(service)
        self._control: ServiceControl | None = None

    @property
    def state(self) -> State:
        """Whether the service starts, is ready or stops."""
        return self._states.state

    def problems(self) -> list[str]:
        """Return why only a restart helps, a line each."""
        return self._states.problems()

    def unready(self) -> list[str]:
        """Return what the service waits for before it is ready, a line each."""
        return self._states.unready()

    def info(self) -> dict[str, Any]:
        """Return versions, state and routes."""
        snapshot = recorder_of(self._service).snapshot()
        return {
            **info_of(snapshot),
            "python": snapshot.versions["python"],
            "state": snapshot.state,
            "uptime": round(snapshot.uptime, 3),
            "routes": {
                route.name: {
                    "concurrency": route.slots,
                    "paused": route.paused,
                    "breaker_open": route.breaker_open,
                }
                for route in snapshot.routes
            },
        }

    def families(self) -> list[Family]:
        """Return the metrics of the service."""
        return families(recorder_of(self._service).snapshot())

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch one run, which is the block."""
        async with contextlib.AsyncExitStack() as faces:
            if path := os.environ.get(CONTROL_VARIABLE):
                self._control = self._control or ServiceControl(self._service)
                await self._control.obey(json.loads(os.environ.get(FIRST_VARIABLE) or "[]"))
                socket = ControlSocket(Path(path), self._control.actions)
                await faces.enter_async_context(socket.listening())
            if path := os.environ.get(HEALTH_VARIABLE):
                faces.enter_context(HealthFile(Path(path), self._states).kept())
            if (address := self.current_address()) is not None:
                from loafer_kit.operations.http import HttpFace  # aiohttp's server, which is large

                recorder_of(self._service)  # counts from now on
                await faces.enter_async_context(HttpFace(self).listening(address))
            if self._emf_namespace is not None:
                recorder_of(self._service)  # counts from now on
                reports = emf.Reports(self._emf_namespace, self._service.name)
                await faces.enter_async_context(emf.reporting(reports, self.families))
            yield

    def current_address(self) -> "Address | None":
        """Return the address of the environment, or else that of the settings."""
        text = os.environ.get(HTTP_VARIABLE)
        if text is None:
            return self._address
        if not text.strip():
            return None
        from loafer_kit.operations.http import Address

        try:
            return Address.parse(text, HTTP_VARIABLE)
        except ConfigurationError as error:
            logger.error(  # noqa: TRY400 - the message says it all
                "http.failed: %s The service goes on without it.",
                error,
                extra={"event": "http.failed"},
            )
            return None
