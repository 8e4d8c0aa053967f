"""The messages of one route that are being handled: from the start of a handler to settlement."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from loafer_kit import outcomes
from loafer_kit.engine.backlog import Backlog
from loafer_kit.engine.deliveries import Delivery, FailurePolicy, deliver, deliver_batch
from loafer_kit.engine.settling import log_handled, settle
from loafer_kit.engine.slots import Slots
from loafer_kit.exceptions import FatalError
from loafer_kit.routes import Route
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Seconds that a cancelled handler is given to end.
_CANCEL_GRACE = 5.0


@dataclass(slots=True, eq=False)
class Job:
    """One call of a handler: a message, or the messages of a batch, and their order keys."""

    messages: list[Message]
    keys: list[Hashable | None]
    task: asyncio.Task[None] | None = None
    #: Positions of messages that another consumer may have got.
    lost: set[int] = field(default_factory=set)


class Jobs:
    """Runs the jobs of one route.

    `freed()` is called when a job's handler has ended and its slot is free, and when nothing is
    left to settle; `failed(error)` gets what stops the route.
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
        self._backlog = backlog
        self._slots = slots
        self._policy = policy
        self._freed = freed
        self._failed = failed
        self._context = contextvars.copy_context()
        #: Jobs whose handlers run; their number is the number of slots in use.
        self._running: set[Job] = set()
        #: Every task that is not done: handlers, those that go on to settle, and releases.
        self._tasks: set[asyncio.Task[None]] = set()
        #: Messages whose handlers run.
        self.handling = 0
        #: Whether a cancellation means that the service ends.
        self.ending = False
        self._cancelled = False
        self._grace: asyncio.Timeout | None = None

    @property
    def running(self) -> int:
        """The number of handlers that run."""
        return len(self._running)

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def runs(self, job: Job | None) -> bool:
        """Whether the handler of a job runs."""
        return job in self._running

    def start(self, job: Job) -> None:
        """Call the handler in a task of its own."""
        self._slots.take()
        self._running.add(job)
        self.handling += len(job.messages)
        job.task = self._spawn(self._run(job))
        job.task.add_done_callback(lambda task: self._done(job, task))

    def release(self, messages: Sequence[Message]) -> None:
        """Give back messages that were not started, in this order."""
        if messages:
            task = self._spawn(self._settle(messages, outcomes.RELEASE))
            task.add_done_callback(self._settled)

    def lose(self, message: Message) -> bool:
        """Settle `message` no more and cancel its handler; tell whether it was being handled.

        A batch handler goes on: its other messages are still ours.
        """
        for job in self._running:
            for position, handled in enumerate(job.messages):
                if handled is message:
                    job.lost.add(position)
                    if len(job.lost) == len(job.messages) and job.task is not None:
                        job.task.cancel()
                    return True
        return False

    def cancel(self) -> None:
        """Cancel every handler that runs; their messages are given back. `finish` waits less long."""
        if not self._cancelled and self._grace is not None and not self._grace.expired():
            soon = asyncio.get_running_loop().time() + _CANCEL_GRACE
            self._grace.reschedule(min(soon, self._grace.when() or soon))
        self._cancelled = True
        for job in self._running:
            if job.task is not None:
                job.task.cancel()

    async def finish(self, grace_time: float) -> None:
        """Wait for the handlers, cancel those that take longer than `grace_time`, settle all."""
        name = self._route.name
        if self._running:
            logger.info(
                "handlers.finishing route=%s count=%d within=%gs", name, self.running, grace_time
            )
        late = await self._within_grace(grace_time)
        for task in late:
            logger.warning("handler.cancelled route=%s: still running after %gs", name, grace_time)
            task.cancel()
        stuck = (await asyncio.wait(late, timeout=_CANCEL_GRACE))[1] if late else set()
        for task in stuck:
            logger.error(
                "handler.stuck route=%s: it ignores its cancellation and is left behind", name
            )
            self._tasks.discard(task)

    async def _within_grace(self, seconds: float) -> set[asyncio.Task[None]]:
        """Wait for the tasks, less long once `cancel` was called; return those that are not done."""
        tasks = set(self._tasks)
        if self._cancelled:
            seconds = min(seconds, _CANCEL_GRACE)
        try:
            async with asyncio.timeout(seconds) as self._grace:
                if tasks:
                    await asyncio.wait(tasks)
        except TimeoutError:
            pass
        finally:
            self._grace = None
        return {task for task in tasks if not task.done()}

    async def settle_rest(self) -> None:
        """Wait until everything that was given back meanwhile is settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            deliveries = await self._deliver(job)
        except asyncio.CancelledError:
            # The service ends, the message is lost, or the handler awaited something cancelled.
            deliveries = [Delivery(outcomes.RELEASE if self.ending else outcomes.LEAVE)] * len(
                job.messages
            )
        except FatalError as error:
            self._failed(error.__cause__ or error)
            deliveries = [Delivery(outcomes.LEAVE)] * len(job.messages)
        seconds = loop.time() - started
        withdrawn = self._free(job, deliveries)
        self._freed()
        if withdrawn:
            await self._settle(withdrawn, outcomes.RELEASE)
        for position, (message, delivery) in enumerate(zip(job.messages, deliveries, strict=True)):
            if position not in job.lost:
                log_handled(self._route, message, delivery.outcome, seconds)
                await settle(self._route, message, delivery.outcome)

    async def _deliver(self, job: Job) -> list[Delivery]:
        if self._route.options.batch_handler_size is None:
            return [await deliver(self._route, job.messages[0], self._policy)]
        return await deliver_batch(self._route, job.messages, self._policy)

    def _free(self, job: Job, deliveries: Sequence[Delivery]) -> list[Message]:
        """Free the slot; return what must go back because a message before it has failed."""
        self._running.discard(job)
        self.handling -= len(job.messages)
        withdrawn: list[Message] = []
        breaker = self._route.flow.breaker
        was_open = breaker.is_open
        for key, delivery in zip(job.keys, deliveries, strict=True):
            breaker.record(delivery.outcome, delivery.error)
            if delivery.outcome is outcomes.ACKNOWLEDGE:
                self._backlog.finished(key)
            else:
                withdrawn.extend(self._backlog.withdraw(key))
        if breaker.is_open and not was_open:
            logger.warning(
                "breaker.opened route=%s probe_in=%gs", self._route.name, breaker.recovery
            )
        elif was_open and not breaker.is_open:
            logger.info("breaker.closed route=%s", self._route.name)
        self._slots.give_back()  # wakes routes, which look at the breaker and the backlog
        return withdrawn

    def _done(self, job: Job, task: asyncio.Task[None]) -> None:
        if job in self._running:  # cancelled before its first step
            withdrawn = self._free(job, [Delivery(outcomes.RELEASE)] * len(job.messages))
            kept = [m for position, m in enumerate(job.messages) if position not in job.lost]
            self.release([*withdrawn, *reversed(kept)])
            self._freed()
        self._settled(task)

    def _settled(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error.__cause__ or error if isinstance(error, FatalError) else error)
        if not self._tasks:
            self._freed()

    async def _settle(self, messages: Iterable[Message], outcome: outcomes.Outcome) -> None:
        for message in messages:
            await settle(self._route, message, outcome)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # A job is often started by the end of another one, whose context it must not see.
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
