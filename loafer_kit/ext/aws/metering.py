"""Counting of requests and of the time they take, at the seam to SQS."""

import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from loafer_kit.ext.aws.transport import BatchEntryFailure, SQSTransport

Answer = TypeVar("Answer")


@dataclass(slots=True)
class ActionStatistics:
    """What the requests of one action have come to; `seconds` is the sum of their durations."""

    requests: int = 0
    failures: int = 0
    seconds: float = 0.0


class MeteredTransport:
    """An `SQSTransport` around another, which counts into `statistics`, by action."""

    def __init__(self, inner: SQSTransport, statistics: dict[str, ActionStatistics]) -> None:
        self._inner = inner
        self._statistics = statistics

    async def receive_message(self, queue_url: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the `Messages` of one ReceiveMessage call; none is an empty list."""
        return await self._measure(
            "ReceiveMessage", self._inner.receive_message(queue_url, **parameters)
        )

    async def delete_message_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Delete up to ten messages and return the entries that failed."""
        return await self._measure(
            "DeleteMessageBatch", self._inner.delete_message_batch(queue_url, entries)
        )

    async def change_message_visibility_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Set the visibility timeout of up to ten messages and return the entries that failed."""
        return await self._measure(
            "ChangeMessageVisibilityBatch",
            self._inner.change_message_visibility_batch(queue_url, entries),
        )

    async def send_message_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Send up to ten messages and return the entries that failed."""
        return await self._measure(
            "SendMessageBatch", self._inner.send_message_batch(queue_url, entries)
        )

    async def get_queue_attributes(self, queue_url: str) -> dict[str, str]:
        """Return all attributes of a queue."""
        return await self._measure(
            "GetQueueAttributes", self._inner.get_queue_attributes(queue_url)
        )

    async def close(self) -> None:
        """Do nothing: the inner transport belongs to `Clients`."""

    async def _measure(self, action: str, request: Awaitable[Answer]) -> Answer:
        statistics = self._statistics.setdefault(action, ActionStatistics())
        statistics.requests += 1
        started = time.monotonic()
        try:
            return await request
        except BaseException:
            statistics.failures += 1
            raise
        finally:
            statistics.seconds += time.monotonic() - started
