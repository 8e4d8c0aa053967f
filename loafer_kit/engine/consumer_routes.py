"""An Application's callbacks, seen as the engine's route."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from loafer_kit.engine.callbacks import CallbackList
from loafer_kit.engine.consumers import ConsumerProvider, Postpone, Reading
from loafer_kit.exceptions import Abort, FatalError
from loafer_kit.routes import Route
from loafer_kit.types import Callback, Message


class ConsumingService(Protocol):
    """What a `ConsumerRoute` needs of an Application."""

    name: str
    logger: logging.Logger
    consumer: Any
    callback: Any
    callbacks: Mapping[str, CallbackList]


class ConsumerRoute(Route):
    """Takes each message through an Application's callbacks, in one of its workers."""

    provider: ConsumerProvider
    _content_position = 1  # callback(app, message)

    def __init__(self, app: ConsumingService, num_workers: int) -> None:
        provider = ConsumerProvider(app.consumer, app.logger, self.deliver)
        super().__init__(provider, app.callback, app.name, concurrency=num_workers, prefetch=0)
        self._app = app
        self._callback: Callback = app.callback
        self._callbacks = app.callbacks

    async def deliver(self, raw_message: Reading) -> bool:
        """Preprocess, decode, call back, postprocess, acknowledge.

        Raises `FatalError` when a postprocessor, an error callback or an acknowledgement crashes:
        the message is then not acknowledged.
        """
        raw_message.started = True
        original = raw_message.message
        postponement = await self._process(original)
        if postponement is None:
            await self._acknowledge(original)
        else:
            self._postpone(postponement, original)
        return True

    async def _process(self, message: Message) -> Postpone | None:
        """Do everything but acknowledge; return what an error callback wants to be done later."""
        try:
            for preprocess in tuple(self._callbacks["message_preprocessor"]):
                message = await preprocess(self._app, message)
            content = message if self._decode is None else self._decode(message)
            results = await self._callback(self._app, content)
        except Abort as abort:
            self._log_abort(abort)
            return None
        except Exception as error:
            self._app.logger.exception("message.failed")
            return await self._report(message, error)
        with _fatal("A result could not be processed"):
            await self._postprocess(results)
        return None

    async def _report(self, message: Message, error: Exception) -> Postpone | None:
        try:
            with _fatal("An error callback failed"):
                await self._callbacks["error"].notify(self._app, message, error)
        except Abort as abort:
            self._log_abort(abort)
            return abort if isinstance(abort, Postpone) else None
        return None

    async def _postprocess(self, results: Any) -> None:
        for result in () if results is None else results:
            try:
                await self._callbacks["result_postprocessor"].pipe(self._app, result)
            except Abort as abort:
                self._log_abort(abort)

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
        self._app.logger.debug("callback.aborted reason=%s", abort.reason)


@contextlib.contextmanager
def _fatal(what: str) -> Iterator[None]:
    """Make any exception but `Abort` one that ends the service."""
    try:
        yield
    except Abort:
        raise
    except Exception as error:
        raise FatalError(f"{what}: {error}") from error
