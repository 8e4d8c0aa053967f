"""Monitor: watches the runs of one service and shows them where its settings say."""

import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.operations import emf
from loafer_kit.operations.health import HealthFile
from loafer_kit.operations.metrics import families
from loafer_kit.operations.probe import HEALTH_VARIABLE
from loafer_kit.operations.recorder import recorder_of
from loafer_kit.operations.samples import Family
from loafer_kit.operations.states import States
from loafer_kit.services import Service

if TYPE_CHECKING:
    from loafer_kit.operations.http import Address

logger = logging.getLogger(__name__)

#: The variable of the environment that says where the HTTP face listens. Empty: nowhere.
HTTP_VARIABLE = "LOAFER_HTTP"


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

    def families(self) -> list[Family]:
        """Return the metrics of the service."""
        return families(recorder_of(self._service).snapshot())

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch one run, which is the block."""
        async with contextlib.AsyncExitStack() as faces:
            if path := os.environ.get(HEALTH_VARIABLE):
                faces.enter_context(HealthFile(Path(path), self._states).kept())
            if (address := self._current_address()) is not None:
                from loafer_kit.operations.http import HttpFace  # aiohttp's server, which is large

                face = HttpFace(recorder_of(self._service))
                await faces.enter_async_context(face.listening(address))
            if self._emf_namespace is not None:
                recorder_of(self._service)  # counts from now on
                reports = emf.Reports(self._emf_namespace, self._service.name)
                await faces.enter_async_context(emf.reporting(reports, self.families))
            yield

    def _current_address(self) -> "Address | None":
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
