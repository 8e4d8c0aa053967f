"""Monitor: watches the runs of one service and shows them where its settings say."""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.events import Observers
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.operations import emf
from loafer_kit.operations.conditions import Condition
from loafer_kit.operations.http import Address, HttpFace, logger
from loafer_kit.operations.metrics import Metrics

#: The variable of the environment that says where the HTTP face listens. Empty: nowhere.
HTTP_VARIABLE = "LOAFER_HTTP"


@dataclass(frozen=True, slots=True)
class Monitor:
    """Shows a service by HTTP at `address`, and to CloudWatch in `emf_namespace`; None: not there."""

    service: str
    versions: Mapping[str, str] = field(default_factory=dict)
    address: Address | None = None
    emf_namespace: str | None = None
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", Metrics(self.service, self.versions))

    @contextlib.asynccontextmanager
    async def watching(
        self, observers: Observers, dispatcher: LoaferDispatcher
    ) -> AsyncIterator[None]:
        """Watch one run, which is the block."""
        condition = Condition(dispatcher)
        observers.add(self.metrics)
        observers.add(condition)
        try:
            async with contextlib.AsyncExitStack() as faces:
                if (address := self._address()) is not None:
                    face = HttpFace(dispatcher, condition, self.metrics)
                    await faces.enter_async_context(face.listening(address))
                if self.emf_namespace is not None:
                    reports = emf.Reports(self.emf_namespace, self.service)
                    await faces.enter_async_context(
                        emf.reporting(reports, lambda: self.metrics.families(dispatcher))
                    )
                yield
        finally:
            observers.remove(condition)

    def _address(self) -> Address | None:
        """Return the address of the environment, or else that of the settings."""
        text = os.environ.get(HTTP_VARIABLE)
        if text is None:
            return self.address
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
