"""One route at work: what it fetches, what it starts, and how it ends."""

import asyncio
import logging
from collections.abc import Coroutine, Hashable, Sequence
from typing import Any

from loafer_kit import outcomes
from loafer_kit.backlog import Backlog
from loafer_kit.deliveries import Delivery, FailurePolicy, deliver, deliver_batch
from loafer_kit.exceptions import FatalError, SourceExhausted
from loafer_kit.fetchers import Fetcher
from loafer_kit.outcomes import Outcome
from loafer_kit.routes import Route
from loafer_kit.settling import log_handled, settle
from loafer_kit.slots import Slots
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Seconds that a cancelled handler is given to end.
_CANCEL_GRACE = 5.0

#: Messages that start together, each with its order key.
_Taken = list[tuple[Message, Hashable | None]]


class RouteWorker:
    """Runs one route, independently of all others.

    Nothing here waits for a turn: whatever changes (a message arrives, a handler ends, a slot is
    freed, a pause is over) calls `pump`, which starts the handlers and fetches that there is room
    for.
    """

    def __init__(self, route: Route, slots: Slots, policy: FailurePolicy | None) -> None:
        self.route = route
        self._provider = route.provider
        self._options = route.options
        self._slots = slots
        self._policy = policy
        self._backlog = Backlog()
        self._fetcher = Fetcher(
            route.name, route.provider, self._arrived, self._fetch_failed, self._slots_idle
        )
        #: The handler tasks, which go on to settle; `_active` of them hold a slot.
        self._tasks: set[asyncio.Task[None]] = set()
        self._active = 0
        #: Messages being handled, by what was taken: a source may give the same object twice. A
        #: batch handler has several of them in one slot.
        self._handling: dict[int, tuple[Message, asyncio.Task[None]]] = {}
        self._lost: set[int] = set()
        self._batch_since = 0.0
        self._fetching = True
        self._stopping = False
        self._ended = asyncio.Event()
        self._error: BaseException | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, *, forever: bool, grace_time: float) -> None:
        """Work until `stop`, until the source is exhausted or, unless `forever`, for one fetch.

        Raises what stopped the route; whatever the reason, what was in hand has been settled.
        """
        try:
            await self._provider.start(self._message_lost)
            self.route.flow.on_change = self.pump
            if not forever:
                self._fetching = False
                self._fetcher.start(self._provider.batch_size)
            self.pump()
            await self._ended.wait()
        finally:
            await self._drain(grace_time)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Fetch and start nothing more; what is being handled goes on to its end."""
        if not self._stopping:
            self._stopping = True
            self._provider.stop()
            self._ended.set()

    def stop_now(self) -> None:
        """Cancel what is being handled, and the open fetches."""
        self.stop()
        self._fetcher.cancel()
        for task in self._tasks:
            task.cancel()

    # What there is room for.

    def pump(self) -> None:
        """Start the handlers and the fetches that there is room for now."""
        if self._stopping:
            return
        while self._may_start():
            self._start(self._take())
        while self._fetching and (limit := self._room_for_fetch()):
            self._fetcher.start(limit)
        if not (self._fetching or self._fetcher or self._backlog or self._tasks):
            self._ended.set()

    def _slots_idle(self) -> bool:
        return self._active < self._options.concurrency

    def _may_start(self) -> bool:
        if not self._backlog.ready or not self._slots_idle() or self.route.flow.paused:
            return False
        if not self._slots.available(self.pump) or not self._batch_is_ready():
            return False
        return self._may_after(self.route.flow.start_wait())

    def _batch_is_ready(self) -> bool:
        size = self._options.batch_handler_size
        if size is None or self._backlog.ready >= size or not self._fetching:
            return True
        waited = asyncio.get_running_loop().time() - self._batch_since
        return self._may_after(self._options.batch_handler_wait - waited)

    def _room_for_fetch(self) -> int:
        """Return how many messages the next fetch may bring; 0 when there is to be none.

        A fetch starts when a full one fits, or when a slot would idle without it.
        """
        flow, fetcher = self.route.flow, self._fetcher
        if len(fetcher) >= fetcher.receivers.wanted or flow.paused:
            return 0
        if not self._slots.available(self.pump):
            return 0
        if not self._may_after(max(fetcher.wait(), flow.breaker.wait())):
            return 0
        in_hand = len(self._handling) + len(self._backlog) + fetcher.expected
        if flow.breaker.is_open:
            return 0 if in_hand else 1
        batch_size = self._provider.batch_size
        handled_at_once = self._options.concurrency * (self._options.batch_handler_size or 1)
        prefetch = self._options.prefetch
        if prefetch is None:
            prefetch = batch_size * fetcher.receivers.wanted
        room = handled_at_once + prefetch - in_hand
        if room >= batch_size:
            return batch_size
        return max(0, room) if in_hand < handled_at_once else 0

    def _may_after(self, seconds: float) -> bool:
        """Return True when there is nothing to wait for; else pump again when there is not."""
        if seconds <= 0:
            return True
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._timer is None or self._timer.cancelled() or self._timer.when() > at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(at, self._timer_due)
        return False

    def _timer_due(self) -> None:
        self._timer = None
        self.pump()

    # What arrives.

    def _arrived(self, messages: Sequence[Message]) -> None:
        if self._stopping:
            self._spawn(self._settle_all(messages[::-1], outcomes.RELEASE))
            return
        if not self._backlog.ready:
            self._batch_since = asyncio.get_running_loop().time()
        order_key = self._provider.order_key
        for message in messages:
            self._backlog.put(message, order_key(message))
        self.pump()

    def _fetch_failed(self, error: BaseException) -> None:
        if isinstance(error, SourceExhausted):
            self._fetching = False
            self.pump()
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self.stop()

    def _message_lost(self, message: Message) -> None:
        """Drop a message that another consumer may have got: cancel its handler, settle nothing."""
        self._lost.add(id(message))
        if self._options.batch_handler_size is None:
            for handled, task in self._handling.values():
                if handled is message:
                    task.cancel()

    # What is handled.

    def _take(self) -> _Taken:
        taken = []
        for _ in range(self._options.batch_handler_size or 1):
            if not self._backlog.ready:
                break
            message, key = self._backlog.take()
            if self._lost and id(message) in self._lost:
                self._lost.discard(id(message))
                self._backlog.finished(key)
            else:
                taken.append((message, key))
        return taken

    def _start(self, taken: _Taken) -> None:
        if not taken:
            return
        self._slots.take()
        self._active += 1
        task = self._spawn(self._handle(taken))
        for pair in taken:
            self._handling[id(pair)] = (pair[0], task)
        task.add_done_callback(lambda done: self._handled(done, taken))

    async def _handle(self, taken: _Taken) -> None:
        """Deliver messages that start together, free their slot, then settle each."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            deliveries = await self._deliver([message for message, _ in taken])
        except asyncio.CancelledError:
            # The service ends, the message is lost, or the handler awaited something cancelled.
            outcome = outcomes.RELEASE if self._stopping else outcomes.LEAVE
            deliveries = [Delivery(outcome)] * len(taken)
        except FatalError as error:
            self._fail(error.__cause__ or error)
            deliveries = [Delivery(outcomes.LEAVE)] * len(taken)
        seconds = loop.time() - started
        withdrawn = self._free(taken, deliveries)
        self.pump()
        await self._settle_all(withdrawn, outcomes.RELEASE)
        for (message, _), delivery in zip(taken, deliveries, strict=True):
            if self._lost and id(message) in self._lost:
                self._lost.discard(id(message))
                continue
            log_handled(self.route, message, delivery.outcome, seconds)
            await settle(self.route, message, delivery.outcome)

    async def _deliver(self, messages: Sequence[Message]) -> list[Delivery]:
        if self._options.batch_handler_size is None:
            return [await deliver(self.route, messages[0], self._policy)]
        return await deliver_batch(self.route, messages, self._policy)

    def _free(self, taken: _Taken, deliveries: Sequence[Delivery]) -> list[Message]:
        """Free the slot; return what must go back because a message before it has failed."""
        self._active -= 1
        self._slots.give_back()
        withdrawn: list[Message] = []
        for pair, delivery in zip(taken, deliveries, strict=True):
            _, key = pair
            del self._handling[id(pair)]
            self.route.flow.breaker.record(delivery.outcome, delivery.error)
            if delivery.outcome is outcomes.ACKNOWLEDGE:
                self._backlog.finished(key)
            else:
                withdrawn.extend(self._backlog.withdraw(key))
        return withdrawn

    def _handled(self, task: asyncio.Task[None], taken: _Taken) -> None:
        if id(taken[0]) in self._handling:  # cancelled before its first step
            withdrawn = self._free(taken, [Delivery(outcomes.RELEASE)] * len(taken))
            unstarted = [message for message, _ in reversed(taken)]
            self._spawn(self._settle_all([*withdrawn, *unstarted], outcomes.RELEASE))
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error.__cause__ or error if isinstance(error, FatalError) else error)
        if not self._fetching:
            self.pump()

    async def _settle_all(self, messages: Sequence[Message], outcome: Outcome) -> None:
        for message in messages:
            await settle(self.route, message, outcome)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # The end.

    async def _drain(self, grace_time: float) -> None:
        """Give back what was not started, finish the rest, settle everything, close the provider."""
        self.stop()
        if self._timer is not None:
            self._timer.cancel()
        if unstarted := self._backlog.clear():
            logger.info("messages.released route=%s count=%d", self.route.name, len(unstarted))
            self._spawn(self._settle_all(unstarted, outcomes.RELEASE))
        try:
            await asyncio.gather(self._fetcher.finish(), self._finish_handlers(grace_time))
            while self._tasks:  # what the last fetches brought is being given back
                await asyncio.wait(self._tasks)
            await self._provider.flush()
        finally:
            await self._provider.close()
            self.route.stop()

    async def _finish_handlers(self, grace_time: float) -> None:
        if self._handling:
            logger.info(
                "handlers.finishing route=%s count=%d within=%gs",
                self.route.name,
                len(self._handling),
                grace_time,
            )
        _, late = await _wait(self._tasks, grace_time)
        for task in late:
            logger.warning(
                "handler.cancelled route=%s: still running after %gs", self.route.name, grace_time
            )
            task.cancel()
        _, stuck = await _wait(late, _CANCEL_GRACE)
        for task in stuck:
            logger.error(
                "handler.stuck route=%s: it ignores its cancellation and is left behind",
                self.route.name,
            )
            self._tasks.discard(task)


async def _wait(tasks: set[asyncio.Task[None]], seconds: float) -> tuple[set[Any], set[Any]]:
    return await asyncio.wait(tasks, timeout=seconds) if tasks else (set(), set())
