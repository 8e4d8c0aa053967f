"""The engine: every route at work beside the others, and one end for all."""

import asyncio
import logging
from collections.abc import Sequence

from loafer_kit import outcomes
from loafer_kit.engine.backlog import Slots
from loafer_kit.engine.deliveries import FailurePolicy, deliver
from loafer_kit.engine.workers import RouteWorker
from loafer_kit.routes import Route
from loafer_kit.types import Message

logger = logging.getLogger(__name__)


class LoaferDispatcher:
    """Runs routes until one of them cannot go on, or until it is stopped.

    `max_jobs` limits the handlers of all routes together; by default it is the sum of the routes'
    own limits (ten each). `grace_time` is how many seconds handlers get to end after `stop`.
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
        self.max_jobs = max_jobs or sum(route.options.concurrency for route in routes)
        self.grace_time = grace_time
        self.failure_policy = failure_policy
        self._workers: list[RouteWorker] = []
        self._stopping = False

    async def dispatch_message(self, message: Message, route: Route) -> bool:
        """Deliver one message to a route; tell whether it is to be acknowledged.

        Nothing is settled. An empty message is ignored; a cancelled handler acknowledges nothing.
        """
        if not message:
            logger.warning("message.ignored route=%s: it is empty", route.name)
            return False
        try:
            delivery = await deliver(route, message, self.failure_policy)
        except asyncio.CancelledError:
            logger.warning("message.cancelled route=%s", route.name)
            return False
        return delivery.outcome is outcomes.ACKNOWLEDGE

    async def dispatch_providers(self, forever: bool = True) -> None:
        """Run all routes: for ever, or for one fetch of each.

        Raises what stopped the first route that failed, after every route has finished and
        settled what it had in hand.
        """
        slots = Slots(self.max_jobs)
        self._workers = [RouteWorker(route, slots, self.failure_policy) for route in self.routes]
        if self._stopping:  # told to while the service was starting up
            self.stop()
        tasks = [
            asyncio.create_task(
                worker.run(forever=forever, grace_time=self.grace_time),
                name=f"route {worker.route.name}",
            )
            for worker in self._workers
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self.stop()
            await asyncio.wait(tasks)
            self._stopping = False
        errors = [error for task in tasks if (error := task.exception()) is not None]
        for error in errors[1:]:
            logger.error("route.failed: %s", error, exc_info=error)
        if errors:
            raise errors[0]

    def stop(self) -> None:
        """Fetch nothing more; finish and settle what is in hand. Stopping twice is harmless."""
        self._stopping = True
        for worker in self._workers:
            worker.stop()

    def stop_now(self) -> None:
        """Cancel what is being handled and give it back."""
        self._stopping = True
        for worker in self._workers:
            worker.stop_now()
