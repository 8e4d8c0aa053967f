"""Batcher: up to ten items in one request. Sender: messages through it, repeated and in order."""

import asyncio
import contextlib
import contextvars
import itertools
import logging
import math
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from loafer_kit.engine.flow import full_jitter
from loafer_kit.events import current_observers
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.limits import SQS_BATCH_BYTES, SQS_BATCH_SIZE
from loafer_kit.ext.aws.requests import errors
from loafer_kit.ext.aws.requests.errors import RefusedError, TooLargeError
from loafer_kit.ext.aws.requests.transport import confirms_send, unconfirmed
from loafer_kit.logs import log_event

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Requests of one batcher that may be under way at the same time: where a request takes 100 ms,
#: fifty of them carry 5,000 messages a second.
PARALLEL = 64

#: One message as the entry of a batch, without its id; the names and shapes are AWS's.
Entry = dict[str, Any]

#: Sends the entries of one batch and returns AWS's answer; raises `ProviderError`.
Ask = Callable[[list[Entry]], Awaitable[Mapping[str, Any]]]

#: How often a message is sent, and bytes of the messages in hand, unless somebody asks for others.
ATTEMPTS, BUFFER = 10, 16 * 1_048_576

#: Seconds: the first and the longest pause before a message is sent again.
_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0

#: Seconds for which messages are sent again after the service has begun to stop.
_FLUSH_TIME = 10.0

#: Bytes that a message takes in memory besides its own.
_OVERHEAD = 1_024

_NOBODYS_TURN = contextlib.nullcontext()


