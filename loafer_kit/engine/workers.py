"""One running route: it decides what to fetch and what to start, and it drains at the end."""

import asyncio
import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loafer_kit.engine.backlog import Backlog, Slots
from loafer_kit.engine.deliveries import FailurePolicy
from loafer_kit.engine.fetchers import Fetcher, fetch_limit
from loafer_kit.engine.jobs import Job, Jobs
from loafer_kit.events import NO_EVENTS, FlowChange, RouteEvents
from loafer_kit.exceptions import SourceExhausted
from loafer_kit.logs import log_event
from loafer_kit.routes import Route
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: A source that delivers a message no more often than this is asked only for what can start at once:
#: a message that is given back unstarted has used up one of its deliveries.
_FEW_DELIVERIES = 3

#: Batches whose settlement never holds up a fetch; more if more fetches may be open. What is held
#: ready says nothing of them: settlements that are slow would make it smaller, and so be slower.
_UNSETTLED_BATCHES = 10


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """What a route does at one moment."""

    route: Route
    #: The handler calls that have not ended.
    calls: tuple[Job, ...] = ()
    #: Messages that are fetched and wait for a handler.
    backlog: int = 0
    #: Fetches that are open.
    receivers: int = 0
    #: True while handlers that cannot be stopped keep all others from starting.
    stuck: bool = False


