"""LoaferDispatcher: runs routes side by side and ends them together."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from loafer_kit import outcomes
from loafer_kit.engine.backlog import Slots
from loafer_kit.engine.callables import handler_threads
from loafer_kit.engine.deliveries import Deliveries, FailurePolicy
from loafer_kit.engine.workers import RouteStatus, RouteWorker
from loafer_kit.events import Observers
from loafer_kit.exceptions import LoaferKitError
from loafer_kit.logs import log_event
from loafer_kit.routes import Route
from loafer_kit.types import Message

logger = logging.getLogger(__name__)


class LoaferDispatcher:
    """Runs routes until one of them fails, or until `stop`.

    `max_jobs` limits the handlers of all routes together; the default is the sum of the routes'
    own limits (ten each). Handlers get `grace_time` seconds to end after `stop`.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        max_jobs: int | None = None,
        *,
        grace_time: float = 25.0,
        failure_policy: FailurePolicy | None = None,
    ) -> None:
        self.routes = routes
        self._max_jobs = max_jobs
        self.grace_time = grace_time
        self.failure_policy = failure_policy
        self.observers = Observers()
        #: Called when the providers of all routes are open.
        self.on_started: Callable[[], object] = lambda: None
        #: The handler threads there may be, if their number follows the routes' concurrency.
        self.threads: int | None = None
        self._paused: list[Route] = []
        self._opening = 0
        self._slots = Slots(self.max_jobs)
        self._threads = handler_threads.get()
        #: The routes of the current run, and after it those of the last one.
        self._tasks: dict[RouteWorker, asyncio.Task[None]] = {}
        #: Those that are being added or removed: `add` and `remove` raise their errors.
        self._coming_or_going: set[RouteWorker] = set()
        self._changed = asyncio.Event()
        self._forever = True
        self._running = False
        self._stopping = False

    @property
    def max_jobs(self) -> int:
        """The most handlers of all routes together."""
        return self._max_jobs or self._sum_of_concurrency()

    @max_jobs.setter
    def max_jobs(self, number: int) -> None:
        self._max_jobs = number

    async def dispatch_message(self, message: Message, route: Route) -> bool:
        """Deliver one message to a route; return True if it should be acknowledged.

        Does not settle it. Returns False for an empty message and for a cancelled handler.
        """
        if not message:
            log_event(
                logger, logging.WARNING, "message.ignored", {"route": route.name}, "it is empty"
            )
            return False
        try:
            delivery = await Deliveries(route, self.failure_policy).deliver(message)
        except asyncio.CancelledError:
            log_event(logger, logging.WARNING, "message.cancelled", {"route": route.name})
            return False
        return delivery.outcome is outcomes.ACKNOWLEDGE

    async def dispatch_providers(self, forever: bool = True) -> None:
        """Run all routes, forever or for one fetch each.

        If a route fails, all routes finish and settle the messages in hand; then the first error
        is raised.
        """
        self._slots = Slots(self.max_jobs)
        self._threads = handler_threads.get()
        self._opening = len(self.routes)
        self._changed = asyncio.Event()
        self._forever = forever
        self._tasks = {}
        for route in self.routes:
            self._run(self._worker(route, self._route_started))
        if self._stopping:  # `stop` was called while the service was starting up
            self.stop()
        self._running = True
        try:
            while not self._over():
                self._changed.clear()
                await self._changed.wait()
        finally:
            self.stop()
            await self._wait_for(list(self._tasks.values()))
            errors = self._errors()
            self._running = self._stopping = False
        for error in errors[1:]:
            is_bug = not isinstance(error, LoaferKitError)
            exc_info = error if is_bug else None
            log_event(logger, logging.ERROR, "route.failed", {}, str(error), exc_info=exc_info)
        if errors:
            raise errors[0]

    async def add(self, route: Route) -> None:
        """Run another route as well, and return when its provider is open.

        A route that is added before the others run is run with them. Raises what opening the
        provider raises; the other routes go on.
        """
        self.routes = [*self.routes, route]
        if not self._running or self._stopping:
            return
        opened = asyncio.Event()
        worker = self._worker(route, opened.set)
        self._coming_or_going.add(worker)
        task = self._run(worker)
        task.add_done_callback(lambda _: opened.set())
        try:
            await opened.wait()
        except asyncio.CancelledError:
            await self.remove(route)
            raise
        if task.done():
            self._forget(worker)
            task.result()
        self._coming_or_going.discard(worker)

    async def remove(self, route: Route) -> None:
        """Stop one route, and return when its messages in hand are settled.

        Its handlers get `grace_time` seconds to end. Raises what ending the route raises, and
        `ValueError` for a route that is not among those of the dispatcher.
        """
        if route not in self.routes:
            raise ValueError(f"{route} is not among the routes of this service.")
        worker = next((worker for worker in self._tasks if worker.route is route), None)
        if worker is None or not self._running:
            self.routes = [other for other in self.routes if other is not route]
            return
        task = self._tasks[worker]
        self._coming_or_going.add(worker)
        task.add_done_callback(lambda _: self._forget(worker))
        worker.stop()
        await asyncio.wait([task])
        task.result()

    @property
    def stopping(self) -> bool:
        """True once `stop` was called, until the routes have ended."""
        return self._stopping

    def statuses(self) -> list[RouteStatus]:
        """Return what each route does now."""
        if not self._tasks:
            return [RouteStatus(route) for route in self.routes]
        return [worker.status() for worker in self._tasks]

    def _worker(self, route: Route, started: Callable[[], object]) -> RouteWorker:
        return RouteWorker(
            route,
            self._slots,
            self.failure_policy,
            self.observers.of_route(route),
            started=started,
            resized=self._resize,
        )

    def _run(self, worker: RouteWorker) -> asyncio.Task[None]:
        task = self._tasks[worker] = asyncio.create_task(
            worker.run(forever=self._forever, grace_time=self.grace_time),
            name=f"route {worker.route.name}",
        )
        task.add_done_callback(lambda _: self._changed.set())
        return task

    def _forget(self, worker: RouteWorker) -> None:
        self.routes = [route for route in self.routes if route is not worker.route]
        self._tasks.pop(worker, None)
        self._coming_or_going.discard(worker)
        self.observers.forget_route(worker.route)
        self._resize()

    def _over(self) -> bool:
        """True once a route has failed, or all have ended.

        Without any route, since all were removed, others may be added until `stop`.
        """
        if self._errors():
            return True
        if not self._tasks:
            return self._stopping or not self._forever
        return all(task.done() for task in self._tasks.values())

    def _errors(self) -> list[BaseException]:
        return [
            error
            for worker, task in self._tasks.items()
            if worker not in self._coming_or_going and task.done() and not task.cancelled()
            if (error := task.exception()) is not None
        ]

    def _sum_of_concurrency(self) -> int:
        return sum(route.flow.concurrency for route in self.routes)

    def _resize(self) -> None:
        """Let slots and threads follow the concurrency of the routes, unless they were given.

        Slots do not become fewer: handlers of a route that shrank would hold those of others.
        """
        self._slots.limit = max(self._slots.limit, self.max_jobs)
        if self.threads is not None:
            before, self.threads = self.threads, self._sum_of_concurrency()
            self._threads.resize(self.threads - before)

    def _route_started(self) -> None:
        self._opening -= 1
        if not self._opening:
            self.on_started()

    async def _wait_for(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Let the routes end; a cancellation meanwhile stops them at once."""
        cancelled = False
        while not all(task.done() for task in tasks):
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError:
                cancelled = True
                self.stop_now()
        if cancelled:
            raise asyncio.CancelledError

    def stop(self) -> None:
        """Fetch nothing more; finish and settle the messages in hand. May be called again."""
        self._stopping = True
        self._changed.set()
        for worker in self._tasks:
            worker.stop()

    def pause(self) -> None:
        """Pause the routes that are not paused."""
        paused = [route for route in self.routes if not route.flow.paused]
        for route in paused:
            route.flow.pause()
        self._paused += paused
        _log_change("paused", paused)

    def resume(self) -> None:
        """Resume the routes that `pause` paused."""
        paused, self._paused = self._paused, []
        for route in paused:
            route.flow.resume()
        _log_change("resumed", paused)

    def log_running(self) -> None:
        """Log every running handler, its age and where it stands."""
        for worker in self._tasks:
            worker.log_running()

    def stop_now(self) -> None:
        """Cancel the running handlers and release their messages."""
        self._stopping = True
        self._changed.set()
        for worker in self._tasks:
            worker.stop_now()


def _log_change(change: str, routes: Sequence[Route]) -> None:
    if not routes:
        return
    log_event(
        logger, logging.INFO, f"service.{change}", {"routes": [route.name for route in routes]}
    )
