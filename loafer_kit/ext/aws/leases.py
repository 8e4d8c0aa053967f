"""Leases: the messages of one queue that this process holds, and the heartbeat that extends them.

SQS leases a message to the consumer that receives it: it is hidden from others until its visibility
timeout is over.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit.engine.flow import full_jitter
from loafer_kit.events import Settlement as Settled
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.limits import SQS_BATCH_SIZE, SQS_LONGEST_VISIBILITY
from loafer_kit.ext.aws.requests.errors import EntryVerdict, judge_entry
from loafer_kit.ext.aws.requests.transport import BlockingQueue, Queue
from loafer_kit.ext.aws.watchdog import Clock, VisibilityLock
from loafer_kit.logs import log_event
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: A lease is looked at when this part of it is over, and extended if it is past half of it. Work
#: that takes less than half the visibility timeout so costs no request, and looking a little after
#: the half lets leases that began one after another share one.
_LOOK_AT = 0.6
_HALF = 0.5

#: Seconds: SQS counts its twelve hours from the receive on its side, a little earlier than ours.
_MARGIN = 10.0

#: Seconds: the first and the longest pause before an extension is tried again.
_BACKOFF, _LONGEST_BACKOFF = 0.1, 2.0


@dataclass(slots=True)
class Lease:
    """One delivery. Times are those of the watchdog's clock."""

    message_id: str
    receipt_handle: str
    message: Message
    first_received_at: float
    received_at: float
    deadline: float
    look_at: float
    #: It is not extended again and ends at its deadline.
    final: bool = False
    #: It ended, or SQS refused its handle: another consumer may have the message.
    lost: bool = False
    #: What the deletion of the message means; None: nothing, the message was settled before.
    deleted_as: Settled | None = "acknowledged"

    def visibility_left(self, now: float) -> int:
        """Return the whole seconds that SQS can still hide the message."""
        return max(0, int(SQS_LONGEST_VISIBILITY - _MARGIN - (now - self.received_at)))