class RouteWorker:
    """Runs one route, independently of all others.

    No loop waits here. Every change (messages arrive, a handler ends, a slot is freed, a
    timer is due) calls `pump`, which starts all the handlers and fetches that have room now.
    """

    def __init__(
        self,
        route: Route,
        slots: Slots,
        policy: FailurePolicy | None,
        events: RouteEvents = NO_EVENTS,
        *,
        started: Callable[[], object] = lambda: None,
        resized: Callable[[], object] = lambda: None,
    ) -> None:
        self.route = route
        self._events = events
        self._notify_started = started
        self._notify_resized = resized
        self._provider = route.provider
        self._slots = slots
        self._backlog = Backlog()
        self._provider.route_events = events
        self._jobs = Jobs(route, self._backlog, slots, policy, freed=self.pump, failed=self._fail)
        self._fetcher = Fetcher(
            route,
            arrived=self._arrived,
            failed=self._fetch_failed,
            slots_idle=lambda: self._jobs.may_start,
        )
        self._batch_since = 0.0
        self._fetching = True
        self._forever = True
        #: Until when messages on their last delivery are started while the route ends.
        self._start_until = -math.inf
        #: The job that was started while the breaker was open.
        self._probe: Job | None = None
        self._ended = asyncio.Event()
        self._error: BaseException | None = None
        self._timer: asyncio.TimerHandle | None = None
        # Not `timer.when()`: uvloop's handles of timers due within half a millisecond have none.
        self._timer_at = 0.0
        self._starting: asyncio.Timeout | None = None

    async def run(self, *, forever: bool, grace_time: float) -> None:
        """Run until `stop`, until the source is exhausted or, unless `forever`, for one fetch.

        A run of one fetch does not wait for an open breaker: it ends and releases what it fetched.
        Raises the error that stopped the route. In every case, all messages in hand are settled.
        The constructor's `started()` is called when the provider is open, and `resized()` when the
        limits of the route may have changed.
        """
        failure: BaseException | None = None
        try:
            await self._run(forever=forever, grace_time=grace_time)
        except BaseException as error:
            failure = error
            raise
        finally:
            if (tell := self._events.route_ended) is not None:
                tell(failure)

    async def _run(self, *, forever: bool, grace_time: float) -> None:
        self._forever = forever
        try:
            await self._start_provider()
            soon = asyncio.get_running_loop().call_soon_threadsafe
            self.route.flow.on_change = functools.partial(soon, self._flow_adjusted)
            self.route.flow.on_event = lambda change: soon(self._flow_changed, change)
            if not self._jobs.ending:
                self._notify_started()
                if (tell := self._events.route_started) is not None:
                    tell()
            self._provider.on_settled = self.pump
            self._flow_adjusted()  # it may have changed since the route was made
            await self._ended.wait()
        finally:
            await self._drain(grace_time)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Fetch and start nothing more; running handlers go on."""
        if self._jobs.ending:
            return
        self._jobs.ending = True
        self._ended.set()
        self._fetcher.stop()
        if self._starting is not None:
            self._starting.reschedule(0)
        try:
            self._provider.stop()
        except Exception as error:  # noqa: BLE001 - the other routes must still be stopped
            self._error = self._error or error

    def status(self) -> RouteStatus:
        """Return what the route does now."""
        return RouteStatus(
            self.route,
            self._jobs.calls,
            len(self._backlog),
            len(self._fetcher),
            stuck=self._jobs.stuck,
        )

    def log_running(self) -> None:
        """Log every running handler, its age and where it stands."""
        self._jobs.log_running()

    def stop_now(self) -> None:
        """Cancel the running handlers and the open fetches."""
        self.stop()
        self._fetcher.cancel()
        self._jobs.cancel()

    def pump(self) -> None:
        """Start the handlers and the fetches that have room now."""
        if self._jobs.ending:
            self._start_last_deliveries()
            return
        if not self.route.flow.breaker.is_open:
            self._probe = None
        if self._jobs.stuck:
            self._give_back()
        else:
            while self._may_start():
                self._jobs.start(self._next_job())
            while self._fetching and (limit := self._room_for_fetch()):
                self._fetching = self._forever
                self._fetcher.start(limit)
        if not (self._fetching or self._fetcher or self._jobs or self._has_to_start()):
            self._ended.set()

    async def _start_provider(self) -> None:
        """Start the provider; `stop` interrupts it, since there are no messages in hand yet."""
        if self._jobs.ending:
            return
        try:
            async with asyncio.timeout(None) as self._starting:
                await self._provider.start(self._message_lost)
        except TimeoutError:
            if not (self._starting and self._starting.expired()):
                raise
        finally:
            self._starting = None

    def _may_start(self) -> bool:
        if not self._backlog.ready or not self._jobs.may_start or self.route.flow.paused:
            return False
        if not self._breaker_allows() or not self._slots.ready_or_notify(self.pump):
            return False
        # The rate limit comes last: asking it uses up a start.
        return self._batch_is_ready() and self._due_or_reschedule(self.route.flow.acquire())

    def _start_last_deliveries(self) -> None:
        """Start what was kept in the backlog, as long as the grace time of a stop lasts."""
        flow, loop = self.route.flow, asyncio.get_running_loop()
        while (
            self._backlog.ready
            and self._jobs.may_start
            and loop.time() < self._start_until
            and not (self._jobs.cancelled or flow.paused or flow.breaker.is_open)
            and self._slots.ready_or_notify(self.pump)
            and flow.acquire() <= 0
        ):
            self._jobs.start(self._next_job())

    def _has_to_start(self) -> bool:
        """True if this run must wait for messages that are fetched and not started."""
        return bool(self._backlog) and (self._forever or not self.route.flow.breaker.is_open)

    def _breaker_allows(self) -> bool:
        """True if the breaker is closed, or if a probe is due and none is running.

        An open breaker lets one message through at a time. Its outcome closes the breaker or
        keeps it open for another `breaker_recovery`.
        """
        breaker = self.route.flow.breaker
        if not breaker.is_open:
            return True
        return not self._jobs.runs(self._probe) and self._due_or_reschedule(breaker.wait())

    def _batch_is_ready(self) -> bool:
        size = self.route.options.batch_handler_size
        if size is None or self._backlog.ready >= self._batch_size() or not self._fetching:
            return True
        waited = asyncio.get_running_loop().time() - self._batch_since
        return self._due_or_reschedule(self.route.options.batch_handler_wait - waited)

    def _batch_size(self) -> int:
        """Return the most messages of the next job: one for a probe."""
        is_probe = self.route.flow.breaker.is_open
        return 1 if is_probe else self.route.options.batch_handler_size or 1

    def _next_job(self) -> Job:
        job = Job([], [])
        for _ in range(min(self._batch_size(), self._backlog.ready)):
            message, key = self._backlog.take()
            job.messages.append(message)
            job.keys.append(key)
        if self.route.flow.breaker.is_open:
            self._probe = job
        return job

    def _room_for_fetch(self) -> int:
        """Return how many messages to fetch now; 0 for no fetch."""
        flow, fetcher = self.route.flow, self._fetcher
        if len(fetcher) >= fetcher.scaler.wanted or flow.paused:
            return 0
        limit = self._limit()
        if not limit:
            return 0
        if not self._due_or_reschedule(fetcher.wait()) or not self._breaker_allows():
            return 0
        if flow.breaker.is_open:  # one message to probe with, unless there is one already
            return 0 if fetcher or self._backlog or not self._jobs.may_start else 1
        return limit

    def _limit(self) -> int:
        """Return how many messages fit beside those in hand."""
        batch_size, handled_at_once = self._provider.batch_size, self.route.handled_at_once
        if not self._slots.ready_or_notify(self.pump):
            # What waits may start when a handler of this route ends, others when other routes let it.
            handled_at_once = self._jobs.handling
            if not handled_at_once:
                return 0
        if not self._forever:
            return batch_size
        room = handled_at_once + self._prefetch()
        limit = fetch_limit(
            in_hand=self._jobs.handling + len(self._backlog) + self._fetcher.expected,
            handled_at_once=handled_at_once,
            room=room,
            batch_size=batch_size,
        )
        # What is not settled counts as in hand, but apart: where settlements are as quick as fetches
        # there are as many of both.
        batches = max(_UNSETTLED_BATCHES, self._provider.max_receivers)
        if limit and self._provider.unsettled >= max(room, batches * batch_size):
            return 0
        return limit

    def _prefetch(self) -> int:
        """Return how many messages may wait beside those being handled."""
        if self.route.options.prefetch is not None:
            return self.route.options.prefetch
        most = self._provider.max_deliveries
        return 0 if most is not None and most <= _FEW_DELIVERIES else self._jobs.pace.prefetch

    def _due_or_reschedule(self, seconds: float) -> bool:
        """True if due; otherwise schedule a pump."""
        if seconds <= 0:
            return True
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._timer is None or self._timer_at > at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = loop.call_at(at, self._timer_due), at
        return False

    def _timer_due(self) -> None:
        self._timer = None
        self.pump()

    def _flow_adjusted(self) -> None:
        self._jobs.pace.handled_at_once = self.route.handled_at_once
        self._notify_resized()
        self.pump()

    def _flow_changed(self, change: FlowChange) -> None:
        if (tell := self._events.flow_changed) is not None:
            tell(change)

    def _arrived(self, messages: Sequence[Message]) -> None:
        if messages and (tell := self._events.received) is not None:
            tell(messages)
        messages = self._jobs.take_again(messages)
        if not self._backlog.ready:
            self._batch_since = asyncio.get_running_loop().time()
        order_key = self._provider.order_key
        for message in messages:
            self._backlog.put(message, order_key(message))
        if self._jobs.ending:  # a fetch may return while the route drains
            self._give_back(keep=self._provider.is_last_delivery)
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
        if (tell := self._events.lost) is not None:
            tell(message)
        if not self._jobs.lose(message):
            self._jobs.release(self._backlog.remove(message))

    def _give_back(self, keep: Callable[[Message], bool] | None = None) -> None:
        """Release the messages that were not started, but those to `keep`."""
        if unstarted := self._backlog.clear(keep):
            facts = {"route": self.route.name, "count": len(unstarted)}
            log_event(logger, logging.INFO, "messages.released", facts)
            self._jobs.release(unstarted)

    async def _drain(self, grace_time: float) -> None:
        """Release unstarted messages, finish and settle the others, close the provider.

        The order matters. Messages that were not started go back first, so that others can handle
        them during the grace time; those on their last delivery would be lost by that, and start
        here. Open fetches and handlers then finish together; a fetch that returns late adds
        releases, which `settle_rest` waits for. `flush` comes after the last settlement, `close`
        after everything, even after a failure.
        """
        self.stop()
        self.route.flow.on_change = lambda: None
        self.route.flow.on_event = None
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._start_until = loop.time() + grace_time
        self._give_back(keep=self._provider.is_last_delivery)
        self.pump()
        try:
            await asyncio.gather(self._fetcher.finish(), self._jobs.finish(grace_time))
            # The fetch that returned last may have brought messages on their last delivery.
            await self._jobs.finish(max(0.0, self._start_until - loop.time()))
            self._give_back()
            await self._jobs.settle_rest()
            await self._provider.flush()
        finally:
            self._provider.on_settled = None
            try:
                await self._provider.close()
            finally:
                self.route.stop()
