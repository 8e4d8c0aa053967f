"""LoaferManager: a service with any number of routes, as in Loafer."""

import logging
from collections.abc import Iterable, Sequence
from functools import cached_property

from loafer_kit.config import check_number
from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.middleware import Middleware, checked
from loafer_kit.routes import Route
from loafer_kit.runners import LoaferRunner
from loafer_kit.services import Service

logger = logging.getLogger(__name__)


class LoaferManager(Service):
    """Runs routes in one process.

    `_concurrency_limit` limits the handlers of all routes together, `_max_threads` the threads for
    plain (not `async`) handlers; by default there is a thread for each handler that may run.
    `settings` are shared with the extensions. `middleware` is called around the handlers of all
    routes, the first one outermost, and outside that of a route. Handlers get `grace_time` seconds
    to end after a signal.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        runner: LoaferRunner | None = None,
        _concurrency_limit: int | None = None,
        _max_threads: int | None = None,
        *,
        name: str = "loafer_kit",
        settings: object | None = None,
        grace_time: float = 25.0,
        middleware: Iterable[Middleware] = (),
    ) -> None:
        super().__init__(name, settings, middleware=middleware)
        self.routes = routes
        self._sizes_threads = runner is None and _max_threads is None
        self._max_threads = _max_threads or _handlers_at_once(routes)
        self.runner = runner or LoaferRunner(self._max_threads)
        self.grace_time = grace_time
        self._concurrency_limit = _concurrency_limit
        check_number("_concurrency_limit", _concurrency_limit, at_least=1, whole=True)
        check_number("_max_threads", _max_threads, at_least=1, whole=True)

    @cached_property
    def dispatcher(self) -> LoaferDispatcher:
        """Runs the routes. Raises `ConfigurationError` without routes, or for other objects."""
        if not self.routes:
            raise ConfigurationError("A LoaferManager needs at least one route.")
        for route in self.routes:
            if not isinstance(route, Route):
                raise ConfigurationError(f"A LoaferManager runs routes, not {route!r}.")
        return LoaferDispatcher(self.routes, self._concurrency_limit, grace_time=self.grace_time)

    def run(self, forever: bool = True, debug: bool = False) -> None:
        """Run until a signal or a failure; with `forever=False`, for one fetch of each route.

        Raises `ConfigurationError`, and what a startup or teardown callback raises. If a provider
        fails permanently, logs one line and raises `SystemExit` with code 1.
        """
        try:
            self._run(self._prepared(), self.runner, forever=forever, debug=debug)
        except ProviderError as error:
            logger.critical(
                "service.failed: %s", error, extra={"event": "service.failed", "service": self.name}
            )
            raise SystemExit(1) from error

    async def serve(self, forever: bool = True) -> None:
        """Run in the event loop that runs already, until the awaiting task is cancelled.

        A cancellation stops in an orderly way, a second one at once. Signals are left alone. Raises
        what fails, `ProviderError` too.
        """
        await self._serve_in_loop(self._prepared(), self._max_threads, forever=forever)

    async def add(self, route: Route) -> None:
        """Run another route as well; return when its provider is open and it fetches.

        For the event loop's thread. A route that is added before the service runs, or by a startup
        callback, is run with the others. Raises `ConfigurationError` for an object that is not a
        route, and what opening its provider raises; the other routes go on then.
        """
        if not isinstance(route, Route):
            raise ConfigurationError(f"A LoaferManager runs routes, not {route!r}.")
        if "dispatcher" not in vars(self):
            self.routes = [*self.routes, route]
            return
        route.wrap(checked(f"Service {self.name!r}", self.middleware))
        try:
            await self.dispatcher.add(route)
        finally:
            self.routes = self.dispatcher.routes

    async def remove(self, route: Route) -> None:
        """Stop one route in an orderly way; return when its messages in hand are settled.

        For the event loop's thread, but not for a handler of that route. Handlers get `grace_time`
        seconds to end. The others go on; if none is left, the service waits until one is added or
        until it is stopped. Raises `ValueError` for a route that the service does not run.
        """
        try:
            await self.dispatcher.remove(route)
        finally:
            self.routes = self.dispatcher.routes

    def _prepared(self) -> LoaferDispatcher:
        self.dispatcher.failure_policy = self.failure_policy
        self.dispatcher.threads = self._max_threads if self._sizes_threads else None
        return self.dispatcher


def _handlers_at_once(routes: Sequence[object]) -> int | None:
    """Return how many handlers may run; `dispatcher` reports objects that are not routes."""
    return sum(route.options.concurrency for route in routes if isinstance(route, Route)) or None
