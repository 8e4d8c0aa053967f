"""BotocoreTransport: requests to SQS by aiobotocore's clients."""

from collections.abc import Sequence
from typing import Any

from loafer_kit.ext.aws import errors
from loafer_kit.ext.aws.clients import Clients
from loafer_kit.ext.aws.transport import BatchEntryFailure


class BotocoreTransport:
    """An `SQSTransport`: long polls on one client, everything else on another.

    A settlement so never waits for a connection that a long poll occupies.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def receive_message(self, queue_url: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the `Messages` of one ReceiveMessage call; none is an empty list."""
        answer = await self._call(
            "ReceiveMessage", "receive_message", queue_url, long_polling=True, **parameters
        )
        return answer.get("Messages") or []

    async def delete_message_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Delete up to ten messages and return the entries that failed."""
        answer = await self._call(
            "DeleteMessageBatch", "delete_message_batch", queue_url, Entries=entries
        )
        return answer.get("Failed") or []

    async def change_message_visibility_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Set the visibility timeout of up to ten messages and return the entries that failed."""
        answer = await self._call(
            "ChangeMessageVisibilityBatch",
            "change_message_visibility_batch",
            queue_url,
            Entries=entries,
        )
        return answer.get("Failed") or []

    async def send_message_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Send up to ten messages and return the entries that failed."""
        answer = await self._call(
            "SendMessageBatch", "send_message_batch", queue_url, Entries=entries
        )
        return answer.get("Failed") or []

    async def get_queue_attributes(self, queue_url: str) -> dict[str, str]:
        """Return all attributes of a queue."""
        answer = await self._call(
            "GetQueueAttributes", "get_queue_attributes", queue_url, AttributeNames=["All"]
        )
        return answer.get("Attributes") or {}

    async def close(self) -> None:
        """Do nothing: the clients belong to `Clients`."""

    async def _call(
        self,
        action: str,
        method: str,
        queue_url: str,
        *,
        long_polling: bool = False,
        **parameters: Any,
    ) -> Any:
        try:
            client = await self._clients.client(long_polling=long_polling)
            return await getattr(client, method)(QueueUrl=queue_url, **parameters)
        except errors.REQUEST_ERRORS as exc:
            raise errors.from_exception(
                exc, action=action, subject=errors.queue_subject(queue_url)
            ) from exc
