"""Service: the base of `Application` and `LoaferManager`, which owns their callbacks."""

import asyncio
import functools
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

from loafer_kit.config import Config
from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.engine.callables import DaemonThreadPool, ends_task, handler_threads, is_async
from loafer_kit.engine.deliveries import FailurePolicy
from loafer_kit.engine.workers import RouteStatus
from loafer_kit.events import Observer, Observers, current_observers
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.logs import log_event
from loafer_kit.middleware import Middleware, checked
from loafer_kit.runners import LoaferRunner
from loafer_kit.types import Callback

if TYPE_CHECKING:
    from loafer_kit.operations.monitors import Monitor
    from loafer_kit.operations.recorder import Recorder

logger = logging.getLogger(__name__)

#: The variables of the environment that show a service without code.
_MONITORED_BY = ("LOAFER_HTTP", "LOAFER_HEALTH_FILE", "LOAFER_CONTROL")

CallbackType = TypeVar("CallbackType", bound=Callback)


class CallbackList(list[Callback]):
    """A list of coroutine functions; `insert(0, callback)` puts one before the others."""

    def register(self, callback: CallbackType) -> CallbackType:
        """Append `callback` and return it, so that this works as a decorator.

        Raises `TypeError` for a plain function.
        """
        if not is_async(callback):
            raise TypeError("The callback must be a coroutine.")
        self.append(callback)
        return callback

    async def notify(self, *args: Any) -> None:
        """Await every callback with `args`, in order, until one raises."""
        for callback in tuple(self):
            await callback(*args)

    async def pipe(self, owner: object, value: Any) -> Any:
        """Await `callback(owner, value)` in order, passing each result to the next callback."""
        for callback in tuple(self):
            value = await callback(owner, value)
        return value