class RecentIds:
    """Remembers the last ids that were added: at least `capacity`, at most twice as many.

    Two sets that take turns cost less than one ordered by age.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._newer: set[str] = set()
        self._older: set[str] = set()

    def __contains__(self, item: str) -> bool:
        return item in self._newer or item in self._older

    def add(self, item: str) -> None:
        """Remember `item`."""
        self._newer.add(item)
        if len(self._newer) >= self._capacity:
            self._newer, self._older = set(), self._newer


class LeaseTable:
    """Leases by message id, ordered by when to look at them. The caller says what time it is.

    Extended and renewed leases move to the end. All visibility timeouts of a queue are equal, so
    the order holds and a look visits only what is due; exceptions are kept apart in `_final`.
    """

    def __init__(self, timeout: int, *, extend: bool, longest: float | None = None) -> None:
        self.timeout = timeout
        self._extend = extend
        self._longest = min(longest or SQS_LONGEST_VISIBILITY, SQS_LONGEST_VISIBILITY)
        self._leases: dict[str, Lease] = {}
        self._final: dict[str, Lease] = {}
        #: Messages that were processed, also those whose deletion failed.
        self.processed = RecentIds()

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._leases

    def accept(
        self, messages: Iterable[dict[str, Any]], now: float
    ) -> tuple[list[Message], list[Lease]]:
        """Record a receive; return the messages to handle, and the leases of those to delete.

        SQS delivers at least once. A message that is still in hand is not handled a second time:
        its newer receipt handle replaces the older one, which SQS may not accept now. A message that
        was processed before, but whose deletion did not arrive, is deleted by its new handle.
        """
        fresh: list[Message] = []
        processed: list[Lease] = []
        timeout = self.timeout
        deadline = now + timeout
        look_at = now + timeout * _LOOK_AT if self._extend else deadline
        for message in messages:
            message_id = message["MessageId"]
            lease = self._leases.pop(message_id, None)
            if lease is not None:
                self._renew(lease, message["ReceiptHandle"], now)
                continue
            lease = Lease(
                message_id, message["ReceiptHandle"], message, now, now, deadline, look_at
            )
            if message_id in self.processed:
                processed.append(lease)
            else:
                self._leases[message_id] = lease
                fresh.append(message)
        return fresh, processed

    def _renew(self, lease: Lease, receipt_handle: str, now: float) -> None:
        lease.receipt_handle = receipt_handle
        lease.received_at = now
        lease.lost = False
        self._final.pop(lease.message_id, None)
        lease.final = False
        self._append(lease, now, self.timeout)

    def _append(self, lease: Lease, now: float, seconds: float) -> None:
        lease.deadline = now + seconds
        lease.look_at = now + seconds * _LOOK_AT if self._extend else lease.deadline
        self._leases[lease.message_id] = lease

    def get(self, message: Message) -> Lease | None:
        """Return the lease of a message in hand; None for another delivery of the same message."""
        lease = self._leases.get(message["MessageId"])
        return lease if lease is not None and lease.message is message else None

    def holds(self, lease: Lease) -> bool:
        """Return whether a lease has neither been settled nor forgotten."""
        return self._leases.get(lease.message_id) is lease

    def take(self, message: Message) -> Lease | None:
        """Remove and return the lease of a message in hand."""
        lease = self.get(message)
        if lease is not None:
            del self._leases[lease.message_id]
            if lease.final:
                self._final.pop(lease.message_id, None)
        return lease

    def next_look(self) -> float | None:
        """Return when to call `due` again; None while nothing is in hand."""
        times = [lease.deadline for lease in self._final.values() if not lease.lost]
        for lease in self._leases.values():
            if not lease.final and not lease.lost:
                times.append(lease.look_at)
                break
        return min(times, default=None)

    def due(self, now: float) -> tuple[list[Lease], list[Lease]]:
        """Return the leases to extend (past half their time), and those that have ended.

        The ended ones are marked as lost.
        """
        extend: list[Lease] = []
        lost = [lease for lease in self._final.values() if not lease.lost and lease.deadline <= now]
        slack = self.timeout * (_LOOK_AT - _HALF) if self._extend else 0.0
        for lease in self._leases.values():
            if lease.final or lease.lost:
                continue
            if lease.look_at - slack > now:
                break
            (extend if lease.deadline > now else lost).append(lease)
        for lease in lost:
            self.mark_lost(lease)
        return extend, lost

    def extension(self, lease: Lease, now: float) -> int:
        """Return the visibility timeout that extends a lease; 0 if its time is used up."""
        left = int(self._longest - (now - lease.first_received_at))
        return max(0, min(self.timeout, left, lease.visibility_left(now)))

    def in_thread(self, others: Iterable[Lease], now: float) -> list[tuple[Lease, int]]:
        """Return the leases in hand, and of `others`, that are past half, with their extensions.

        For another thread, while the loop may run: it changes nothing.
        """
        if not self._extend:
            return []
        half = self.timeout * _HALF
        return [
            (lease, seconds)
            for lease in (*list(self._leases.values()), *others)
            if not (lease.final or lease.lost)
            and now < lease.deadline <= now + half
            and (seconds := self.extension(lease, now))
        ]

    def extended(self, lease: Lease, now: float, seconds: int) -> None:
        """Record that SQS hides the message for `seconds` from `now`."""
        if not self.holds(lease):
            return
        del self._leases[lease.message_id]
        later = lease.deadline  # the watchdog may have extended it meanwhile
        self._append(lease, now, seconds)
        lease.deadline = max(lease.deadline, later)
        if seconds < self.timeout:
            self.end(lease)

    def end(self, lease: Lease) -> None:
        """Let a lease end at its deadline."""
        lease.final = True
        self._final[lease.message_id] = lease

    def mark_lost(self, lease: Lease) -> None:
        """Record that another consumer may have the message."""
        lease.lost = True
        if lease.final:
            self._final.pop(lease.message_id, None)


#: Leases with the visibility timeouts that extend them.
_Extensions = Sequence[tuple[Lease, int]]


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
        self._leases = leases
        self._blocking_queue = blocking_queue
        self._visibility_lock = visibility_lock
        self._lost = lost
        self._undeleted = undeleted
        self._clock = clock
        self._sent = sent
        self._arrived = asyncio.Event()
        self._failures = 0
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name=f"heartbeat {queue.name}")

    def messages_arrived(self) -> None:
        """Wake the heartbeat: there are leases to extend."""
        self._arrived.set()

    async def close(self) -> None:
        """Stop extending leases, and close the blocking queue's connections."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._blocking_queue.close()

    def extend_in_thread(self) -> None:
        """Extend the leases past half their time; called in another thread than the loop's."""
        with self._visibility_lock.in_thread():
            for batch in _batches(self._leases.in_thread(self._undeleted(), self._clock())):
                self._extend_now(batch)

    def _extend_now(self, extensions: _Extensions) -> None:
        now = self._clock()
        leases = [lease for lease, _ in extensions]
        timeouts = [(lease.receipt_handle, seconds) for lease, seconds in extensions]
        refused: ProviderError | None = None
        try:
            failures = self._blocking_queue.change_visibility(timeouts)
        except ProviderError as error:
            refused = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._sent, leases, refused)
        if refused is not None:
            self._log("heartbeat.delayed", leases, f"the event loop is blocked; {refused}")
            return
        failed = {int(failure["Id"]) for failure in failures}
        for position, (lease, seconds) in enumerate(extensions):
            if position not in failed and lease.receipt_handle == timeouts[position][0]:
                # At once: a handler that is about to start looks at it.
                lease.deadline = max(lease.deadline, now + seconds)

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
            except Exception as error:  # noqa: BLE001 - the leases of all others still count
                queue = self._queue.name
                log_event(
                    logger, logging.ERROR, "heartbeat.failed", {"queue": queue}, exc_info=error
                )
                await asyncio.sleep(_LONGEST_BACKOFF)

    async def _beat(self) -> None:
        async with self._visibility_lock:
            now = self._clock()
            due, lost = self._leases.due(now)
            for lease in lost:
                self._lost(lease)
            extensions = []
            for lease in due:
                if seconds := self._leases.extension(lease, now):
                    extensions.append((lease, seconds))
                else:
                    self._end(lease)
            await asyncio.gather(*(self._extend(batch, now) for batch in _batches(extensions)))

    def _end(self, lease: Lease) -> None:
        self._leases.end(lease)
        facts = {"queue": self._queue.name, "message_id": lease.message_id}
        text = "it is kept hidden no longer, so another consumer may get it"
        log_event(logger, logging.WARNING, "message.extended_no_more", facts, text)

    async def _extend(self, extensions: _Extensions, now: float) -> None:
        leases = [lease for lease, _ in extensions]
        timeouts = [(lease.receipt_handle, seconds) for lease, seconds in extensions]
        try:
            failures = await self._queue.change_visibility(timeouts)
        except TransientProviderError as error:
            self._sent(leases, error)
            self._try_again(leases, str(error))
            return
        except ProviderError as error:
            self._sent(leases, error)
            for lease in leases:
                self._leases.end(lease)
            self._log("heartbeat.refused", leases, str(error), level=logging.ERROR)
            return
        self._sent(leases, None)
        verdicts = {failure["Id"]: judge_entry(failure) for failure in failures}
        again = []
        for position, (lease, seconds) in enumerate(extensions):
            # After a settlement or a redelivery during the request, its answer is about a receipt
            # handle that no longer counts.
            if not self._leases.holds(lease) or lease.receipt_handle != timeouts[position][0]:
                continue
            if not self._take_answer(lease, verdicts.get(str(position)), now, seconds):
                again.append(lease)
        if again:
            self._try_again(again, failures[0]["Code"])
        else:
            self._failures = 0

    def _take_answer(
        self, lease: Lease, verdict: EntryVerdict | None, now: float, seconds: int
    ) -> bool:
        """Record the answer about one lease; return False if the request may be repeated."""
        match verdict:
            case None:
                self._leases.extended(lease, now, seconds)
            case "lease lost":
                self._leases.mark_lost(lease)
                self._lost(lease)
            case "final":
                self._end(lease)
        return verdict != "transient"

    def _try_again(self, leases: Sequence[Lease], reason: str) -> None:
        pause = full_jitter(self._failures, base=_BACKOFF, cap=_LONGEST_BACKOFF)
        self._failures += 1
        self._log("heartbeat.delayed", leases, reason, retry_in=pause)
        look_at = self._clock() + pause
        for lease in leases:  # they stay first in the order, where they delay others for a moment
            lease.look_at = look_at

    def _log(
        self,
        event: str,
        leases: Sequence[Lease],
        text: str,
        level: int = logging.WARNING,
        **facts: object,
    ) -> None:
        ids = [lease.message_id for lease in leases]
        log_event(
            logger, level, event, {"queue": self._queue.name, "message_ids": ids, **facts}, text
        )


def _batches(extensions: _Extensions) -> list[_Extensions]:
    starts = range(0, len(extensions), SQS_BATCH_SIZE)
    return [extensions[start : start + SQS_BATCH_SIZE] for start in starts]
