"""QueueSession: the messages of one queue from their receive to their settlement."""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit.engine.flow import full_jitter
from loafer_kit.events import Settlement as Settled
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.dead_letters import DeadLetterQueue
from loafer_kit.ext.aws.leases import Heartbeat, Lease, LeaseTable, RecentIds
from loafer_kit.ext.aws.options import SQSOptions, max_receive_count, visibility_timeout
from loafer_kit.ext.aws.receiving import (
    InFlightWatch,
    Receiver,
    is_last_receive,
    receive_count,
)
from loafer_kit.ext.aws.requests.clients import Clients
from loafer_kit.ext.aws.requests.errors import AccessDeniedError
from loafer_kit.ext.aws.requests.transport import BlockingQueue, Queue
from loafer_kit.ext.aws.settlement import FLUSH_TIME, Settlement
from loafer_kit.ext.aws.watchdog import VisibilityLock, watchdog
from loafer_kit.logs import log_event
from loafer_kit.outcomes import Acknowledge, DeadLetter, Leave, Outcome, Release, Retry
from loafer_kit.providers import AbstractProvider
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Seconds: SQS blocks a message group until its messages are deleted, so the deletions of a group
#: that is done do not wait for others.
_GROUP_DONE = 0.01


@dataclass(frozen=True)
class Connection:
    """A queue that was found, and where its dead letters go."""

    queue: Queue
    attributes: dict[str, str]
    clients: Clients

    #: Of rejected messages, and of those that fail on their last receive; None: nowhere.
    dead_letters: DeadLetterQueue | None
    exhausted: DeadLetterQueue | None


