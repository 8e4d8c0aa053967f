"""Settlement: tells SQS what became of messages, in batches, as long as it makes sense."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit.engine.backoff import full_jitter
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws import errors
from loafer_kit.ext.aws.batching import Batcher
from loafer_kit.ext.aws.leases import Lease
from loafer_kit.ext.aws.transport import BatchEntryFailure, SQSTransport

logger = logging.getLogger(__name__)

_ENTRY_IDS = tuple(str(position) for position in range(10))

#: Seconds before its deadline by which a lease is settled.
_MARGIN = 1.0

#: Seconds: the first and the longest pause before a request is repeated.
_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0

#: Seconds that the last settlements are given when the service stops.
FLUSH_TIME = 10.0


@dataclass(slots=True)
class VisibilityChange:
    """Hide a message for so many seconds from now on; 0 gives it back."""

    lease: Lease
    seconds: int


class Settlement:
    """Deletes messages and changes their visibility.

    Nothing is raised: what cannot be carried out is repeated within the lease, then logged, and
    the message comes back by itself.
    """

    def __init__(
        self,
        queue: str,
        queue_url: str,
        transport: SQSTransport,
        *,
        linger: float,
        fifo: bool,
        visibility_lock: asyncio.Lock,
        is_in_hand: Callable[[str], bool],
    ) -> None:
        self._queue = queue
        self._queue_url = queue_url
        self._transport = transport
        self._visibility_lock = visibility_lock
        self._is_in_hand = is_in_hand
        self._give_up_at = math.inf
        self._deletions: Batcher[Lease] = Batcher(self._delete, linger)
        # One after another on a FIFO queue: what goes back last must not come back first.
        self._changes: Batcher[VisibilityChange] = Batcher(
            self._change, linger, **({"parallel": 1} if fifo else {})
        )

    async def delete(self, lease: Lease) -> None:
        """Delete a message soon."""
        self._deletions.add(lease, lease.deadline - _MARGIN)
        if self._deletions.is_behind:
            await self._deletions.caught_up()

    async def change_visibility(self, lease: Lease, seconds: int) -> None:
        """Hide a message for so many seconds; counted from when the change leaves."""
        self._changes.add(VisibilityChange(lease, seconds), lease.deadline - _MARGIN)
        if self._changes.is_behind:
            await self._changes.caught_up()

    def hurry(self, within: float) -> None:
        """Let waiting deletions leave within so many seconds."""
        self._deletions.hurry(within)

    async def flush(self) -> None:
        """Return when everything has been sent, or given up."""
        self._give_up_at = asyncio.get_running_loop().time() + FLUSH_TIME
        try:
            await asyncio.gather(self._deletions.flush(), self._changes.flush())
        finally:
            self._give_up_at = math.inf

    async def close(self) -> None:
        """Give up what is still under way."""
        await self._deletions.close()
        await self._changes.close()

    async def _delete(self, leases: list[Lease]) -> None:
        await self._repeat(
            "deletion",
            leases,
            lambda left: self._transport.delete_message_batch(
                self._queue_url,
                [
                    {"Id": entry_id, "ReceiptHandle": lease.receipt_handle}
                    for entry_id, lease in zip(_ENTRY_IDS, left, strict=False)
                ],
            ),
        )

    async def _change(self, changes: list[VisibilityChange]) -> None:
        seconds = {id(change.lease): change.seconds for change in changes}

        async def send(left: Sequence[Lease]) -> list[BatchEntryFailure]:
            entries: list[dict[str, Any]] = [
                {
                    "Id": entry_id,
                    "ReceiptHandle": lease.receipt_handle,
                    "VisibilityTimeout": seconds[id(lease)],
                }
                for entry_id, lease in zip(_ENTRY_IDS, left, strict=False)
            ]
            async with self._visibility_lock:
                return await self._transport.change_message_visibility_batch(
                    self._queue_url, entries
                )

        # A message that has come back meanwhile is in hand again: an old change must not touch it.
        await self._repeat(
            "visibility_change",
            [change.lease for change in changes],
            send,
            is_void=lambda lease: self._is_in_hand(lease.message_id),
        )

    async def _repeat(
        self,
        what: str,
        leases: list[Lease],
        send: Callable[[Sequence[Lease]], Awaitable[list[BatchEntryFailure]]],
        is_void: Callable[[Lease], bool] | None = None,
    ) -> None:
        attempt = 0
        while True:
            if is_void is not None:
                leases = [lease for lease in leases if not is_void(lease)]
            if not leases:
                return
            if asyncio.get_running_loop().time() >= self._give_up_at:
                self._log_given_up(what, leases, "the service ends")
                return
            least_pause = 0.0
            try:
                failures = await send(leases)
                reason = failures[0]["Code"] if failures else ""
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
        """Return the leases whose entries failed for a passing reason; log the others."""
        repeatable = []
        for failure in failures:
            lease = leases[int(failure["Id"])]
            code, message = failure.get("Code", ""), failure.get("Message", "")
            if errors.is_lease_lost(code, message):
                logger.warning(
                    "%s.lost queue=%s message_id=%s: its lease was over (%s), another consumer may have it",
                    what,
                    self._queue,
                    lease.message_id,
                    code,
                    extra={"queue": self._queue, "message_id": lease.message_id},
                )
            elif failure.get("SenderFault"):
                self._log_given_up(what, [lease], f"{code}: {message}")
            else:
                repeatable.append(lease)
        return repeatable

    def _in_time(self, what: str, leases: list[Lease], pause: float, reason: str) -> list[Lease]:
        """Return the leases that will still hold after `pause`; give the others up."""
        then = asyncio.get_running_loop().time() + pause
        if then >= self._give_up_at:
            self._log_given_up(what, leases, reason)
            return []
        late = [lease for lease in leases if lease.deadline <= then]
        if late:
            self._log_given_up(what, late, reason)
        return [lease for lease in leases if lease.deadline > then]

    def _log_given_up(self, what: str, leases: Sequence[Lease], reason: str) -> None:
        for lease in leases:
            logger.error(
                "%s.given_up queue=%s message_id=%s: it comes back by itself; %s",
                what,
                self._queue,
                lease.message_id,
                reason,
                extra={"queue": self._queue, "message_id": lease.message_id},
            )
