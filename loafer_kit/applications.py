"""Application: a service with one consumer and one callback, as in Doozer."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.engine.application_route import ApplicationRoute
from loafer_kit.engine.callables import is_async
from loafer_kit.engine.callbacks import CallbackList, CallbackType
from loafer_kit.exceptions import ConfigurationError, ConsumerError
from loafer_kit.middleware import Middleware, checked_forwarder
from loafer_kit.runners import LoaferRunner
from loafer_kit.services import Service
from loafer_kit.types import Callback, Consumer, Forwarder

#: Seconds: a message that was read is handled to its end, since it cannot be given back. A second
#: signal shortens this.
_GRACE_TIME = 86_400.0


class NotRunnable(ConfigurationError, TypeError):  # noqa: N818 - Doozer raises a TypeError
    """An Application has no consumer, or no callback that is a coroutine function."""


class Application(Service):
    """A service that gives each message of its consumer to a callback.

    `consumer` has a coroutine method `read()`; `callback(app, message)` is a coroutine function
    that returns an iterable of results, or None. If `message` is annotated with a payload type, it
    is validated and arrives as that type. `middleware` is called around the callback, the first one
    outermost; its metadata is empty. Each result, after its postprocessors, is sent to `forward_to`, a
    `Producer`, before the message is acknowledged. `settings` may be a mapping or an object with upper-case
    attributes.
    """

    def __init__(
        self,
        name: str,
        settings: object | None = None,
        *,
        consumer: Consumer | None = None,
        callback: Callback | None = None,
        middleware: Iterable[Middleware] = (),
        forward_to: Forwarder | None = None,
    ) -> None:
        super().__init__(name, settings, middleware=middleware)
        self.forward_to = checked_forwarder(f"Application {name!r}", forward_to)
        self.consumer = consumer
        self.callback = callback
        #: The callbacks by occasion; use `insert` to put one before others.
        self.callbacks: Mapping[str, CallbackList] = {
            "startup": self._startup,
            "message_preprocessor": CallbackList(),
            "result_postprocessor": CallbackList(),
            "error": CallbackList(),
            "message_acknowledgement": CallbackList(),
            "teardown": self._teardown,
        }

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}>"

    def message_preprocessor(self, callback: CallbackType) -> CallbackType:
        """Register `callback(app, message)`, which returns the message to go on with.

        It may change the message in place: the acknowledgement gets it as it was. For that its
        containers are copied; what cannot be copied is the same object.
        """
        return self.callbacks["message_preprocessor"].register(callback)

    def result_postprocessor(self, callback: CallbackType) -> CallbackType:
        """Register `callback(app, result)`, which returns the result to go on with.

        An `Abort` drops the result; another exception stops the application.
        """
        return self.callbacks["result_postprocessor"].register(callback)

    def error(self, callback: CallbackType) -> CallbackType:
        """Register `callback(app, message, exception)`; an `Abort` skips the later ones."""
        return self.callbacks["error"].register(callback)

    def message_acknowledgement(self, callback: CallbackType) -> CallbackType:
        """Register `callback(app, original_message)`, called when a message is fully processed."""
        return self.callbacks["message_acknowledgement"].register(callback)

    def run_forever(
        self,
        num_workers: int = 1,
        loop: asyncio.AbstractEventLoop | None = None,
        debug: bool = False,
    ) -> None:
        """Run until the consumer aborts or fails, a callback fails, or a signal arrives.

        Logs a failure of the consumer and returns; raises what a postprocessor, an error callback
        or an acknowledgement raises. Raises `TypeError` without consumer or callback.
        """
        with contextlib.suppress(ConsumerError):
            self.run(num_workers, loop, debug)

    def run(
        self,
        num_workers: int = 1,
        loop: asyncio.AbstractEventLoop | None = None,
        debug: bool = False,
    ) -> None:
        """Like `run_forever`, but raises `ConsumerError` if the consumer fails."""
        self._run(self._dispatcher(num_workers), LoaferRunner(), debug=debug, loop=loop)

    async def serve(self, num_workers: int = 1) -> None:
        """Run in the event loop that runs already, until the awaiting task is cancelled.

        A cancellation stops in an orderly way, a second one at once. Signals are left alone. Raises
        what fails, `ConsumerError` too.
        """
        await self._serve_in_loop(self._dispatcher(num_workers), None)

    def _dispatcher(self, num_workers: int) -> LoaferDispatcher:
        if self.consumer is None:
            raise NotRunnable("The Application's consumer cannot be None.")
        if self.callback is None or not is_async(self.callback):
            raise NotRunnable("The Application's callback must be a coroutine.")
        return LoaferDispatcher([ApplicationRoute(self, num_workers)], grace_time=_GRACE_TIME)
