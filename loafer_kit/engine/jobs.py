"""The handler calls of one route: from the start of a handler to the settlement of its messages."""

import asyncio
import contextvars
import functools
import logging
import time
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loafer_kit import outcomes
from loafer_kit.engine.backlog import Backlog, Slots
from loafer_kit.engine.callables import HandlerCall, current_call
from loafer_kit.engine.deliveries import (
    Deliveries,
    FailurePolicy,
    log_cancelled,
    log_handled,
    settle,
)
from loafer_kit.engine.flow import Pace
from loafer_kit.exceptions import FatalError
from loafer_kit.logs import log_event
from loafer_kit.outcomes import Delivery
from loafer_kit.routes import Route
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Seconds: a handler that runs longer, or for half its time limit, is reported once.
_SLOW = 30.0

#: Seconds that a cancelled handler gets to end.
_CANCEL_GRACE = 5.0


@dataclass(slots=True, eq=False)
class Job(HandlerCall):
    """One handler call: a message or the messages of a batch, and their order keys."""

    messages: list[Message]
    keys: list[Hashable | None]
    #: Positions of messages that another consumer may have received. They are not settled.
    lost: set[int] = field(default_factory=set)
    #: Whether `handler.slow` has been logged.
    is_slow: bool = False
    route: Route = field(init=False)
    #: What was decided about each message; empty until then.
    deliveries: Sequence[Delivery] = ()
    #: How long the handler took.
    seconds: float = 0.0

    def facts(self) -> Mapping[str, object]:
        describe = self.route.provider.describe
        facts = [describe(message) for message in self.messages]
        if len(facts) == 1:
            return {"route": self.route.name, **facts[0]}
        ids = [fact["message_id"] for fact in facts if "message_id" in fact]
        queue = {"queue": facts[0]["queue"]} if facts and "queue" in facts[0] else {}
        return {"route": self.route.name, **queue, "message_ids": ids}


