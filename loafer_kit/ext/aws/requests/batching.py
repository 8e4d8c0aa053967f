"""Batcher: collects items and sends up to ten of them in one request."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from loafer_kit.ext.aws.limits import SQS_BATCH_SIZE

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Requests of one batcher that may be under way at the same time: where a request takes 100 ms,
#: fifty of them carry 5,000 messages a second.
PARALLEL = 64


class Batcher(Generic[Item]):
    """Calls `send` with up to ten items, when there are ten or when the first one is due.

    `linger` is how many seconds an item waits for others. `send` must not raise. Items for which
    `key` returns the same value leave in their order: while one is under way, later ones wait.
    `fits` says how many of the first waiting items one request can carry: ten, unless it is given.
    `ended` is called after each request. A batcher belongs to the running loop.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[None]],
        linger: float,
        *,
        parallel: int = PARALLEL,
        key: Callable[[Item], Hashable] | None = None,
        fits: Callable[[list[Item]], int] | None = None,
        ended: Callable[[], object] | None = None,
    ) -> None:
        self._send = send
        self._linger = linger
        self._parallel = parallel
        self._key = key
        self._fits = fits
        self._ended = ended
        self._items: list[Item] = []
        #: For each key of an item that is under way: the items behind it.
        self._behind: dict[Hashable, list[Item]] = {}
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        #: When the timer fires; uvloop's handles cannot say it for delays below a millisecond.
        self._timer_at = 0.0
        self._sending: dict[asyncio.Task[None], list[Item]] = {}
        self._under_way = 0
        self._loop = asyncio.get_running_loop()
        #: A request carries items of many handlers: it must not see the context of one of them.
        self._context = contextvars.copy_context()

    def add(self, item: Item, latest: float) -> None:
        """Send `item` after the linger at most, and before `latest` on the loop's clock."""
        if self._key is not None:
            behind = self._behind.get(self._key(item))
            if behind is not None:
                behind.append(item)
                return
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
    def pending(self) -> int:
        """The number of items that are under way or wait until a request ends.

        Items that wait only for others to share their request are left out.
        """
        pending = self._under_way + sum(map(len, self._behind.values()))
        return pending + len(self._items) if len(self._sending) >= self._parallel else pending

    def items(self) -> list[Item]:
        """Return the items whose requests have not ended; callable in another thread."""
        groups = [self._items, *list(self._sending.values()), *list(self._behind.values())]
        return [item for group in groups for item in list(group)]

    def hurry(self, within: float) -> None:
        """Send the waiting items within so many seconds."""
        due = self._loop.time() + within
        if self._items and due < self._due:
            self._due = due
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            if self._timer_at <= self._due:
                return
            self._timer.cancel()
        self._timer_at = self._due
        self._timer = self._loop.call_at(self._due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if not self._items:
            return
        if self._due > self._loop.time():
            self._arm()
        else:
            self._send_due()

    def _send_due(self) -> None:
        while self._is_due() and len(self._sending) < self._parallel:
            self._send_next()

    def _send_next(self) -> None:
        """Start a request, unless enough are under way: then `_sent` calls again when one ends."""
        if len(self._sending) >= self._parallel:
            return
        count = SQS_BATCH_SIZE if self._fits is None else self._fits(self._items)
        batch, self._items = self._items[:count], self._items[count:]
        if self._key is not None:
            self._hold_back(batch, self._key)
        self._under_way += len(batch)
        task = self._loop.create_task(self._run(batch), context=self._context.copy())
        self._sending[task] = batch
        task.add_done_callback(self._sent)

    def _hold_back(self, batch: list[Item], key: Callable[[Item], Hashable]) -> None:
        """Make waiting and future items wait behind those of the same key in `batch`."""
        self._behind.update((key(item), []) for item in batch)
        waiting, self._items = self._items, []
        for item in waiting:
            self._behind.get(key(item), self._items).append(item)

    async def _run(self, batch: list[Item]) -> None:
        try:
            await self._send(batch)
        except Exception:
            logger.exception(
                "batch.failed size=%d",
                len(batch),
                extra={"event": "batch.failed", "size": len(batch)},
            )

    def _sent(self, task: asyncio.Task[None]) -> None:
        batch = self._sending.pop(task)
        self._under_way -= len(batch)
        if self._key is not None:
            self._let_follow(batch, self._key)
        self._send_due()
        if self._ended is not None:
            self._ended()

    def _let_follow(self, batch: list[Item], key: Callable[[Item], Hashable]) -> None:
        followers = [follower for item in batch for follower in self._behind.pop(key(item), ())]
        if followers:
            self._items.extend(followers)
            self._due = self._loop.time()

    def _is_due(self) -> bool:
        items = self._items
        return len(items) >= SQS_BATCH_SIZE or bool(items and self._due <= self._loop.time())

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
        self._behind.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._sending:
            task.cancel()
        if self._sending:
            await asyncio.wait(self._sending)
