"""QueueSession: the messages of one queue from their receive to their settlement."""

import asyncio
import logging
import math
import uuid
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any

from loafer_kit.engine.backoff import full_jitter
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.checks import InFlightWatch
from loafer_kit.ext.aws.dead_letters import DeadLetterQueue
from loafer_kit.ext.aws.leases import Heartbeat, Lease, LeaseTable, RecentIds
from loafer_kit.ext.aws.options import SQSOptions
from loafer_kit.ext.aws.settlement import FLUSH_TIME, Settlement
from loafer_kit.ext.aws.transport import Queue
from loafer_kit.outcomes import Acknowledge, DeadLetter, Outcome, Retry
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Seconds: SQS blocks a message group until its messages are deleted, so the deletions of a group
#: that is done do not wait for others.
_GROUP_DONE = 0.01

#: Failed receives of a FIFO queue that are remembered, to be repeated under the same attempt id.
_REMEMBERED_ATTEMPTS = 32


class Receiver:
    """Receives from one queue with the same parameters every time."""

    def __init__(self, queue: Queue, parameters: dict[str, Any]) -> None:
        self._queue = queue
        self._is_fifo = queue.is_fifo
        self._parameters = parameters
        self._most: int = parameters["MaxNumberOfMessages"]
        #: Attempt id and number of messages of receives whose answer may have been lost.
        self._failed_attempts: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED_ATTEMPTS)

    async def receive(self, limit: int) -> list[Message]:
        """Return up to `limit` messages."""
        number = min(limit, self._most)
        if self._is_fifo:
            return await self._receive_fifo(number)
        if number == self._most:
            return await self._queue.receive(**self._parameters)
        return await self._queue.receive(**self._parameters | {"MaxNumberOfMessages": number})

    async def _receive_fifo(self, number: int) -> list[Message]:
        """Receive; repeat a receive that failed under the same attempt id.

        SQS then delivers again what it gave to the first attempt, instead of blocking those message
        groups until the visibility timeout is over.
        """
        attempt, number = self._next_attempt(number)
        attempted = {"MaxNumberOfMessages": number, "ReceiveRequestAttemptId": attempt}
        try:
            return await self._queue.receive(**self._parameters | attempted)
        except TransientProviderError:
            self._failed_attempts.append((attempt, number))
            raise

    def _next_attempt(self, number: int) -> tuple[str, int]:
        for failed in self._failed_attempts:
            if failed[1] <= number:
                self._failed_attempts.remove(failed)
                return failed
        return str(uuid.uuid4()), number


