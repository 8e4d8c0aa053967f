"""Monitor: watches the runs of one service and shows them where its settings say."""

import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.operations import emf
from loafer_kit.operations.control import CONTROL_VARIABLE, ControlSocket, ServiceControl
from loafer_kit.operations.http import Address, HttpFace
from loafer_kit.operations.metrics import Metrics
from loafer_kit.operations.samples import Family
from loafer_kit.operations.states import States
from loafer_kit.services import Service, version_of

logger = logging.getLogger(__name__)

#: The variable of the environment that says where the HTTP face listens. Empty: nowhere.
HTTP_VARIABLE = "LOAFER_HTTP"


class Monitor:
    """Shows a service by HTTP at `address`, and to CloudWatch in `emf_namespace`; None: not there."""

    def __init__(
        self,
        service: Service,
        *,
        address: Address | None = None,
        emf_namespace: str | None = None,
    ) -> None:
        self._service = service
        self._address = address
        self._emf_namespace = emf_namespace
        versions = {"version": version_of(service.name), "loafer_kit": version_of("loafer-kit")}
        known = {name: version for name, version in versions.items() if version is not None}
        self._metrics = Metrics(service.name, known)
        self._states = States(service)
        self._control: ServiceControl | None = None
        service.observe(self._metrics)

    def families(self) -> list[Family]:
        """Return the metrics of the service."""
        return self._metrics.families(self._service.statuses())

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch one run, which is the block."""
        async with contextlib.AsyncExitStack() as faces:
            if path := os.environ.get(CONTROL_VARIABLE):
                self._control = self._control or ServiceControl(self._service)
                socket = ControlSocket(Path(path), self._control.actions)
                await faces.enter_async_context(socket.listening())
            if (address := self._current_address()) is not None:
                face = HttpFace(self._service, self._states, self._metrics)
                await faces.enter_async_context(face.listening(address))
            if self._emf_namespace is not None:
                reports = emf.Reports(self._emf_namespace, self._service.name)
                await faces.enter_async_context(emf.reporting(reports, self.families))
            yield

    def _current_address(self) -> Address | None:
        """Return the address of the environment, or else that of the settings."""
        text = os.environ.get(HTTP_VARIABLE)
        if text is None:
            return self._address
        if not text.strip():
            return None
        try:
            return Address.parse(text, HTTP_VARIABLE)
        except ConfigurationError as error:
            logger.error(  # noqa: TRY400 - the message says it all
                "http.failed: %s The service goes on without it.",
                error,
                extra={"event": "http.failed"},
            )
            return None