class Service:
    """A process that handles messages.

    `settings` may be a mapping or an object with upper-case attributes.
    """

    def __init__(
        self,
        name: str,
        settings: object | None = None,
        *,
        middleware: Iterable[Middleware] = (),
    ) -> None:
        self.name = name
        #: Called around the handlers of all routes, the first one outermost.
        self.middleware = list(checked(f"Service {name!r}", middleware))
        self.settings = Config.of(settings)
        self.settings.setdefault("DEBUG", False)
        #: The extensions by lower-case class name.
        self.extensions: dict[str, Any] = {}
        self.logger = logging.getLogger(name)
        #: Decides the outcome of a failed message if the handler and the error handler do not.
        self.failure_policy: FailurePolicy | None = None
        #: Shows the service to its operators; None: nowhere, unless the environment says so.
        self.monitor: Monitor | None = None
        #: Each returns why the service is not ready, or None; called in the event loop, every second.
        self.readiness: list[Callable[[], str | None]] = []
        #: Counts what happens; None: nobody has asked for it.
        self.recorder: Recorder | None = None
        self._observers = Observers()
        self._dispatcher_at_work: LoaferDispatcher | None = None
        self._has_ended = False
        self._startup = CallbackList()
        self._teardown = CallbackList()
        self._starting: asyncio.Timeout | None = None

    def observe(self, observer: Observer) -> None:
        """Tell `observer` what happens inside, from now on."""
        self._observers.add(observer)

    @property
    def is_stopping(self) -> bool:
        """True once the service ends, and after that."""
        at_work = self._dispatcher_at_work
        return self._has_ended or (at_work is not None and at_work.stopping)

    @property
    def stop_limit(self) -> float:
        """Seconds that handlers get to end when the service stops."""
        at_work = self._dispatcher_at_work
        return 0.0 if at_work is None else at_work.grace_time

    def stop(self) -> None:
        """Stop in an orderly way, as the first signal does; for the event loop's thread."""
        if self._dispatcher_at_work is not None and not self._has_ended:
            self._stop(self._dispatcher_at_work)

    def statuses(self) -> list[RouteStatus]:
        """Return what each route does now; nothing before the service runs."""
        return [] if self._dispatcher_at_work is None else self._dispatcher_at_work.statuses()

    def startup(self, callback: CallbackType) -> CallbackType:
        """Register a coroutine function `callback(service)`, awaited before the first fetch."""
        return self._startup.register(callback)

    def teardown(self, callback: CallbackType) -> CallbackType:
        """Register a coroutine function `callback(service)`, awaited after the last settlement.

        All of them run, even if the service or an earlier callback failed: the first failure is
        raised, the others are logged.
        """
        return self._teardown.register(callback)

    def _run(
        self,
        dispatcher: LoaferDispatcher,
        runner: LoaferRunner,
        *,
        forever: bool = True,
        debug: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        _check_no_loop_runs(type(self).__name__)
        if forever and any(map(os.environ.get, ("LOAFER_PROCESSES", "_LOAFER_PARENT"))):
            # One process needs neither.
            from loafer_kit.operations import supervisor

            if supervisor.supervise(self, runner, dispatcher.grace_time):
                return
        debug = debug or bool(self.settings.get("DEBUG"))
        if debug:
            self.settings["DEBUG"] = True
            self._show_debug_messages()
        runner.run(
            self._serve(dispatcher, forever=forever),
            stop=lambda: self._stop(dispatcher),
            stop_now=dispatcher.stop_now,
            report=dispatcher.log_running,
            pause=dispatcher.pause,
            resume=dispatcher.resume,
            loop=loop,
            debug=debug,
        )

    async def _serve_in_loop(
        self, dispatcher: LoaferDispatcher, threads: int | None, *, forever: bool = True
    ) -> None:
        """Run in the running loop. A cancellation drains; a second one does not wait."""
        pool = DaemonThreadPool(threads)
        token = handler_threads.set(pool)
        try:
            await self._serve(dispatcher, forever=forever)
        finally:
            handler_threads.reset(token)
            pool.shutdown()

    def _stop(self, dispatcher: LoaferDispatcher) -> bool:
        """Stop in an orderly way; cancel a start-up, and return whether there was one."""
        dispatcher.stop()
        starting = self._starting
        if starting is not None:
            starting.reschedule(0)
        return starting is not None

    async def _start_up(self) -> bool:
        """Await the startup callbacks; return False if `_stop` cancels them."""
        try:
            async with asyncio.timeout(None) as self._starting:
                await self._startup.notify(self)
        except TimeoutError:
            if not (self._starting and self._starting.expired()):
                raise
            return False
        finally:
            self._starting = None
        return True

    async def _serve(self, dispatcher: LoaferDispatcher, *, forever: bool) -> None:
        middleware = checked(f"Service {self.name!r}", self.middleware)
        for route in dispatcher.routes:
            route.wrap(middleware)
        dispatcher.observers = self._observers
        dispatcher.on_started = functools.partial(self._log_start, dispatcher)
        self._observers.loop = asyncio.get_running_loop()
        self._dispatcher_at_work, self._has_ended = dispatcher, False
        token = current_observers.set(self._observers)
        try:
            async with self._monitored():
                await self._serve_routes(dispatcher, forever=forever)
        finally:
            current_observers.reset(token)

    async def _serve_routes(self, dispatcher: LoaferDispatcher, *, forever: bool) -> None:
        try:
            if await self._start_up():
                self.logger.debug("application.started", extra={"event": "application.started"})
            await dispatcher.dispatch_providers(forever)
        except BaseException:
            await self._tear_down()  # if it fails too, what failed first may be why
            raise
        if errors := await self._tear_down():
            raise errors[0]

    def _monitored(self) -> AbstractAsyncContextManager[None]:
        if self.monitor is None and any(os.environ.get(name) for name in _MONITORED_BY):
            # A service that shows itself nowhere does not pay for it.
            from loafer_kit.operations.monitors import Monitor

            self.monitor = Monitor(self)
        if self.monitor is None:
            return nullcontext()
        return self.monitor.watching()

    def _log_start(self, dispatcher: LoaferDispatcher) -> None:
        log_event(
            logger,
            logging.INFO,
            "service.started",
            {
                "service": self.name,
                "version": version_of(self.name),
                "runtime": version_of("loafer-kit"),
                "routes": {route.name: route.flow.concurrency for route in dispatcher.routes},
                "max_jobs": dispatcher.max_jobs,
                "grace_time": dispatcher.grace_time,
            },
        )

    async def _tear_down(self) -> list[BaseException]:
        """Await the teardown callbacks; return what they raise, which is logged."""
        self._has_ended = True
        errors: list[BaseException] = []
        for callback in self._teardown:
            try:
                await callback(self)
            except BaseException as error:
                if ends_task(error):
                    raise
                self.logger.exception(
                    "teardown.failed callback=%s",
                    callback,
                    extra={"event": "teardown.failed", "callback": str(callback)},
                )
                errors.append(error)
        self.logger.debug("application.stopped", extra={"event": "application.stopped"})
        return errors

    def _show_debug_messages(self) -> None:
        own = standard_logger(self)
        own.setLevel(logging.DEBUG)
        if not own.hasHandlers():
            own.addHandler(logging.StreamHandler())


def standard_logger(service: Service) -> logging.Logger:
    """Return the logger whose level and handlers are those of the service.

    An extension may have replaced `service.logger` by an object that has neither, for example
    structlog's. It is then the logger with the service's name.
    """
    own: object = service.logger
    return own if isinstance(own, logging.Logger) else logging.getLogger(service.name)


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution; None if there is none of that name."""
    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _check_no_loop_runs(service: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigurationError(
        f"An event loop runs already: await {service}.serve() in it instead of calling run()."
    )
