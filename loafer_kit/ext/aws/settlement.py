"""Settlement: deletes messages and changes their visibility, in batches and within their leases."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence

from loafer_kit.engine.flow import full_jitter
from loafer_kit.events import Settlement as Settled
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.leases import Lease, LeaseTable
from loafer_kit.ext.aws.options import SQSOptions
from loafer_kit.ext.aws.receiving import group_of
from loafer_kit.ext.aws.requests.errors import BatchEntryFailure, judge_entry
from loafer_kit.ext.aws.requests.transport import Queue
from loafer_kit.ext.aws.sending import PARALLEL, Batcher
from loafer_kit.ext.aws.watchdog import Clock, VisibilityLock
from loafer_kit.logs import log_event
from loafer_kit.providers import AbstractProvider

logger = logging.getLogger(__name__)

#: Seconds before the end of its lease by which the settlement of a message is sent.
_MARGIN = 1.0

#: Seconds: the first and the longest pause before a request is repeated.
_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0

#: Message groups with an undeleted message that are remembered.
_REMEMBERED_GROUPS = 10_000

#: Seconds that the last settlements may take when the service stops.
FLUSH_TIME = 10.0


class Settlement:
    """Deletes messages and changes their visibility.

    Raises nothing: a request that fails is repeated within the lease, then logged. Its message is
    delivered again when the lease is over. On a FIFO queue, the deletions of a group leave in their
    order. `provider` says who is told what became of each message, and that `pending` has become
    smaller.
    """

    def __init__(
        self,
        queue: Queue,
        options: SQSOptions,
        leases: LeaseTable,
        provider: AbstractProvider,
        *,
        visibility_lock: VisibilityLock,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._provider = provider
        self._visibility_lock = visibility_lock
        self._clock = clock
        self._give_up_at = math.inf
        #: When the messages were received of which one could not be deleted, by group.
        self._undeleted_since: dict[str, float] = {}
        parallel = max(PARALLEL, options.max_receivers)
        self._deletions: Batcher[Lease] = Batcher(
            self._delete,
            options.linger,
            parallel=parallel,
            key=(lambda lease: group_of(lease.message)) if queue.is_fifo else None,
            ended=self.tell_ended,
        )
        # On a FIFO queue one request follows the other. The messages of a group are released last
        # first; if an earlier message became visible after a later one, the group's order would break.
        self._changes: Batcher[tuple[Lease, int]] = Batcher(
            self._change,
            options.linger,
            parallel=1 if queue.is_fifo else parallel,
            ended=self.tell_ended,
        )

    @property
    def pending(self) -> int:
        """The number of messages whose request is under way or waits until another one ends."""
        return self._deletions.pending + self._changes.pending

    def undeleted(self) -> list[Lease]:
        """Return the leases of messages that are being deleted; callable in another thread."""
        return self._deletions.items()

    def delete(self, lease: Lease) -> None:
        """Delete a message soon."""
        self._deletions.add(lease, lease.deadline - _MARGIN)

    def change_visibility(self, lease: Lease, seconds: int) -> None:
        """Hide a message for so many seconds, counted from when the request is sent."""
        self._changes.add((lease, seconds), lease.deadline - _MARGIN)

    def hurry(self, within: float) -> None:
        """Send waiting deletions within so many seconds."""
        self._deletions.hurry(within)

    async def flush(self) -> None:
        """Return when everything was sent or given up."""
        self._give_up_at = asyncio.get_running_loop().time() + FLUSH_TIME
        try:
            await asyncio.gather(self._deletions.flush(), self._changes.flush())
        finally:
            self._give_up_at = math.inf

    async def close(self) -> None:
        """Give up what is waiting or under way."""
        await self._deletions.close()
        await self._changes.close()

    def tell_ended(self) -> None:
        """Tell the engine that there is less to settle."""
        if self._provider.on_settled is not None:
            self._provider.on_settled()

    async def _delete(self, leases: list[Lease]) -> None:
        await self._repeat(
            "deletion",
            leases,
            lambda left: self._queue.delete([lease.receipt_handle for lease in left]),
            is_void=self._is_out_of_order,
        )

    def _is_out_of_order(self, lease: Lease) -> bool:
        """Give up a deletion if SQS will deliver an earlier message of its group again.

        The group is then delivered again in its order.
        """
        if not self._undeleted_since:
            return False
        if lease.received_at > self._undeleted_since.get(group_of(lease.message), -math.inf):
            return False
        self._log_given_up("deletion", [lease], "an earlier message of its group was not deleted")
        return True

    def _note_undeleted(self, lease: Lease) -> None:
        if self._queue.is_fifo:
            group = group_of(lease.message)
            since = self._undeleted_since.pop(group, -math.inf)
            self._undeleted_since[group] = max(since, lease.received_at)
            if len(self._undeleted_since) > _REMEMBERED_GROUPS:
                del self._undeleted_since[next(iter(self._undeleted_since))]

    async def _change(self, changes: list[tuple[Lease, int]]) -> None:
        seconds_of = {id(lease): seconds for lease, seconds in changes}

        async def send(left: Sequence[Lease]) -> list[BatchEntryFailure]:
            async with self._visibility_lock:
                return await self._queue.change_visibility(
                    [(lease.receipt_handle, seconds_of[id(lease)]) for lease in left]
                )

        # If an answer was lost, the change may have happened and the message may be in hand again:
        # repeating the change would take it from its handler.
        await self._repeat(
            "visibility_change",
            [lease for lease, _ in changes],
            send,
            is_void=lambda lease: lease.message_id in self._leases,
        )

    async def _repeat(
        self,
        what: str,
        leases: list[Lease],
        send: Callable[[Sequence[Lease]], Awaitable[list[BatchEntryFailure]]],
        is_void: Callable[[Lease], bool],
    ) -> None:
        attempt = 0
        while True:
            leases = [lease for lease in leases if not is_void(lease)]
            if not leases:
                return
            began = self._clock()
            if asyncio.get_running_loop().time() >= self._give_up_at:
                self._log_given_up(what, leases, "the service stops")
                return
            least_pause = 0.0
            try:
                failures = await send(leases)
                self._report(what, leases, failures, self._clock() - began)
                reason = failures[0].get("Code", "") if failures else ""
                leases = self._repeatable(what, leases, failures)
            except TransientProviderError as error:
                reason, least_pause = str(error), error.retry_after or 0.0
            except ProviderError as error:
                self._log_given_up(what, leases, str(error))
                return
            if not leases:
                return
            pause = full_jitter(attempt, base=_BACKOFF, cap=_LONGEST_BACKOFF)
            leases = self._in_time(what, leases, max(pause, least_pause), reason)
            if not leases:
                return
            await asyncio.sleep(max(pause, least_pause))
            attempt += 1

    def _repeatable(
        self, what: str, leases: list[Lease], failures: Sequence[BatchEntryFailure]
    ) -> list[Lease]:
        """Return the leases whose entries may be repeated; log the other failures."""
        repeatable = []
        for failure in failures:
            lease, code = leases[int(failure["Id"])], failure.get("Code", "")
            match judge_entry(failure):
                case "lease lost":
                    text = f"its lease was over ({code}), another consumer may have it"
                    self._log(logging.WARNING, f"{what}.lost", text, lease)
                    self.tell_settled([lease], "given up")
                    if what == "deletion":
                        self._note_undeleted(lease)
                case "final":
                    self._log_given_up(what, [lease], f"{code}: {failure.get('Message', '')}")
                case "transient":
                    repeatable.append(lease)
        return repeatable

    def _in_time(self, what: str, leases: list[Lease], pause: float, reason: str) -> list[Lease]:
        """Return the leases that are not over after `pause`; give the others up."""
        if asyncio.get_running_loop().time() + pause >= self._give_up_at:
            self._log_given_up(what, leases, reason)
            return []
        then = self._clock() + pause
        late = [lease for lease in leases if lease.deadline <= then]
        if late:
            self._log_given_up(what, late, reason)
        return [lease for lease in leases if lease.deadline > then]

    def _report(
        self,
        what: str,
        leases: Sequence[Lease],
        failures: Sequence[BatchEntryFailure],
        seconds: float,
    ) -> None:
        """Log what SQS has carried out, and tell observers."""
        if not logger.isEnabledFor(logging.DEBUG) and self._provider.route_events.settled is None:
            return
        failed = {failure["Id"] for failure in failures}
        done = [lease for position, lease in enumerate(leases) if str(position) not in failed]
        if done:
            facts = {"queue": self._queue.name, "message_ids": [one.message_id for one in done]}
            log_event(logger, logging.DEBUG, f"{what}.done", facts)
        if what != "deletion":
            self.tell_settled(done, "put back", seconds)
            return
        results: tuple[Settled, ...] = ("dead-lettered", "acknowledged")
        for result in results:
            meant = [lease for lease in done if lease.deleted_as == result]
            self.tell_settled(meant, result, seconds)

    def tell_settled(self, leases: Sequence[Lease], result: Settled, seconds: float = 0.0) -> None:
        """Tell observers what became of messages, unless they were told before."""
        if leases and (tell := self._provider.route_events.settled) is not None:
            messages = [lease.message for lease in leases if lease.deleted_as is not None]
            if messages:
                tell(messages, result, seconds)

    def _log_given_up(self, what: str, leases: Sequence[Lease], reason: str) -> None:
        self.tell_settled(leases, "given up")
        for lease in leases:
            if what == "deletion":
                self._note_undeleted(lease)
            text = f"SQS will deliver it again; {reason}"
            self._log(logging.ERROR, f"{what}.given_up", text, lease)

    def _log(self, level: int, event: str, text: str, lease: Lease) -> None:
        facts = {"queue": self._queue.name, "message_id": lease.message_id}
        log_event(logger, level, event, facts, text)
