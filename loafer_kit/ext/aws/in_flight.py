"""InFlightWatch: notices that a queue is silent only because SQS hands out no more."""

import asyncio
import logging
import math

from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws import checks
from loafer_kit.ext.aws.transport import SQSTransport

logger = logging.getLogger(__name__)

#: Seconds between two looks at how many messages are in flight.
_PAUSE = 300.0


class InFlightWatch:
    """Looks at a queue's counts when it turns from busy to empty, and while it is full.

    A queue that is just idle costs no request.
    """

    def __init__(self, queue: str, queue_url: str, transport: SQSTransport) -> None:
        self._queue = queue
        self._queue_url = queue_url
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self._full = False
        self._looked_at = -math.inf
        self._look: asyncio.Task[None] | None = None

    def received(self, messages: int) -> None:
        """Learn how many messages a receive brought."""
        if messages:
            self._busy = True
            return
        now = self._loop.time()
        if (self._busy or self._full) and now - self._looked_at >= _PAUSE:
            self._looked_at = now
            self._look = self._loop.create_task(self._look_at_counts(), name="in-flight watch")
        self._busy = False

    async def _look_at_counts(self) -> None:
        try:
            attributes = await self._transport.get_queue_attributes(self._queue_url)
        except ProviderError as error:
            logger.debug("queue.counts_unknown queue=%s: %s", self._queue, error)
            return
        self._full = checks.is_full(attributes)
        if self._full:
            logger.warning(
                "queue.full queue=%s: %s",
                self._queue,
                checks.in_flight_warning(attributes),
                extra={"queue": self._queue},
            )

    async def close(self) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait([self._look])
