"""Heartbeat: keeps the messages in hand hidden from other consumers."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from loafer_kit.engine.backoff import full_jitter
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws import errors
from loafer_kit.ext.aws.leases import Lease, LeaseTable
from loafer_kit.ext.aws.options import BATCH_SIZE
from loafer_kit.ext.aws.transport import BatchEntryFailure, SQSTransport

logger = logging.getLogger(__name__)

#: Seconds: the first and the longest pause before an extension is tried again.
_BACKOFF, _LONGEST_BACKOFF = 0.1, 2.0


class Heartbeat:
    """One task for one queue: sleeps until leases are past half their time, then extends them.

    `lost(lease)` is called for a lease that ran out or was refused.
    """

    def __init__(
        self,
        queue: str,
        queue_url: str,
        transport: SQSTransport,
        leases: LeaseTable,
        *,
        visibility_lock: asyncio.Lock,
        lost: Callable[[Lease], None],
    ) -> None:
        self._queue = queue
        self._queue_url = queue_url
        self._transport = transport
        self._leases = leases
        self._visibility_lock = visibility_lock
        self._lost = lost
        self._arrived = asyncio.Event()
        self._failures = 0
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name=f"heartbeat {queue}")

    def messages_arrived(self) -> None:
        """Learn that there are leases to look after."""
        self._arrived.set()

    async def close(self) -> None:
        """Extend no more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            self._arrived.clear()
            look = self._leases.next_look()
            if look is None:
                await self._arrived.wait()
                continue
            await asyncio.sleep(max(0.0, look - self._loop.time()))
            try:
                await self._beat()
            except Exception:
                logger.exception("heartbeat.failed queue=%s", self._queue)
                await asyncio.sleep(_LONGEST_BACKOFF)

    async def _beat(self) -> None:
        # A visibility change of the settlement must not be overtaken by an older extension.
        async with self._visibility_lock:
            now = self._loop.time()
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
                    self._extend(extensions[start : start + BATCH_SIZE], now)
                    for start in range(0, len(extensions), BATCH_SIZE)
                )
            )

    def _end(self, lease: Lease) -> None:
        self._leases.end(lease)
        logger.warning(
            "message.extended_no_more queue=%s message_id=%s: its processing time is used up",
            self._queue,
            lease.message_id,
            extra={"queue": self._queue, "message_id": lease.message_id},
        )

    async def _extend(self, extensions: Sequence[tuple[Lease, int]], now: float) -> None:
        entries: list[dict[str, Any]] = [
            {
                "Id": str(position),
                "ReceiptHandle": lease.receipt_handle,
                "VisibilityTimeout": seconds,
            }
            for position, (lease, seconds) in enumerate(extensions)
        ]
        try:
            failures = await self._transport.change_message_visibility_batch(
                self._queue_url, entries
            )
        except TransientProviderError as error:
            self._try_again([lease for lease, _ in extensions], str(error))
            return
        except ProviderError as error:
            for lease, _ in extensions:
                self._leases.end(lease)
            logger.error(  # noqa: TRY400 - one line says it
                "heartbeat.refused queue=%s messages=%d: %s", self._queue, len(extensions), error
            )
            return
        handles = [entry["ReceiptHandle"] for entry in entries]
        # Settled or redelivered meanwhile: then the answer is about a handle that no longer counts.
        self._take_in(
            [
                (position, lease, seconds)
                for position, (lease, seconds) in enumerate(extensions)
                if self._leases.holds(lease) and lease.receipt_handle == handles[position]
            ],
            failures,
            now,
        )

    def _take_in(
        self,
        extensions: Sequence[tuple[int, Lease, int]],
        failures: Sequence[BatchEntryFailure],
        now: float,
    ) -> None:
        failed = {int(failure["Id"]): failure for failure in failures}
        again: list[Lease] = []
        for position, lease, seconds in extensions:
            failure = failed.get(position)
            if failure is None:
                self._leases.extended(lease, now, seconds)
            elif errors.is_lease_lost(failure["Code"], failure.get("Message", "")):
                self._leases.mark_lost(lease)
                self._lost(lease)
            elif failure.get("SenderFault"):
                self._end(lease)
            else:
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
            self._queue,
            len(leases),
            pause,
            reason,
        )
        self._leases.look_again(leases, self._loop.time() + pause)
