"""The narrow seam to AWS: the five operations that a running consumer lives on."""

from collections.abc import Sequence
from typing import Any, Protocol, TypedDict


class BatchEntryFailure(TypedDict):
    """One entry of a batch that SQS refused; `SenderFault` means that repeating is useless."""

    Id: str
    SenderFault: bool
    Code: str
    Message: str


class SQSTransport(Protocol):
    """Carries requests to SQS.

    Parameters and results have AWS's names and shapes. Every failure is a `ProviderError`, or a
    `TransientProviderError` (refused or broken connections, 5xx, throttling) that may be repeated.
    """

    async def receive_message(self, queue_url: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the `Messages` of one ReceiveMessage call; none is an empty list."""

    async def delete_message_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Delete up to ten messages and return the entries that failed."""

    async def change_message_visibility_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Set the visibility timeout of up to ten messages and return the entries that failed."""

    async def send_message_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Send up to ten messages and return the entries that failed."""

    async def get_queue_attributes(self, queue_url: str) -> dict[str, str]:
        """Return all attributes of a queue."""

    async def close(self) -> None:
        """Close the connections."""
