"""Settlement: deletes messages and changes their visibility, in batches and within their leases."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from loafer_kit.engine.backoff import full_jitter
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.batching import Batcher
from loafer_kit.ext.aws.errors import BatchEntryFailure, judge_entry
from loafer_kit.ext.aws.leases import Lease
from loafer_kit.ext.aws.transport import Queue

logger = logging.getLogger(__name__)

#: Seconds before the end of its lease by which the settlement of a message is sent.
_MARGIN = 1.0

#: Seconds: the first and the longest pause before a request is repeated.
_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0

#: Seconds that the last settlements may take when the service stops.
FLUSH_TIME = 10.0


@dataclass(slots=True)
class VisibilityChange:
    """Hide a message for so many seconds from now on; 0 makes it visible again."""

    lease: Lease
    seconds: int


class Settlement:
    """Deletes messages and changes their visibility.

    Raises nothing: a request that fails is repeated within the lease, then logged. Its message is
    delivered again when the lease is over.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        linger: float,
        visibility_lock: asyncio.Lock,
        is_in_hand: Callable[[str], bool],
    ) -> None:
        self._queue = queue
        self._visibility_lock = visibility_lock
        self._is_in_hand = is_in_hand
        self._give_up_at = math.inf
        self._deletions: Batcher[Lease] = Batcher(self._delete, linger)
        # On a FIFO queue one request follows the other. The messages of a group are released last
        # first; if an earlier message became visible after a later one, the group's order would break.
        self._changes: Batcher[VisibilityChange] = Batcher(
            self._change, linger, **({"parallel": 1} if queue.is_fifo else {})
        )

    async def delete(self, lease: Lease) -> None:
        """Delete a message soon."""
        self._deletions.add(lease, lease.deadline - _MARGIN)
        if self._deletions.is_behind:
            await self._deletions.caught_up()

    async def change_visibility(self, lease: Lease, seconds: int) -> None:
        """Hide a message for so many seconds, counted from when the request is sent."""
        self._changes.add(VisibilityChange(lease, seconds), lease.deadline - _MARGIN)
        if self._changes.is_behind:
            await self._changes.caught_up()

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

    async def _delete(self, leases: list[Lease]) -> None:
        await self._repeat(
            "deletion",
            leases,
            lambda left: self._queue.delete([lease.receipt_handle for lease in left]),
        )

    async def _change(self, changes: list[VisibilityChange]) -> None:
        seconds = {id(change.lease): change.seconds for change in changes}

        async def send(left: Sequence[Lease]) -> list[BatchEntryFailure]:
            async with self._visibility_lock:
                return await self._queue.change_visibility(
                    [(lease.receipt_handle, seconds[id(lease)]) for lease in left]
                )

        # If an answer was lost, the change may have happened and the message may be in hand again:
        # repeating the change would take it from its handler.
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
                self._log_given_up(what, leases, "the service stops")
                return
            least_pause = 0.0
            try:
                failures = await send(leases)
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
                    self._queue.log(
                        logger,
                        logging.WARNING,
                        f"{what}.lost",
                        lease.message_id,
                        f"its lease was over ({code}), another consumer may have it",
                    )
                case "final":
                    self._log_given_up(what, [lease], f"{code}: {failure.get('Message', '')}")
                case "transient":
                    repeatable.append(lease)
        return repeatable

    def _in_time(self, what: str, leases: list[Lease], pause: float, reason: str) -> list[Lease]:
        """Return the leases that are not over after `pause`; give the others up."""
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
            self._queue.log(
                logger,
                logging.ERROR,
                f"{what}.given_up",
                lease.message_id,
                f"SQS will deliver it again; {reason}",
            )
