"""Application: a service with one consumer and one callback, as in Doozer.

It runs one route: `ConsumerProvider` reads the messages, `ApplicationRoute` calls the callbacks.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit.config import copied
from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.engine.callables import awaited, ends_task, is_async
from loafer_kit.exceptions import (
    Abort,
    ConfigurationError,
    ConsumerError,
    FatalError,
    SourceExhausted,
    TransientProviderError,
)
from loafer_kit.middleware import Middleware, checked_forwarder
from loafer_kit.outcomes import Acknowledge, Outcome, Retry
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route
from loafer_kit.runners import LoaferRunner
from loafer_kit.services import CallbackList, CallbackType, Service
from loafer_kit.types import Callback, Consumer, Forwarder, Message, QueueConsumer

#: Seconds: a message that was read is handled to its end, since it cannot be given back. A second
#: signal shortens this.
_GRACE_TIME = 86_400.0

#: Seconds that postponed work gets when the service stops.
_FLUSH_GRACE = 25.0


class NotRunnable(ConfigurationError, TypeError):  # noqa: N818 - Doozer raises a TypeError
    """An Application has no consumer, or no callback that is a coroutine function."""


class Application(Service):
    """A service that gives each message of its consumer to a callback.

    `consumer` has a coroutine method `read()`; `callback(app, message)` is a coroutine function
    that returns an iterable of results, or None. If `message` is annotated with a payload type, it
    is validated and arrives as that type. `middleware` is called around the callback, the first one
    outermost; its metadata is empty. Each result, after its postprocessors, is sent to
    `forward_to`, a `Producer`, before the message is acknowledged. `settings` may be a mapping or
    an object with upper-case attributes.
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
        #: How the consumer failed in the last `run_forever`; None: it did not.
        self.consumer_error: ConsumerError | None = None
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

        It and later callbacks may change the message in place: the acknowledgement gets it as it was
        read. For that its containers are copied; what cannot be copied is the same object.
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

        Logs a failure of the consumer, keeps it as `consumer_error` and returns; raises what a
        postprocessor, an error callback or an acknowledgement raises. Raises `TypeError` without
        consumer or callback. The command line calls this method, overridden or not.
        """
        self.consumer_error = None
        try:
            self.run(num_workers, loop, debug)
        except ConsumerError as error:
            self.consumer_error = error

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
        route = ApplicationRoute(self, self.consumer, self.callback, num_workers)
        return LoaferDispatcher([route], grace_time=_GRACE_TIME)


class Postpone(Abort):
    """Raised by an error callback: `work` is awaited after `delay` seconds.

    Meanwhile the message occupies no worker; it is acknowledged after the work. When the
    application stops, the rest of the delay is skipped.
    """

    def __init__(
        self, reason: str, message: Message, delay: float, work: Callable[[], Awaitable[object]]
    ) -> None:
        super().__init__(reason, message)
        self.delay = delay
        self.work = work


@dataclass(slots=True, eq=False, repr=False)
class Reading:
    """One message as it was read: two readings differ even when they hold the same object."""

    message: Message
    #: What the provider of a queue's consumer delivered.
    delivered: Message = None
    started: bool = False

    def __repr__(self) -> str:
        return repr(self.message)


class ConsumerProvider(AbstractProvider):
    """Reads one message at a time, whenever a worker is free for it.

    The route acknowledges: acknowledging belongs to the worker that handled the message.
    """

    def __init__(
        self,
        consumer: Consumer,
        logger: logging.Logger,
        deliver: Callable[[Reading], Awaitable[object]],
    ) -> None:
        self._consumer = consumer
        self._queue_consumer = consumer if isinstance(consumer, QueueConsumer) else None
        self._logger = logger
        self._deliver = deliver
        self._reader: asyncio.Task[Any] | None = None
        self._postponed: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def _source(self) -> AbstractProvider | None:
        """The provider of a queue's consumer; the application's startup callbacks open it."""
        return None if self._queue_consumer is None else self._queue_consumer.provider

    async def start(self, lost: Callable[[Message], None]) -> None:
        """Let the consumer's provider tell observers."""
        if (source := self._source) is not None:
            source.route_events = self.route_events
            self.settles_later = source.settles_later

    @property
    def statistics(self) -> Mapping[str, Any]:
        """The requests that the consumer's provider has sent, by action."""
        return getattr(self._source, "statistics", {})

    async def fetch_messages(self) -> Sequence[Reading]:
        """Return what one `read()` gives; its `Abort` ends the route cleanly."""
        if self._failure is not None:
            raise self._failure
        self._reader = asyncio.current_task()
        try:
            message = await self._consumer.read()
            consumer = self._queue_consumer
            return [Reading(message, None if consumer is None else consumer.delivered(message))]
        except Abort as abort:
            self._logger.debug(
                "consumer.aborted reason=%s",
                abort.reason,
                extra={"event": "consumer.aborted", "reason": abort.reason},
            )
            raise SourceExhausted from abort
        except TransientProviderError:
            raise
        except asyncio.CancelledError:
            if self._failure is not None:  # `_fail` cancelled the read
                raise self._failure from None
            raise
        except BaseException as error:
            if ends_task(error):
                raise
            self._logger.exception("consumer.failed", extra={"event": "consumer.failed"})
            raise ConsumerError(f"The consumer failed: {type(error).__name__}: {error}") from error
        finally:
            self._reader = None

    def stop(self) -> None:
        """Have the open `read()` return: by `stop_reading`, or else by cancelling it."""
        if self._queue_consumer is not None:
            self._queue_consumer.stop_reading()
        elif self._reader is not None:
            self._reader.cancel()

    def order_key(self, message: Reading) -> Hashable | None:
        return None if (source := self._source) is None else source.order_key(message.delivered)

    def describe(self, message: Reading) -> Mapping[str, object]:
        return {} if (source := self._source) is None else source.describe(message.delivered)

    def trace_headers(self, message: Reading) -> Mapping[str, str]:
        return {} if (source := self._source) is None else source.trace_headers(message.delivered)

    @property
    def broker(self) -> str:  # type: ignore[override]
        return "" if self._source is None else self._source.broker

    @property
    def address(self) -> str | None:  # type: ignore[override]
        return None if self._source is None else self._source.address

    async def confirm_message(self, message: Reading) -> None:
        """Do nothing: the acknowledgement callbacks have run."""

    async def settle(self, message: Reading, outcome: Outcome) -> None:
        """Let a queue keep a message that was not acknowledged.

        A message that was read while the service began to stop is handled: a consumer has no way
        to give it back, so the engine's "release" would lose it.
        """
        if isinstance(outcome, Retry) and not message.started:
            try:
                await self._deliver(message)
            except FatalError as error:
                self._fail(error.reason)
        elif self._queue_consumer is not None and not isinstance(outcome, Acknowledge):
            await self._queue_consumer.leave(message.message)

    def postpone(self, delay: float, work: Callable[[], Awaitable[object]]) -> None:
        """Await `work` after `delay` seconds, or as soon as the service stops."""
        task = asyncio.create_task(self._work_later(delay, work))
        self._postponed.add(task)
        task.add_done_callback(self._postponed.discard)

    async def flush(self) -> None:
        """Finish the postponed work; raise what failed meanwhile."""
        self._ending.set()
        if self._postponed:
            _, late = await asyncio.wait(self._postponed, timeout=_FLUSH_GRACE)
            for task in late:
                self._logger.warning(
                    "postponed.cancelled: still running after %gs",
                    _FLUSH_GRACE,
                    extra={"event": "postponed.cancelled"},
                )
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_FLUSH_GRACE)
        if self._failure is not None:
            raise self._failure

    async def _work_later(self, delay: float, work: Callable[[], Awaitable[object]]) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), delay)
        try:
            await work()
        except FatalError as error:
            self._fail(error.reason)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        if self._reader is not None:
            self._reader.cancel()


