"""An Application's consumer, seen as the engine's provider."""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any

from loafer_kit.exceptions import (
    Abort,
    ConsumerError,
    FatalError,
    SourceExhausted,
    TransientProviderError,
)
from loafer_kit.outcomes import Outcome, Retry
from loafer_kit.providers import AbstractProvider
from loafer_kit.types import Consumer, Message

#: Seconds that postponed work gets when the service stops.
_FLUSH_GRACE = 25.0


class QueueConsumer(ABC):
    """A consumer that works closer with the engine than one that only has `read()`."""

    @abstractmethod
    async def read(self) -> Message:
        """Return the next message; raise `Abort` when there will be none."""

    @abstractmethod
    def stop_reading(self) -> None:
        """Let an open `read()` abort soon. Without this it is cancelled when the service stops."""

    def order_key(self, message: Message) -> Hashable | None:
        """Return what messages that must be handled one after another have in common."""
        return None

    def describe(self, message: Message) -> Mapping[str, object]:
        """Return what a log line about `message` names."""
        return {}


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


class Reading:
    """One message as it was read: two readings differ even when they hold the same object."""

    __slots__ = ("message", "started")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.started = False

    def __repr__(self) -> str:
        return repr(self.message)


class ConsumerProvider(AbstractProvider):
    """Reads one message at a time, whenever a worker is free for it.

    Acknowledging is the route's business: it belongs to the worker that handled the message.
    """

    def __init__(
        self,
        consumer: Consumer,
        logger: logging.Logger,
        deliver: Callable[[Reading], Awaitable[object]],
    ) -> None:
        self._consumer = consumer
        self._logger = logger
        self._deliver = deliver
        self._reader: asyncio.Task[Any] | None = None
        self._postponed: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()
        self._failure: BaseException | None = None

    async def fetch_messages(self) -> Sequence[Reading]:
        """Return what one `read()` gives; its `Abort` ends the route cleanly."""
        if self._failure is not None:
            raise self._failure
        self._reader = asyncio.current_task()
        try:
            return [Reading(await self._consumer.read())]
        except Abort as abort:
            self._logger.debug("consumer.aborted reason=%s", abort.reason)
            raise SourceExhausted from abort
        except TransientProviderError:
            raise
        except asyncio.CancelledError:
            if self._failure is not None:
                raise self._failure from None
            raise
        except Exception as error:
            self._logger.exception("consumer.failed")
            raise ConsumerError(f"The consumer failed: {type(error).__name__}: {error}") from error
        finally:
            self._reader = None

    def stop(self) -> None:
        """Have the open `read()` return: by a `QueueConsumer`'s own means, or by cancelling it."""
        if isinstance(self._consumer, QueueConsumer):
            self._consumer.stop_reading()
        elif self._reader is not None:
            self._reader.cancel()

    def order_key(self, message: Reading) -> Hashable | None:
        """Return the order key of a `QueueConsumer`'s message."""
        if isinstance(self._consumer, QueueConsumer):
            return self._consumer.order_key(message.message)
        return None

    def describe(self, message: Reading) -> Mapping[str, object]:
        """Return what a `QueueConsumer` says about its message."""
        if isinstance(self._consumer, QueueConsumer):
            return self._consumer.describe(message.message)
        return {}

    async def confirm_message(self, message: Reading) -> None:
        """Do nothing: the acknowledgement callbacks have run."""

    async def settle(self, message: Reading, outcome: Outcome) -> None:
        """Finish a message that was read while the service began to stop: it cannot go back."""
        if isinstance(outcome, Retry) and not message.started:
            try:
                await self._deliver(message)
            except FatalError as error:
                self._fail(error.__cause__ or error)

    def postpone(self, delay: float, work: Callable[[], Awaitable[object]]) -> None:
        """Await `work` after `delay` seconds, or as soon as the service stops."""
        task = asyncio.create_task(self._work_later(delay, work))
        self._postponed.add(task)
        task.add_done_callback(self._postponed.discard)

    async def flush(self) -> None:
        """Finish what was postponed; raise what failed meanwhile."""
        self._ending.set()
        if self._postponed:
            _, late = await asyncio.wait(self._postponed, timeout=_FLUSH_GRACE)
            for task in late:
                self._logger.warning("postponed.cancelled: still at work after %gs", _FLUSH_GRACE)
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
            self._fail(error.__cause__ or error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        if self._reader is not None:
            self._reader.cancel()