class QueueSession:
    """Receives messages, keeps their leases and settles them; belongs to the running loop.

    `visibility_timeout` is the one that every receive gets; `lost(message)` is called when another
    consumer may have a message.
    """

    def __init__(
        self,
        queue: Queue,
        options: SQSOptions,
        *,
        receive_parameters: dict[str, Any],
        visibility_timeout: int,
        dead_letters: DeadLetterQueue | None,
        lost: Callable[[Message], None],
    ) -> None:
        self._queue = queue
        self._is_fifo = queue.is_fifo
        self._options = options
        self._visibility_timeout = visibility_timeout
        self._dead_letters = dead_letters
        self._notify_lost = lost
        self._loop = asyncio.get_running_loop()
        self._leases = LeaseTable(
            visibility_timeout, extend=options.heartbeat, longest=options.max_processing_time
        )
        self._receiver = Receiver(queue, receive_parameters)
        visibility_lock = asyncio.Lock()
        self._settlement = Settlement(
            queue,
            linger=options.linger,
            visibility_lock=visibility_lock,
            is_in_hand=self._leases.__contains__,
        )
        self._heartbeat = Heartbeat(
            queue, self._leases, visibility_lock=visibility_lock, lost=self._on_lost
        )
        self._in_flight = InFlightWatch(queue)
        #: Messages of a FIFO queue in hand, by group.
        self._groups: Counter[str] = Counter()
        self._lost_ids = RecentIds()
        self._rejected_in_vain = RecentIds()
        self._tasks: set[asyncio.Task[None]] = set()

    async def receive(self, limit: int) -> list[Message]:
        """Return up to `limit` messages that are neither in hand nor processed already."""
        received = await self._receiver.receive(limit)
        self._in_flight.received(len(received))
        if not received:
            return received
        messages, processed = self._leases.accept(received, self._loop.time())
        self._heartbeat.messages_arrived()
        if self._is_fifo:
            self._groups.update(map(group_of, messages))
        for lease in processed:
            self._log("message.deleted_again", lease.message_id, "it was processed before")
            await self._settlement.delete(lease)
        return messages

    async def settle(self, message: Message, outcome: Outcome) -> None:
        """Carry out an outcome, and return before the request is sent."""
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
        if self._is_fifo:
            self._leave_group(message)

    def _take(self, message: Message) -> Lease:
        lease = self._leases.take(message)
        if lease is not None:
            return lease
        # Not in hand: its lease was lost, or the message was received elsewhere.
        now = self._loop.time()
        timeout = self._visibility_timeout
        lease = Lease(
            message["MessageId"], message["ReceiptHandle"], message, now, now, now + timeout, now
        )
        lease.lost = lease.message_id in self._lost_ids
        return lease

    def _delay(self, lease: Lease, delay: float | None) -> int:
        if delay is None:
            options = self._options
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
        if self._is_first_rejection(message_id):
            self._log(
                "message.rejected_in_vain",
                message_id,
                f"not deleted, since there is no dead-letter queue; {reason}",
                level=logging.ERROR,
            )
        self._forget(message)

    def _is_first_rejection(self, message_id: str) -> bool:
        """Return whether the message has not been rejected in vain before: that is logged once."""
        if message_id in self._rejected_in_vain:
            return False
        self._rejected_in_vain.add(message_id)
        return True

    async def _send_dead_letter(
        self, dead_letters: DeadLetterQueue, message: Message, reason: str
    ) -> None:
        """Send a dead letter, then delete the message.

        In this order a crash in between costs a second dead letter, never the message. The heartbeat
        keeps the message hidden meanwhile.
        """
        message_id = message["MessageId"]
        lease = self._leases.get(message)
        if lease is None or lease.lost:
            self._forget(message)
            return
        try:
            await dead_letters.send(message, reason, lambda: lease.deadline)
        except Exception as error:  # noqa: BLE001 - or the heartbeat would hold it for hours
            why = str(error) if isinstance(error, ProviderError) else repr(error)
            if isinstance(error, TransientProviderError) or self._is_first_rejection(message_id):
                self._log(
                    "message.not_dead_lettered",
                    message_id,
                    f"not deleted; {why}",
                    level=logging.ERROR,
                )
            self._forget(message)
            return
        self._log("message.dead_lettered", message_id, reason)
        await self.settle(message, Acknowledge())

    def _forget(self, message: Message) -> None:
        if self._leases.take(message) is not None and self._is_fifo:
            self._leave_group(message)

    def _on_lost(self, lease: Lease) -> None:
        self._log(
            "message.lost", lease.message_id, "its lease is over; another consumer may have it"
        )
        if not self._options.cancel_on_lost_lease:
            return
        self._lost_ids.add(lease.message_id)
        self._forget(lease.message)
        self._notify_lost(lease.message)

    async def flush(self) -> None:
        """Return when everything settled so far was sent to SQS or given up."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=FLUSH_TIME)
            if late:
                logger.error(
                    "queue.flush_given_up queue=%s tasks=%d: SQS will deliver their messages again",
                    self._queue.name,
                    len(late),
                )
        await self._settlement.flush()

    async def close(self) -> None:
        """Stop all tasks."""
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
        self._queue.log(logger, level, event, message_id, text)


def group_of(message: Message) -> str:
    """Return the message group of a message from a FIFO queue."""
    return str((message.get("Attributes") or {}).get("MessageGroupId", ""))


def receive_count(message: Message) -> int:
    """Return how many times SQS has delivered a message, this time included."""
    return int((message.get("Attributes") or {}).get("ApproximateReceiveCount", 1))
