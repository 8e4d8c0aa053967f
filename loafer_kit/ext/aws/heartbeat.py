"""Heartbeat: extends the leases of one queue before they are over."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

from loafer_kit.engine.flow import full_jitter
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.leases import Lease, LeaseTable
from loafer_kit.ext.aws.limits import SQS_BATCH_SIZE
from loafer_kit.ext.aws.requests.errors import BatchEntryFailure, judge_entry
from loafer_kit.ext.aws.requests.transport import BlockingQueue, Queue
from loafer_kit.ext.aws.watchdog import Clock, VisibilityLock

logger = logging.getLogger(__name__)

#: Seconds: the first and the longest pause before an extension is tried again.
_BACKOFF, _LONGEST_BACKOFF = 0.1, 2.0


class Heartbeat:
    """Extends the leases of one queue in one task, which sleeps until leases are past half.

    Calls `lost(lease)` for a lease that ended or was refused. `visibility_lock` is shared with the
    settlement, so that an extension under way cannot overtake a later change of the same message.

    While the loop is blocked, the watchdog's thread calls `extend_in_thread`, which sends requests
    by `blocking_queue`. It also keeps the leases that `undeleted()` returns: their handlers have
    ended, but their deletions wait for the loop. `sent(leases, error)` is called in the loop after
    each request.
    """

    def __init__(
        self,
        queue: Queue,
        leases: LeaseTable,
        *,
        blocking_queue: BlockingQueue,
        visibility_lock: VisibilityLock,
        lost: Callable[[Lease], None],
        undeleted: Callable[[], Iterable[Lease]],
        clock: Clock,
        sent: Callable[[Sequence[Lease], ProviderError | None], None],
    ) -> None:
        self._queue = queue
        self._sent = sent
        self._leases = leases
        self._blocking_queue = blocking_queue
        self._visibility_lock = visibility_lock
        self._lost = lost
        self._undeleted = undeleted
        self._clock = clock
        self._arrived = asyncio.Event()
        self._failures = 0
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name=f"heartbeat {queue.name}")

    def messages_arrived(self) -> None:
        """Wake the heartbeat: there are leases to extend."""
        self._arrived.set()

    async def close(self) -> None:
        """Stop extending leases."""
        self._task.cancel()
        await asyncio.wait([self._task])

    @property
    def timeout(self) -> float:
        """The visibility timeout in seconds."""
        return self._leases.timeout

    def extend_in_thread(self) -> None:
        """Extend the leases past half their time; called in another thread than the loop's."""
        with self._visibility_lock.in_thread():
            now = self._clock()
            extensions = self._leases.in_thread(self._undeleted(), now)
            for start in range(0, len(extensions), SQS_BATCH_SIZE):
                self._extend_now(extensions[start : start + SQS_BATCH_SIZE])

    def _extend_now(self, extensions: Sequence[tuple[Lease, int]]) -> None:
        now = self._clock()
        timeouts = [(lease.receipt_handle, seconds) for lease, seconds in extensions]
        try:
            failures = self._blocking_queue.change_visibility(timeouts)
        except ProviderError as error:
            self._sent_in_thread(extensions, error)
            logger.warning(
                "heartbeat.delayed queue=%s messages=%d: the event loop is blocked; %s",
                self._queue.name,
                len(extensions),
                error,
                extra=self._fields("heartbeat.delayed", extensions),
            )
            return
        self._sent_in_thread(extensions, None)
        failed = {int(failure["Id"]) for failure in failures}
        for position, (lease, seconds) in enumerate(extensions):
            if position not in failed and lease.receipt_handle == timeouts[position][0]:
                # At once: a handler that is about to start looks at it.
                lease.deadline = max(lease.deadline, now + seconds)

    def _sent_in_thread(
        self, extensions: Sequence[tuple[Lease, int]], error: ProviderError | None
    ) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            leases = [lease for lease, _ in extensions]
            self._loop.call_soon_threadsafe(self._sent, leases, error)

    def _fields(self, event: str, extensions: Sequence[tuple[Lease, int]]) -> dict[str, object]:
        ids = [lease.message_id for lease, _ in extensions]
        return {"event": event, "queue": self._queue.name, "message_ids": ids}

    async def _run(self) -> None:
        while True:
            self._arrived.clear()
            look = self._leases.next_look()
            if look is None:
                await self._arrived.wait()
                continue
            await asyncio.sleep(max(0.0, look - self._clock()))
            try:
                await self._beat()
            except Exception:
                logger.exception(
                    "heartbeat.failed queue=%s",
                    self._queue.name,
                    extra={"event": "heartbeat.failed", "queue": self._queue.name},
                )
                await asyncio.sleep(_LONGEST_BACKOFF)

    async def _beat(self) -> None:
        async with self._visibility_lock:
            now = self._clock()
            due, lost = self._leases.due(now)
            for lease in lost:
                self._lost(lease)
            extensions = [(lease, self._leases.extension(lease, now)) for lease in due]
            for lease, seconds in extensions:
                if not seconds:
                    self._end(lease)
            extensions = [(lease, seconds) for lease, seconds in extensions if seconds]
            await asyncio.gather(
                *(
                    self._extend(extensions[start : start + SQS_BATCH_SIZE], now)
                    for start in range(0, len(extensions), SQS_BATCH_SIZE)
                )
            )

    def _end(self, lease: Lease) -> None:
        self._leases.end(lease)
        self._queue.log(
            logger,
            logging.WARNING,
            "message.extended_no_more",
            lease.message_id,
            "its processing time is used up",
        )

    async def _extend(self, extensions: Sequence[tuple[Lease, int]], now: float) -> None:
        timeouts = [(lease.receipt_handle, seconds) for lease, seconds in extensions]
        try:
            failures = await self._queue.change_visibility(timeouts)
        except TransientProviderError as error:
            leases = [lease for lease, _ in extensions]
            self._sent(leases, error)
            self._try_again(leases, str(error))
            return
        except ProviderError as error:
            self._sent([lease for lease, _ in extensions], error)
            for lease, _ in extensions:
                self._leases.end(lease)
            logger.error(  # noqa: TRY400 - one line says it
                "heartbeat.refused queue=%s messages=%d: %s",
                self._queue.name,
                len(extensions),
                error,
                extra=self._fields("heartbeat.refused", extensions),
            )
            return
        self._sent([lease for lease, _ in extensions], None)
        # A message that was settled or redelivered during the request is left out: the answer is
        # about a receipt handle that no longer counts.
        self._record(
            [
                (position, lease, seconds)
                for position, (lease, seconds) in enumerate(extensions)
                if self._leases.holds(lease) and lease.receipt_handle == timeouts[position][0]
            ],
            failures,
            now,
        )

    def _record(
        self,
        extensions: Sequence[tuple[int, Lease, int]],
        failures: Sequence[BatchEntryFailure],
        now: float,
    ) -> None:
        verdicts = {int(failure["Id"]): judge_entry(failure) for failure in failures}
        again: list[Lease] = []
        for position, lease, seconds in extensions:
            match verdicts.get(position):
                case None:
                    self._leases.extended(lease, now, seconds)
                case "lease lost":
                    self._leases.mark_lost(lease)
                    self._lost(lease)
                case "final":
                    self._end(lease)
                case "transient":
                    again.append(lease)
        if again:
            self._try_again(again, failures[0]["Code"])
        else:
            self._failures = 0

    def _try_again(self, leases: Sequence[Lease], reason: str) -> None:
        pause = full_jitter(self._failures, base=_BACKOFF, cap=_LONGEST_BACKOFF)
        self._failures += 1
        logger.warning(
            "heartbeat.delayed queue=%s messages=%d retry_in=%.1fs: %s",
            self._queue.name,
            len(leases),
            pause,
            reason,
            extra={
                "event": "heartbeat.delayed",
                "queue": self._queue.name,
                "message_ids": [lease.message_id for lease in leases],
                "retry_in": pause,
            },
        )
        self._leases.look_again(leases, self._clock() + pause)