class ApplicationRoute(Route):
    """Takes each message through an Application's callbacks, in one of its workers."""

    provider: ConsumerProvider
    _content_position = 1  # callback(app, message)

    def __init__(
        self, app: Application, consumer: Consumer, callback: Callback, num_workers: int
    ) -> None:
        provider = ConsumerProvider(consumer, app.logger, self.deliver)
        super().__init__(provider, callback, app.name, concurrency=num_workers, prefetch=0)
        self._app = app
        self._callback = callback
        self._callbacks = app.callbacks

    async def deliver(self, raw_message: Reading) -> bool:
        """Preprocess, decode, call back, postprocess, acknowledge.

        Returns False, without acknowledging the message, for a failure that no error callback
        hears of, if the message can stay in its queue. Other consumers have no queue, so there
        Doozer's rule holds: acknowledgement callbacks always run. Raises `FatalError`, without
        acknowledging the message, when a postprocessor, an error callback or an acknowledgement
        fails.
        """
        raw_message.started = True
        original = raw_message.message
        decision = await self._process(original)
        if isinstance(decision, Postpone):
            self._postpone(decision, original)
        elif decision:
            await self._acknowledge(original)
        return bool(decision)

    async def _process(self, original: Message) -> Postpone | bool:
        """Do everything but acknowledge; return whether to, or what an error callback postpones."""
        # Callbacks may change it in place, and the original is acknowledged.
        message = copied(original)
        try:
            for preprocess in tuple(self._callbacks["message_preprocessor"]):
                message = await preprocess(self._app, message)
            content = message if self._decode is None else self._decode(message)
            call = self._chain or self._call_handler
            results = await call(content, {})
            with _fatal("A result could not be processed"):
                results = await self._postprocess(results)
            await self._send_on(results, original)
        except Abort as abort:
            self._log_abort(abort)
            return True
        except FatalError:
            raise
        except BaseException as error:
            if ends_task(error):
                raise
            self._app.logger.exception("message.failed", extra={"event": "message.failed"})
            if isinstance(self._app.consumer, QueueConsumer) and not self._callbacks["error"]:
                return False
            return await self._report(message, error)
        return True

    async def _call_handler(self, content: Any, metadata: Any) -> Any:
        return await awaited(await self._callback(self._app, content))

    async def _report(self, message: Message, error: BaseException) -> Postpone | bool:
        try:
            with _fatal("An error callback failed"):
                await self._callbacks["error"].notify(self._app, message, error)
        except Abort as abort:
            self._log_abort(abort)
            return abort if isinstance(abort, Postpone) else True
        return True

    async def _postprocess(self, results: Any) -> list[Any]:
        kept = []
        for result in () if results is None else results:
            try:
                kept.append(await self._callbacks["result_postprocessor"].pipe(self._app, result))
            except Abort as abort:
                self._log_abort(abort)
        return kept

    async def _send_on(self, results: Sequence[Any], original: Message) -> None:
        if (target := self._app.forward_to) is None:
            return
        source = original if isinstance(original, Mapping) else {}
        for position, result in enumerate(results):
            await target.forward(result, source, position)

    async def _acknowledge(self, original: Message) -> None:
        with _fatal("A message could not be acknowledged"):
            await self._callbacks["message_acknowledgement"].notify(self._app, original)

    def _postpone(self, postponement: Postpone, original: Message) -> None:
        async def work() -> None:
            try:
                with _fatal("Postponed work failed"):
                    await postponement.work()
            except Abort as abort:
                self._log_abort(abort)
            await self._acknowledge(original)

        self.provider.postpone(postponement.delay, work)

    def _log_abort(self, abort: Abort) -> None:
        self._app.logger.debug(
            "callback.aborted reason=%s",
            abort.reason,
            extra={"event": "callback.aborted", "reason": abort.reason},
        )


@contextlib.contextmanager
def _fatal(what: str) -> Iterator[None]:
    """Turn any exception but `Abort` into one that ends the service."""
    try:
        yield
    except Abort:
        raise
    except BaseException as error:
        if ends_task(error):
            raise
        raise FatalError(f"{what}: {error!r}") from error
