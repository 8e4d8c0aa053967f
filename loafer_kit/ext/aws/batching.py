"""Batcher: collects items and sends up to ten of them in one request."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from loafer_kit.ext.aws.limits import SQS_BATCH_SIZE

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Requests of one batcher that may be under way at the same time.
_PARALLEL = 16

#: Waiting items at which a batcher is behind.
_MOST_WAITING = 1_000


class Batcher(Generic[Item]):
    """Calls `send` with up to ten items, when there are ten or when the first one is due.

    `linger` is how many seconds an item waits for others. `send` must not raise. A batcher belongs
    to the running loop.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[None]],
        linger: float,
        *,
        parallel: int = _PARALLEL,
    ) -> None:
        self._send = send
        self._linger = linger
        self._parallel = parallel
        self._items: list[Item] = []
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def add(self, item: Item, latest: float) -> None:
        """Send `item` after the linger at most, and before `latest` on the loop's clock."""
        items = self._items
        items.append(item)
        if len(items) == 1:
            self._due = min(self._loop.time() + self._linger, latest)
            self._arm()
        elif latest < self._due:
            self._due = latest
            self._arm()
        if len(items) >= SQS_BATCH_SIZE:
            self._send_next()

    @property
    def is_behind(self) -> bool:
        """Whether too many items are waiting: wait for `caught_up` before adding more."""
        return len(self._items) >= _MOST_WAITING

    async def caught_up(self) -> None:
        """Return when fewer items are waiting."""
        while self.is_behind and self._sending:
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)

    def hurry(self, within: float) -> None:
        """Send the waiting items within so many seconds."""
        due = self._loop.time() + within
        if self._items and due < self._due:
            self._due = due
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            if self._timer.when() <= self._due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if not self._items:
            return
        if self._due > self._loop.time():
            self._arm()
        else:
            self._send_next()

    def _send_next(self) -> None:
        """Start a request, unless enough are under way: then `_sent` calls again when one ends."""
        if len(self._sending) >= self._parallel:
            return
        batch, self._items = self._items[:SQS_BATCH_SIZE], self._items[SQS_BATCH_SIZE:]
        task = self._loop.create_task(self._run(batch))
        self._sending.add(task)
        task.add_done_callback(self._sent)

    async def _run(self, batch: list[Item]) -> None:
        try:
            await self._send(batch)
        except Exception:
            logger.exception("batch.failed size=%d", len(batch))

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if len(self._items) >= SQS_BATCH_SIZE or (self._items and self._due <= self._loop.time()):
            self._send_next()

    async def flush(self) -> None:
        """Send everything now, and return when it was sent."""
        while self._items or self._sending:
            self._due = self._loop.time()
            while self._items and len(self._sending) < self._parallel:
                self._send_next()
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Give up what is waiting or under way."""
        self._items.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._sending:
            task.cancel()
        if self._sending:
            await asyncio.wait(self._sending)