class Batcher(Generic[Item]):
    """Calls `send` with up to ten items, when there are ten or when the first one is due.

    `linger` is how many seconds an item waits for others. `send` must not raise. Items for which
    `key` returns the same value leave in their order: while one is under way, later ones wait.
    `fits` says how many of the first waiting items one request can carry: ten, unless it is given.
    `ended` is called after each request. A batcher belongs to the running loop.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[None]],
        linger: float,
        *,
        parallel: int = PARALLEL,
        key: Callable[[Item], Hashable] | None = None,
        fits: Callable[[list[Item]], int] | None = None,
        ended: Callable[[], object] | None = None,
    ) -> None:
        self._send = send
        self._linger = linger
        self._parallel = parallel
        self._key = key
        self._fits = fits
        self._ended = ended
        self._items: list[Item] = []
        #: For each key of an item that is under way: the items behind it.
        self._behind: dict[Hashable, list[Item]] = {}
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        #: When the timer fires; uvloop's handles cannot say it for delays below a millisecond.
        self._timer_at = 0.0
        self._sending: dict[asyncio.Task[None], list[Item]] = {}
        self._under_way = 0
        self._loop = asyncio.get_running_loop()
        #: A request carries items of many handlers: it must not see the context of one of them.
        self._context = contextvars.copy_context()

    def add(self, item: Item, latest: float) -> None:
        """Send `item` after the linger at most, and before `latest` on the loop's clock."""
        if self._key is not None:
            behind = self._behind.get(self._key(item))
            if behind is not None:
                behind.append(item)
                return
        items = self._items
        items.append(item)
        if len(items) == 1:
            self._due = min(self._loop.time() + self._linger, latest)
            self._arm()
        elif latest < self._due:
            self._due = latest
            self._arm()
        if len(items) >= SQS_BATCH_SIZE:
            self._send_next()

    @property
    def pending(self) -> int:
        """The number of items that are under way or wait until a request ends.

        Items that wait only for others to share their request are left out.
        """
        pending = self._under_way + sum(map(len, self._behind.values()))
        return pending + len(self._items) if len(self._sending) >= self._parallel else pending

    def items(self) -> list[Item]:
        """Return the items whose requests have not ended; callable in another thread."""
        groups = [self._items, *list(self._sending.values()), *list(self._behind.values())]
        return [item for group in groups for item in list(group)]

    def hurry(self, within: float) -> None:
        """Send the waiting items within so many seconds."""
        due = self._loop.time() + within
        if self._items and due < self._due:
            self._due = due
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            if self._timer_at <= self._due:
                return
            self._timer.cancel()
        self._timer_at = self._due
        self._timer = self._loop.call_at(self._due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if not self._items:
            return
        if self._due > self._loop.time():
            self._arm()
        else:
            self._send_due()

    def _send_due(self) -> None:
        while self._is_due() and len(self._sending) < self._parallel:
            self._send_next()

    def _send_next(self) -> None:
        """Start a request, unless enough are under way: then `_sent` calls again when one ends."""
        if len(self._sending) >= self._parallel:
            return
        count = SQS_BATCH_SIZE if self._fits is None else self._fits(self._items)
        batch, self._items = self._items[:count], self._items[count:]
        if self._key is not None:
            self._hold_back(batch, self._key)
        self._under_way += len(batch)
        task = self._loop.create_task(self._run(batch), context=self._context.copy())
        self._sending[task] = batch
        task.add_done_callback(self._sent)

    def _hold_back(self, batch: list[Item], key: Callable[[Item], Hashable]) -> None:
        """Make waiting and future items wait behind those of the same key in `batch`."""
        self._behind.update((key(item), []) for item in batch)
        waiting, self._items = self._items, []
        for item in waiting:
            self._behind.get(key(item), self._items).append(item)

    async def _run(self, batch: list[Item]) -> None:
        try:
            await self._send(batch)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            log_event(logger, logging.ERROR, "batch.failed", {"size": len(batch)}, exc_info=error)

    def _sent(self, task: asyncio.Task[None]) -> None:
        batch = self._sending.pop(task)
        self._under_way -= len(batch)
        if self._key is not None:
            self._let_follow(batch, self._key)
        self._send_due()
        if self._ended is not None:
            self._ended()

    def _let_follow(self, batch: list[Item], key: Callable[[Item], Hashable]) -> None:
        followers = [follower for item in batch for follower in self._behind.pop(key(item), ())]
        if followers:
            self._items.extend(followers)
            self._due = self._loop.time()

    def _is_due(self) -> bool:
        items = self._items
        return len(items) >= SQS_BATCH_SIZE or bool(items and self._due <= self._loop.time())

    async def flush(self) -> None:
        """Send everything now; return when it was sent."""
        while self._items or self._sending:
            self._due = self._loop.time()
            while self._items and len(self._sending) < self._parallel:
                self._send_next()
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Give up what is waiting or under way."""
        self._items.clear()
        self._behind.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._sending:
            task.cancel()
        if self._sending:
            await asyncio.wait(self._sending)


class GivenUpError(TransientProviderError):
    """A message was sent several times, and AWS confirmed none of them.

    It may be on the queue all the same, if only the answer was lost.
    """


@dataclass(slots=True, eq=False)
class _Outgoing:
    """One attempt to send a message. `result` is cancelled if nobody waits for it any more."""

    entry: Entry
    size: int
    result: "asyncio.Future[Mapping[str, Any] | Exception]"


class Sender:
    """Sends messages through `ask`, up to ten in one request and no more bytes than it may have.

    A message waits `linger` seconds for others. What may pass is repeated with growing pauses, each
    message for itself, up to so many `attempts`. Messages in hand take at most `buffer` bytes: more
    wait. `subject` and `action` name queue and action in errors. A sender belongs to the running
    loop.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        subject: str,
        action: str,
        linger: float,
        attempts: int = ATTEMPTS,
        buffer: int = BUFFER,
        batch_bytes: int = SQS_BATCH_BYTES,
    ) -> None:
        self._ask = ask
        self._subject = subject
        self._action = action
        self._attempts = attempts
        self._loop = asyncio.get_running_loop()
        self._room = Room(buffer)
        self._groups: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        #: Bytes of one request. AWS's refusal of a batch makes them fewer.
        self.batch_bytes = batch_bytes
        self._give_up_at = self._leave_by = math.inf
        # A request carries messages of many handlers: it belongs to the service, not to the handler
        # that sends first.
        context = contextvars.Context()
        context.run(current_observers.set, current_observers.get())
        self._batcher: Batcher[_Outgoing] = context.run(
            lambda: Batcher(self._send, linger, fits=self._fits)
        )

    def turn(self, group: str | None) -> AbstractAsyncContextManager[object]:
        """Wait until no earlier message of a FIFO queue's group is being sent.

        SQS stores some entries of a request and refuses others. To keep the order of a group, its
        next message is sent when SQS has the one before, or when that was given up.
        """
        if group is None:
            return _NOBODYS_TURN
        return self._groups.setdefault(group, asyncio.Lock())

    async def send(
        self, entry: Entry, deadline: Callable[[], float] = lambda: math.inf
    ) -> Mapping[str, Any]:
        """Send a message and return what AWS says of it, with its `MessageId`.

        It is not sent again after the deadline, by the loop's clock. Raises `TooLargeError` or
        `RefusedError` if AWS refuses it, `GivenUpError` after the last attempt, any other
        `ProviderError` if no message can be sent.
        """
        size = size_of(entry)
        if size > SQS_BATCH_BYTES:
            raise TooLargeError(
                f"{self._subject}: the message has {size:,} bytes, attributes included, and AWS "
                f"takes {SQS_BATCH_BYTES:,} at most: send less, or use a ClaimCheck."
            )
        await self._room.take(size + _OVERHEAD)
        try:
            return await self._repeat(entry, size, deadline)
        finally:
            self._room.give_back(size + _OVERHEAD)

    async def _repeat(
        self, entry: Entry, size: int, deadline: Callable[[], float]
    ) -> Mapping[str, Any]:
        for attempt in itertools.count(1):
            outgoing = _Outgoing(entry, size, self._loop.create_future())
            self._batcher.add(outgoing, self._leave_by)
            result = await outgoing.result
            if not isinstance(result, Exception):
                return result
            if not isinstance(result, TransientProviderError):
                raise result
            pause = full_jitter(attempt - 1, base=_BACKOFF, cap=_LONGEST_BACKOFF)
            pause = max(pause, result.retry_after or 0.0)
            end = min(deadline(), self._give_up_at)
            if attempt >= self._attempts or self._loop.time() + pause >= end:
                raise GivenUpError(
                    f"{result}; given up after attempt {attempt}", retry_after=result.retry_after
                ) from result
            await asyncio.sleep(pause)
        raise AssertionError

    def hurry(self) -> None:
        """Let nothing wait for others any more, and repeat nothing after ten more seconds."""
        self._leave_by = self._loop.time()
        self._give_up_at = self._leave_by + _FLUSH_TIME
        self._batcher.hurry(0)

    async def close(self) -> None:
        """Cancel the requests that nobody waits for."""
        await self._batcher.close()

    def _fits(self, waiting: Sequence[_Outgoing]) -> int:
        """Return how many of the first messages one request can carry."""
        size = 0
        for count, outgoing in enumerate(waiting[:SQS_BATCH_SIZE]):
            size += outgoing.size
            if count and size > self.batch_bytes:
                return count
        return min(len(waiting), SQS_BATCH_SIZE)

    async def _send(self, batch: list[_Outgoing]) -> None:
        batch = [outgoing for outgoing in batch if not outgoing.result.done()]
        if not batch:
            return
        entries = [{**outgoing.entry, "Id": str(n)} for n, outgoing in enumerate(batch)]
        try:
            answer = await self._ask(entries)
        except Exception as error:  # noqa: BLE001 - the senders raise it
            await self._on_failure(batch, error)
            return
        failures = unconfirmed(entries, answer, confirms_send)
        for failure in failures:
            _end(batch[int(failure["Id"])], self._error(failure))
        if failures:
            self._log(self._error(failures[0]), len(failures))
        failed = {failure["Id"] for failure in failures}
        shared = {name: answer[name] for name in ("ResponseMetadata",) if name in answer}
        for success in answer.get("Successful") or ():
            if success["Id"] not in failed:
                _end(batch[int(success["Id"])], {**success, **shared})

    async def _on_failure(self, batch: list[_Outgoing], error: Exception) -> None:
        """End the messages of a request that failed; send each alone if one may be to blame."""
        if isinstance(error, ProviderError) and not isinstance(error, RefusedError):
            self._log(error, len(batch))
        elif len(batch) > 1:
            if isinstance(error, TooLargeError):
                sizes = [outgoing.size for outgoing in batch]
                self.batch_bytes = min(self.batch_bytes, max(*sizes, sum(sizes) // 2))
            await asyncio.gather(*(self._send([outgoing]) for outgoing in batch))
            return
        for outgoing in batch:
            _end(outgoing, error)

    def _error(self, failure: errors.BatchEntryFailure) -> ProviderError:
        return errors.from_code(
            failure["Code"],
            failure["Message"],
            400 if failure["SenderFault"] else 500,
            action=self._action,
            subject=self._subject,
        )

    def _log(self, error: ProviderError, messages: int) -> None:
        log_event(logger, logging.WARNING, "publish.failed", {"messages": messages}, str(error))


def _end(outgoing: _Outgoing, result: Mapping[str, Any] | Exception) -> None:
    if not outgoing.result.done():
        outgoing.result.set_result(result)


def size_of(entry: Entry) -> int:
    """Return the bytes that AWS counts: the body, and names, types and values of attributes."""
    size = _bytes(entry.get("MessageBody") or entry.get("Message") or "")
    for name, attribute in (entry.get("MessageAttributes") or {}).items():
        size += _bytes(name) + sum(map(_bytes, attribute.values()))
    return size


def _bytes(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
    return len(value) if isinstance(value, bytes | bytearray) else 0


class Room:
    """Bytes for the messages in hand; who waits longest gets them first."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Wait for so many bytes; more than there are may be taken by one message alone."""
        if not self._waiting and self._has(size):
            self._free -= size
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, granted))
        try:
            await granted
        except asyncio.CancelledError:
            # Also without bytes of its own: others may have waited behind this one.
            self.give_back(0 if granted.cancelled() else size)
            raise

    def give_back(self, size: int) -> None:
        """Return bytes, and let those pass who waited for them."""
        self._free += size
        while self._waiting:
            wanted, granted = self._waiting[0]
            if not granted.cancelled():
                if not self._has(wanted):
                    return
                self._free -= wanted
                granted.set_result(None)
            self._waiting.popleft()

    def _has(self, size: int) -> bool:
        return size <= self._free or self._free == self._size
