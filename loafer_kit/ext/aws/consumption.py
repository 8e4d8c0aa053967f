"""QueueSession: one queue while it is consumed, from the receive of a message to its settlement."""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from loafer_kit.engine.backoff import full_jitter
from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws.dead_letters import DeadLetterQueue
from loafer_kit.ext.aws.heartbeat import Heartbeat
from loafer_kit.ext.aws.in_flight import InFlightWatch
from loafer_kit.ext.aws.leases import Lease, LeaseTable, RecentIds
from loafer_kit.ext.aws.options import SQSOptions
from loafer_kit.ext.aws.receiving import Receiver
from loafer_kit.ext.aws.settlement import FLUSH_TIME, Settlement
from loafer_kit.ext.aws.transport import SQSTransport
from loafer_kit.outcomes import Acknowledge, DeadLetter, Outcome, Retry
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Seconds: deletions of a message group that is done leave sooner, since SQS blocks the group.
_GROUP_DONE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumedQueue:
    """What is known about a queue once it was found."""

    name: str
    url: str
    fifo: bool
    visibility_timeout: int
    receive_parameters: dict[str, Any]
    options: SQSOptions


class QueueSession:
    """Receives, keeps leases, settles; belongs to the running loop."""

    def __init__(
        self,
        queue: ConsumedQueue,
        transport: SQSTransport,
        dead_letters: DeadLetterQueue | None,
        lost: Callable[[Message], None],
    ) -> None:
        options = queue.options
        self._queue = queue
        self._dead_letters = dead_letters
        self._notify_lost = lost
        self._loop = asyncio.get_running_loop()
        self._leases = LeaseTable(
            queue.visibility_timeout, extend=options.heartbeat, longest=options.max_processing_time
        )
        visibility_lock = asyncio.Lock()
        self._receiver = Receiver(queue.url, transport, queue.receive_parameters, fifo=queue.fifo)
        self._settlement = Settlement(
            queue.name,
            queue.url,
            transport,
            linger=options.linger,
            fifo=queue.fifo,
            visibility_lock=visibility_lock,
            is_in_hand=self._leases.__contains__,
        )
        self._heartbeat = Heartbeat(
            queue.name,
            queue.url,
            transport,
            self._leases,
            visibility_lock=visibility_lock,
            lost=self._on_lost,
        )
        self._in_flight = InFlightWatch(queue.name, queue.url, transport)
        self._groups: Counter[str] = Counter()
        self._lost_ids = RecentIds()
        self._rejected_in_vain = RecentIds()
        self._tasks: set[asyncio.Task[None]] = set()

    async def receive(self, limit: int) -> list[Message]:
        """Return up to `limit` messages that are not in hand yet and were not processed before."""
        received = await self._receiver.receive(limit)
        self._in_flight.received(len(received))
        if not received:
            return received
        messages, processed = self._leases.accept(received, self._loop.time())
        self._heartbeat.messages_arrived()
        if self._queue.fifo:
            self._groups.update(map(group_of, messages))
        for lease in processed:
            self._log("message.deleted_again", lease.message_id, "it was processed before")
            await self._settlement.delete(lease)
        return messages

    async def settle(self, message: Message, outcome: Outcome) -> None:
        """Carry out an outcome; returns before SQS was told."""
        if isinstance(outcome, DeadLetter):
            self._reject(message, outcome.reason)
            return
        lease = self._take(message)
        if isinstance(outcome, Acknowledge):
            self._leases.remember_processed(lease.message_id)
            if not lease.lost:
                await self._settlement.delete(lease)
        elif isinstance(outcome, Retry) and not lease.lost:
            await self._settlement.change_visibility(lease, self._delay(lease, outcome.delay))
        if self._queue.fifo:
            self._leave_group(message)

    def _take(self, message: Message) -> Lease:
        lease = self._leases.take(message)
        if lease is not None:
            return lease
        # Not in hand: lost before, or received by somebody else who asks for its settlement.
        now = self._loop.time()
        timeout = self._queue.visibility_timeout
        lease = Lease(
            message["MessageId"], message["ReceiptHandle"], message, now, now, now + timeout, now
        )
        lease.lost = lease.message_id in self._lost_ids
        return lease

    def _delay(self, lease: Lease, delay: float | None) -> int:
        if delay is None:
            options = self._queue.options
            attempt = receive_count(lease.message) - 1
            delay = full_jitter(attempt, base=options.retry_delay, cap=options.retry_delay_cap)
        return min(math.ceil(delay), lease.visibility_left(self._loop.time()))

    def _leave_group(self, message: Message) -> None:
        group = group_of(message)
        self._groups[group] -= 1
        if self._groups[group] <= 0:
            del self._groups[group]
            self._settlement.hurry(_GROUP_DONE)

    def _reject(self, message: Message, reason: str) -> None:
        if self._dead_letters is not None:
            self._start(self._send_dead_letter(self._dead_letters, message, reason))
            return
        message_id = message["MessageId"]
        if message_id not in self._rejected_in_vain:
            self._rejected_in_vain.add(message_id)
            self._log(
                "message.rejected_in_vain",
                message_id,
                f"left, since there is no dead-letter queue; {reason}",
                level=logging.ERROR,
            )
        self._forget(message)

    async def _send_dead_letter(
        self, dead_letters: DeadLetterQueue, message: Message, reason: str
    ) -> None:
        """Send, then delete; meanwhile the message is kept hidden like any other in hand."""
        message_id = message["MessageId"]
        lease = self._leases.get(message)
        if lease is None or lease.lost:
            self._forget(message)
            return
        try:
            await dead_letters.send(message, reason, lambda: lease.deadline)
        except Exception as error:  # noqa: BLE001 - or its lease would be extended for hours
            why = str(error) if isinstance(error, ProviderError) else repr(error)
            self._log("message.not_dead_lettered", message_id, f"left; {why}", level=logging.ERROR)
            self._forget(message)
            return
        self._log("message.dead_lettered", message_id, reason)
        await self.settle(message, Acknowledge())

    def _forget(self, message: Message) -> None:
        if self._leases.take(message) is not None and self._queue.fifo:
            self._leave_group(message)

    def _on_lost(self, lease: Lease) -> None:
        self._log(
            "message.lost", lease.message_id, "its lease is over; another consumer may have it"
        )
        if not self._queue.options.cancel_on_lost_lease:
            return
        self._lost_ids.add(lease.message_id)
        self._forget(lease.message)
        self._notify_lost(lease.message)

    async def flush(self) -> None:
        """Return when everything settled so far has reached SQS, or was given up."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=FLUSH_TIME)
            if late:
                logger.error(
                    "queue.flush_given_up queue=%s tasks=%d: their messages come back by themselves",
                    self._queue.name,
                    len(late),
                )
        await self._settlement.flush()

    async def close(self) -> None:
        """Stop everything that is still at work."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._in_flight.close()
        await self._heartbeat.close()
        await self._settlement.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("queue.task_failed queue=%s", self._queue.name, exc_info=error)

    def _log(self, event: str, message_id: str, text: str, level: int = logging.WARNING) -> None:
        logger.log(
            level,
            "%s queue=%s message_id=%s: %s",
            event,
            self._queue.name,
            message_id,
            text,
            extra={"queue": self._queue.name, "message_id": message_id},
        )


def group_of(message: Message) -> str:
    """Return the message group of a FIFO queue's message."""
    return str((message.get("Attributes") or {}).get("MessageGroupId", ""))


def receive_count(message: Message) -> int:
    """Return how many times SQS has delivered a message, this time included."""
    return int((message.get("Attributes") or {}).get("ApproximateReceiveCount", 1))