class QueueSession:
    """Receives messages, keeps their leases and settles them; belongs to the running loop.

    `lost(message)` is called when another consumer may have a message. `provider` says who is told
    what happens.
    """

    def __init__(
        self,
        connection: Connection,
        options: SQSOptions,
        receive_parameters: Mapping[str, Any],
        provider: AbstractProvider,
        lost: Callable[[Message], None],
    ) -> None:
        self._queue = queue = connection.queue
        self._is_fifo = queue.is_fifo
        self._options = options
        self._dead_letters = connection.dead_letters
        self._exhausted = connection.exhausted if options.dead_letter_exhausted else None
        self._max_receive_count = max_receive_count(connection.attributes)
        self._provider = provider
        self._notify_lost = lost
        self._loop = asyncio.get_running_loop()
        # Named in every receive: the queue's own timeout may change while the leases count with this.
        timeout = visibility_timeout(connection.attributes, options)
        self._leases = LeaseTable(
            timeout, extend=options.heartbeat, longest=options.max_processing_time
        )
        self._watchdog = watchdog()
        self._clock = self._watchdog.clock
        visibility_lock = VisibilityLock()
        self._settlement = Settlement(
            queue,
            options,
            self._leases,
            provider,
            visibility_lock=visibility_lock,
            clock=self._clock,
        )
        self._heartbeat = Heartbeat(
            queue,
            self._leases,
            blocking_queue=BlockingQueue(queue.url, connection.clients.blocking_client),
            visibility_lock=visibility_lock,
            lost=self._on_lost,
            undeleted=self._settlement.undeleted,
            clock=self._clock,
            sent=self._heartbeat_sent,
        )
        self._watchdog.add(self._heartbeat.extend_in_thread, timeout)
        self._in_flight = InFlightWatch(queue)
        parameters = {**receive_parameters, "VisibilityTimeout": timeout}
        self._receiver = Receiver(queue, parameters, self._max_receive_count)
        self._lost_ids = RecentIds()
        self._rejected_in_vain = RecentIds()
        self._tasks: set[asyncio.Task[None]] = set()

    async def receive(self, limit: int) -> list[Message]:
        """Return up to `limit` messages that are neither in hand nor processed already."""
        asked_at = self._clock()
        received = await self._receiver.receive(limit)
        self._in_flight.received(len(received))
        if not received:
            return received
        received_at = self._watchdog.received_at(asked_at, self._clock())
        messages, processed = self._leases.accept(received, received_at)
        self._heartbeat.messages_arrived()
        self._receiver.took(messages)
        for lease in processed:
            self._log("message.deleted_again", lease.message_id, "it was processed before")
            lease.deleted_as = None
            self._settlement.delete(lease)
        return messages

    def holds(self, message: Message) -> bool:
        """Return whether the lease of a message that is about to start lasts; forget it if not."""
        lease = self._leases.get(message)
        if lease is None:
            return False
        if lease.deadline > self._clock() and not lease.lost:
            return True
        self._leases.mark_lost(lease)
        self._log_lost(lease)
        self._lost_ids.add(lease.message_id)
        self._forget(message)
        return False

    def lease_left(self, message: Message) -> float:
        """Return for how many seconds the lease of `message` lasts; 0 if it is lost or settled."""
        lease = self._leases.get(message)
        return 0.0 if lease is None or lease.lost else max(0.0, lease.deadline - self._clock())

    @property
    def unsettled(self) -> int:
        """The number of messages whose outcome SQS has not carried out yet."""
        return self._settlement.pending + len(self._tasks)

    def settle(self, message: Message, outcome: Outcome) -> None:
        """Carry out an outcome; the request is sent later."""
        if isinstance(outcome, Acknowledge):
            self._acknowledge(message)
        elif isinstance(outcome, DeadLetter):
            self._reject(message, outcome.reason)
        elif isinstance(outcome, Release) or not (
            self._is_last(message) and self._move(message, outcome.reason)
        ):
            self._put_back(message, outcome)

    def _acknowledge(self, message: Message) -> None:
        lease = self._take(message)
        self._leases.processed.add(lease.message_id)
        if lease.lost:
            self._log("deletion.lost", lease.message_id, "it was not sent: its lease was over")
            self._settlement.tell_settled([lease], "given up")
        else:
            self._settlement.delete(lease)
        self._leave_group(message, None)

    def _put_back(self, message: Message, outcome: Leave | Retry) -> None:
        lease = self._take(message)
        hidden_for = lease.deadline - self._clock()
        # A lease that is over says nothing of the message any more: another consumer may have it, and
        # a change with the old receipt handle could make it visible in that one's hands.
        if isinstance(outcome, Retry) and not lease.lost and hidden_for > 0:
            hidden_for = self._delay(lease, outcome)
            self._settlement.change_visibility(lease, hidden_for)
        else:
            self._settlement.tell_settled([lease], "left")
        self._leave_group(message, hidden_for, unstarted=isinstance(outcome, Release))

    def _take(self, message: Message) -> Lease:
        lease = self._leases.take(message)
        if lease is not None:
            return lease
        # Not in hand: its lease was lost, or the message was received elsewhere.
        now = self._clock()
        deadline = now + self._leases.timeout
        lease = Lease(
            message["MessageId"], message["ReceiptHandle"], message, now, now, deadline, now
        )
        lease.lost = lease.message_id in self._lost_ids
        return lease

    def _delay(self, lease: Lease, retry: Retry) -> int:
        delay = retry.delay
        if delay is None:
            options = self._options
            # SQS's count includes receives that were given back unstarted.
            failures = retry.failures or receive_count(lease.message)
            delay = full_jitter(failures - 1, base=options.retry_delay, cap=options.retry_delay_cap)
        if self._is_fifo and not isinstance(retry, Release):
            delay = max(delay, self._receiver.hide_for())
        return min(math.ceil(delay), lease.visibility_left(self._clock()))

    def _is_last(self, message: Message) -> bool:
        return is_last_receive(message, self._max_receive_count)

    def _move(self, message: Message, reason: str) -> bool:
        """Move a message that failed on its last receive; return False to leave that to SQS."""
        facts = {
            "queue": self._queue.name,
            "message_id": message["MessageId"],
            "receive_count": receive_count(message),
            "max_receive_count": self._max_receive_count,
            "reason": reason,
        }
        text = f"its last receive failed; {reason}"
        log_event(logger, logging.ERROR, "message.exhausted", facts, text)
        if self._exhausted is None:
            return False
        self._start(self._send_dead_letter(self._exhausted, message, reason))
        return True

    def _leave_group(
        self, message: Message, hidden_for: float | None, *, unstarted: bool = False
    ) -> None:
        """Take note that a message of a FIFO queue is not in hand; None: it does not come back."""
        if self._is_fifo and self._receiver.let_go(message, hidden_for, unstarted=unstarted):
            self._settlement.hurry(_GROUP_DONE)

    def _reject(self, message: Message, reason: str) -> None:
        if self._dead_letters is not None:
            self._start(self._send_dead_letter(self._dead_letters, message, reason))
            return
        message_id = message["MessageId"]
        if self._is_first_rejection(message_id):
            text = f"not deleted, since there is no dead-letter queue; {reason}"
            self._log("message.rejected_in_vain", message_id, text, logging.ERROR)
        self._forget(message, "left")

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
            self._forget(message, "given up")
            return
        try:
            await dead_letters.send(message, reason, lambda: lease.deadline)
        except AccessDeniedError as error:
            self._may_not_send(dead_letters, message, error)
            return
        except Exception as error:  # noqa: BLE001 - or the heartbeat would hold it for hours
            self._not_sent(message, error)
            return
        self._log("message.dead_lettered", message_id, reason)
        lease.deleted_as = "dead-lettered"
        self._acknowledge(message)

    def _may_not_send(
        self, dead_letters: DeadLetterQueue, message: Message, error: AccessDeniedError
    ) -> None:
        if not self._is_last(message):
            self._not_sent(message, error)
            return
        self._forget(message, "left")
        if self._exhausted is dead_letters:
            self._exhausted = None
            text = (
                "messages that failed on their last receive arrive in the dead-letter queue without a "
                f"reason; {error}"
            )
            queue = self._queue.name
            log_event(logger, logging.WARNING, "queue.moves_left_to_sqs", {"queue": queue}, text)

    def _not_sent(self, message: Message, error: Exception) -> None:
        why = str(error) if isinstance(error, ProviderError) else repr(error)
        message_id = message["MessageId"]
        if isinstance(error, TransientProviderError) or self._is_first_rejection(message_id):
            self._log("message.not_dead_lettered", message_id, f"not deleted; {why}", logging.ERROR)
        self._forget(message, "given up")

    def _forget(self, message: Message, result: Settled | None = None) -> None:
        """Forget a message that SQS delivers again; `result` is for observers."""
        if result is not None and (tell := self._provider.route_events.settled) is not None:
            tell([message], result, 0.0)
        if self._leases.take(message) is not None:
            self._leave_group(message, 0.0)

    def _on_lost(self, lease: Lease) -> None:
        self._log_lost(lease)
        if not self._options.cancel_on_lost_lease:
            if (tell := self._provider.route_events.lost) is not None:
                tell(lease.message)
            return
        self._lost_ids.add(lease.message_id)
        self._forget(lease.message)
        self._notify_lost(lease.message)

    def _heartbeat_sent(self, leases: Sequence[Lease], error: ProviderError | None) -> None:
        if (tell := self._provider.route_events.heartbeat_sent) is not None:
            tell([lease.message for lease in leases], error)

    def _log_lost(self, lease: Lease) -> None:
        text = "its lease is over; another consumer may have it"
        self._log("message.lost", lease.message_id, text)

    async def flush(self) -> None:
        """Return when everything settled so far was sent to SQS or given up."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=FLUSH_TIME)
            if late:
                text = "dead letters were not sent in time; SQS delivers their messages again"
                facts = {"queue": self._queue.name, "tasks": len(late)}
                log_event(logger, logging.ERROR, "queue.flush_given_up", facts, text)
        await self._settlement.flush()

    async def close(self) -> None:
        """Stop all tasks."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for dead_letters in filter(None, {self._dead_letters, self._exhausted}):
            await dead_letters.close()
        await self._in_flight.close()
        self._watchdog.remove(self._heartbeat.extend_in_thread)
        await self._heartbeat.close()
        await self._settlement.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._settlement.tell_ended()
        if not task.cancelled() and (error := task.exception()) is not None:
            queue = self._queue.name
            log_event(logger, logging.ERROR, "queue.task_failed", {"queue": queue}, exc_info=error)

    def _log(self, event: str, message_id: str, text: str, level: int = logging.WARNING) -> None:
        facts = {"queue": self._queue.name, "message_id": message_id}
        log_event(logger, level, event, facts, text)
