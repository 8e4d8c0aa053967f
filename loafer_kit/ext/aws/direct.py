"""The fast transport: SQS's JSON protocol, spoken without botocore.

botocore resolves credentials, region and endpoint once (see `connections`). What it would do for
each request (validation, serializing and parsing by the model, endpoint rules, hooks) costs several
times as much as the request, and the five operations of a consumer need none of it.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import aiohttp

from loafer_kit.exceptions import TransientProviderError
from loafer_kit.ext.aws.endpoint import Endpoint
from loafer_kit.ext.aws.transport import BatchEntryFailure

#: A long poll takes up to 20 seconds, which the queue may ask for where the request does not.
_LONGEST_POLL = 20.0
_ANSWER_MARGIN = 5.0


class DirectTransport:
    """Carries requests to SQS: receives by `polls`, everything else by `endpoint`.

    Each has its own connections, so that a settlement never waits for one that a long poll
    occupies. Timeouts are in seconds; a receive is given more than `read_timeout` where a long poll
    may need it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        polls: Endpoint,
        *,
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        self._endpoint = endpoint
        self._polls = polls
        self._timeout = _timeout(connect_timeout, read_timeout)
        self._poll_timeout = _timeout(
            connect_timeout, max(read_timeout, _LONGEST_POLL + _ANSWER_MARGIN)
        )

    async def receive_message(self, queue_url: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the `Messages` of one ReceiveMessage call; none is an empty list."""
        answer = await self._polls.call(
            "ReceiveMessage", queue_url, self._poll_timeout, **parameters
        )
        messages: list[dict[str, Any]] = answer.get("Messages") or []
        for message in messages:
            _check_digest(message, queue_url)
            for attribute in message.get("MessageAttributes", {}).values():
                if "BinaryValue" in attribute:
                    attribute["BinaryValue"] = base64.b64decode(attribute["BinaryValue"])
        return messages

    async def delete_message_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Delete up to ten messages and return the entries that failed."""
        return await self._batch("DeleteMessageBatch", queue_url, entries)

    async def change_message_visibility_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Set the visibility timeout of up to ten messages and return the entries that failed."""
        return await self._batch("ChangeMessageVisibilityBatch", queue_url, entries)

    async def send_message_batch(
        self, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        """Send up to ten messages and return the entries that failed."""
        return await self._batch("SendMessageBatch", queue_url, entries)

    async def get_queue_attributes(self, queue_url: str) -> dict[str, str]:
        """Return all attributes of a queue."""
        answer = await self._endpoint.call(
            "GetQueueAttributes", queue_url, self._timeout, AttributeNames=["All"]
        )
        return answer.get("Attributes") or {}

    async def close(self) -> None:
        """Close the connections."""
        await self._polls.close()
        await self._endpoint.close()

    async def _batch(
        self, action: str, queue_url: str, entries: Sequence[dict[str, Any]]
    ) -> list[BatchEntryFailure]:
        answer = await self._endpoint.call(action, queue_url, self._timeout, Entries=list(entries))
        return answer.get("Failed") or []


def _timeout(connect: float, read: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read)


def _check_digest(message: dict[str, Any], queue_url: str) -> None:
    expected = message.get("MD5OfBody")
    if expected is None:
        return
    digest = hashlib.md5(message["Body"].encode(), usedforsecurity=False).hexdigest()
    if digest != expected:
        raise TransientProviderError(
            f"Message {message.get('MessageId')} of {queue_url} was damaged on its way: its body "
            "does not have the digest that SQS names."
        )