class Jobs:
    """Runs the jobs of one route.

    `freed()` is called when a handler has ended and its slot is free, and when the last message is
    settled; `failed(error)` gets an error that stops the route.
    """

    def __init__(
        self,
        route: Route,
        backlog: Backlog,
        slots: Slots,
        policy: FailurePolicy | None,
        *,
        freed: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._route = route
        self._events = route.provider.route_events
        self._backlog = backlog
        self._slots = slots
        self._deliveries = Deliveries(route, policy)
        self.pace = Pace(route.handled_at_once)
        self._freed = freed
        self._failed = failed
        self._context = contextvars.copy_context()
        #: Jobs whose handlers run; each uses one slot.
        self._running: set[Job] = set()
        #: Those of them that have failed, but whose threads run on.
        self._outlasting: set[Job] = set()
        #: Every unfinished task: running handlers, their settlements, and releases.
        self._tasks: set[asyncio.Task[None]] = set()
        #: The number of messages whose handlers run.
        self.handling = 0
        #: Whether the route is ending; a cancelled handler's messages are then released.
        self.ending = False
        self.cancelled = False
        limit = route.options.handler_timeout
        self._slow = _SLOW if limit is None else min(_SLOW, limit / 2)
        self._watch: asyncio.TimerHandle | None = None
        self._grace: asyncio.Timeout | None = None

    @property
    def may_start(self) -> bool:
        """True while fewer handlers run than the route's concurrency allows."""
        return len(self._running) < self._route.flow.concurrency

    @property
    def calls(self) -> tuple[Job, ...]:
        """The jobs whose handlers run, the longest first."""
        return tuple(sorted(self._running, key=lambda job: job.began))

    def __bool__(self) -> bool:
        """True while there is work that will end."""
        return len(self._tasks) > len(self._outlasting)

    @property
    def stuck(self) -> bool:
        """True while every slot is taken by a handler that failed and whose thread runs on."""
        if not self._slots.outlasting:
            return False
        return len(self._outlasting) >= self._route.flow.concurrency or self._slots.stuck

    def runs(self, job: Job | None) -> bool:
        """True while the outcome of `job` is open."""
        return job in self._running and job not in self._outlasting

    def start(self, job: Job) -> None:
        """Call the handler in a new task."""
        self._slots.take()
        job.route = self._route
        self._running.add(job)
        self.handling += len(job.messages)
        job.task = self._spawn(self._run(job), functools.partial(self._done, job))
        if self._watch is None:  # one timer for all handlers of the route
            self._watch_later()

    def release(self, messages: Sequence[Message]) -> None:
        """Give back messages that were not started, in this order."""
        if messages:
            self._spawn(self._release(messages), self._settled)

    def log_running(self) -> None:
        """Log every running handler, its age and where it stands."""
        for job in self._running:
            self._log_stack("handler.running", job)

    def _watch_later(self) -> None:
        self._watch = asyncio.get_running_loop().call_later(
            self._slow / 4, self._look_for_slow, context=self._context
        )

    def _look_for_slow(self) -> None:
        now = time.monotonic()
        for job in self._running:
            if now - job.began >= self._slow and not job.is_slow:
                job.is_slow = True
                self._log_stack("handler.slow", job)
        self._watch = None
        if self._running:
            self._watch_later()

    def _log_stack(self, event: str, job: Job) -> None:
        age, ids = time.monotonic() - job.began, [self._id(message) for message in job.messages]
        self._log(logging.WARNING, event, f"\n{job.stack()}", message_ids=ids, age=age)

    def take_again(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages that are to be started.

        A message that was lost may come back while its thread still runs. It replaces the earlier
        delivery, and is settled in its place when the thread ends.
        """
        if not self._outlasting:
            return list(messages)
        lost = {
            self._id(job.messages[position]): (job, position)
            for job in self._outlasting
            for position in job.lost
        }
        fresh = []
        for message in messages:
            job, position = lost.get(self._id(message), (None, 0))
            if job is None:
                fresh.append(message)
            else:
                job.messages[position] = message
                job.lost.discard(position)
        return fresh

    def lose(self, message: Message) -> bool:
        """Do not settle `message` and cancel its handler; return False if no handler has it.

        A batch handler goes on as long as one of its messages is not lost.
        """
        for job in self._running:
            for position, handled in enumerate(job.messages):
                if handled is message:
                    job.lost.add(position)
                    if len(job.lost) == len(job.messages) and self.runs(job) and job.task:
                        job.task.cancel()
                    return True
        return False

    def cancel(self) -> None:
        """Cancel every running handler, release its messages, and shorten a wait in `finish`."""
        if not self.cancelled and self._grace is not None and not self._grace.expired():
            soon = asyncio.get_running_loop().time() + _CANCEL_GRACE
            self._grace.reschedule(min(soon, self._grace.when() or soon))
        self.cancelled = True
        for job in self._running:
            if job.task is not None:
                job.task.cancel()

    async def finish(self, grace_time: float) -> None:
        """Wait for handlers and settlements; cancel those that take longer than `grace_time`."""
        if self._running:
            count = len(self._running)
            self._log(logging.INFO, "handlers.finishing", count=count, within=grace_time)
        late = await self._within_grace(grace_time)
        for task in late:
            text, ids = f"still running after {grace_time:g}s", self._ids_of(task)
            self._log(logging.WARNING, "handler.cancelled", text, message_ids=ids)
            task.cancel()
        stuck = (await asyncio.wait(late, timeout=_CANCEL_GRACE))[1] if late else set()
        for task in stuck:
            text, ids = "it ignores its cancellation and is left behind", self._ids_of(task)
            self._log(logging.ERROR, "handler.stuck", text, message_ids=ids)
            self._tasks.discard(task)

    async def settle_rest(self) -> None:
        """Wait until the messages that were released meanwhile are settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _within_grace(self, seconds: float) -> set[asyncio.Task[None]]:
        """Wait for the tasks and return the unfinished ones; `cancel` shortens the wait."""
        if self.cancelled:
            seconds = min(seconds, _CANCEL_GRACE)
        try:
            async with asyncio.timeout(seconds) as self._grace:
                while self._tasks:  # the end of one may start another
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            pass
        finally:
            self._grace = None
        return set(self._tasks)

    async def _run(self, job: Job) -> None:
        self._drop_lost(job)
        loop = asyncio.get_running_loop()
        started = loop.time()
        size = len(job.messages)
        current_call.set(job)
        interrupted = False
        try:
            deliveries = await self._deliver(job)
        except asyncio.CancelledError:
            # Three causes: the service ends (the message can be retried at once, unless its thread
            # runs on), the message is lost (it is not settled), or the handler awaited something
            # that was cancelled.
            interrupted = self.ending
            released = interrupted and not job.left_behind
            outcome = outcomes.RELEASE if released else outcomes.Leave("the handler was cancelled")
            deliveries = [Delivery(outcome)] * size
            if not interrupted:
                held = [m for at, m in enumerate(job.messages) if at not in job.lost]
                log_cancelled(self._route, held)
        except FatalError as error:
            self._failed(error.reason)
            deliveries = [Delivery(outcomes.LEAVE)] * size
        self._record(deliveries)
        now = loop.time()
        seconds = now - started
        self.pace.ended(size, seconds, now)
        if job.left_behind and not interrupted:
            deliveries = await self._outlast(job, deliveries)
        if self._events.finished is not None and size:
            job.deliveries, job.seconds = deliveries, seconds
            self._events.finished(job)
        # What follows starts other work, whose context would keep the messages in memory.
        current_call.set(None)
        # Before the failed message: while that is in flight, a FIFO queue delivers nothing else of
        # its group, so no other consumer can receive the withdrawn ones out of order.
        for message in self._free(job, deliveries):
            await settle(self._route, message, outcomes.RELEASE)
        for position, (message, delivery) in enumerate(zip(job.messages, deliveries, strict=True)):
            if position not in job.lost:
                log_handled(self._route, message, delivery.outcome, seconds)
                await settle(self._route, message, delivery.outcome)

    def _drop_lost(self, job: Job) -> None:
        """Take its lost messages out of a job that begins.

        They are neither started nor settled; those behind them go back, as after a failure.
        """
        holds = self._route.provider.holds
        for position, message in enumerate(job.messages):
            if not holds(message):
                job.lost.add(position)
        if not job.lost:
            return
        for position in sorted(job.lost, reverse=True):
            if (tell := self._events.lost) is not None:
                tell(job.messages[position])
            del job.messages[position]
            self.release(self._backlog.withdraw(job.keys.pop(position)))
        self.handling -= len(job.lost)
        job.lost.clear()

    async def _deliver(self, job: Job) -> list[Delivery]:
        if not job.messages:
            return []
        if (tell := self._events.started) is not None:
            tell(job)
        if self._route.options.batch_handler_size is None:
            return [await self._deliveries.deliver(job.messages[0])]
        return await self._deliveries.deliver_batch(job.messages)

    async def _outlast(self, job: Job, deliveries: list[Delivery]) -> list[Delivery]:
        """Keep the slot and the messages of `job` until its threads end.

        Its outcome waits as well: a message that is acknowledged, left or given back while its
        thread runs could be handled a second time beside it.
        """
        ends = [asyncio.wrap_future(future) for future in job.left_behind]
        self._outlasting.add(job)
        self._slots.outlasting += 1
        self._report_stuck()
        self._freed()
        try:
            await asyncio.wait(ends)
        except asyncio.CancelledError:  # the service ends, and the thread with it
            return [Delivery(outcomes.LEAVE)] * len(deliveries)
        finally:
            for end in ends:
                end.cancel()  # or a thread that ends later calls a closed loop
            self._slots.outlasting -= 1
            self._outlasting.discard(job)
        return deliveries

    def _report_stuck(self) -> None:
        """Say that nothing can start any more; the last slot is taken only once."""
        if not self.stuck:
            return
        self._slots.wake_all()
        text = (
            "every slot is taken by a handler that is over its time limit and cannot be stopped; "
            "restart the service"
        )
        ids = [self._id(message) for job in self._outlasting for message in job.messages]
        self._log(logging.ERROR, "handlers.stuck", text, message_ids=ids)

    def _log(self, level: int, event: str, text: str = "", **facts: object) -> None:
        log_event(logger, level, event, {"route": self._route.name, **facts}, text)

    def _ids_of(self, task: asyncio.Task[None]) -> list[object]:
        return [self._id(m) for job in self._running if job.task is task for m in job.messages]

    def _id(self, message: Message) -> object:
        return self._route.provider.describe(message).get("message_id", id(message))

    def _record(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the breaker about outcomes."""
        breaker = self._route.flow.breaker
        was_open = breaker.is_open
        for delivery in deliveries:
            breaker.record(delivery.outcome, delivery.error)
        if breaker.is_open == was_open:
            return
        if breaker.is_open:
            self._log(logging.WARNING, "breaker.opened", probe_in=breaker.recovery)
        else:
            self._log(logging.INFO, "breaker.closed")
        if (tell := self._events.flow_changed) is not None:
            tell("breaker opened" if breaker.is_open else "breaker closed")

    def _free(self, job: Job, deliveries: Sequence[Delivery]) -> list[Message]:
        """Free the slot; return the messages to release because one before them failed."""
        self._running.discard(job)
        self.handling -= len(job.messages)
        withdrawn: list[Message] = []
        for key, delivery in zip(job.keys, deliveries, strict=True):
            if delivery.outcome is outcomes.ACKNOWLEDGE:
                self._backlog.finished(key)
            else:
                withdrawn.extend(self._backlog.withdraw(key))
        # Last: this wakes routes, which look at the breaker and the backlog.
        self._slots.give_back(self._freed)
        return withdrawn

    def _done(self, job: Job, task: asyncio.Task[None]) -> None:
        if job in self._running:  # cancelled before its first step: `_run` never ran
            deliveries = [Delivery(outcomes.RELEASE)] * len(job.messages)
            self._record(deliveries)
            withdrawn = self._free(job, deliveries)
            kept = [m for position, m in enumerate(job.messages) if position not in job.lost]
            self.release([*withdrawn, *reversed(kept)])
        self._settled(task)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error.reason if isinstance(error, FatalError) else error)
        if not self._tasks:
            self._freed()

    async def _release(self, messages: Iterable[Message]) -> None:
        for message in messages:
            await settle(self._route, message, outcomes.RELEASE)

    def _spawn(
        self,
        work: Coroutine[Any, Any, None],
        done: Callable[[asyncio.Task[None]], object],
    ) -> asyncio.Task[None]:
        # The end of one job often starts the next one, which must not see its context variables.
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(done)
        return task
