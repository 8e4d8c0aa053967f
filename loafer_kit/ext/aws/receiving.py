"""Receiver: asks SQS for messages, so that a failed request can be repeated without loss."""

import uuid
from collections import deque
from typing import Any

from loafer_kit.exceptions import TransientProviderError
from loafer_kit.ext.aws.transport import SQSTransport

_REMEMBERED = 32


class Receiver:
    """Receives from one queue with the same parameters every time."""

    def __init__(
        self, queue_url: str, transport: SQSTransport, parameters: dict[str, Any], *, fifo: bool
    ) -> None:
        self._queue_url = queue_url
        self._transport = transport
        self._parameters = parameters
        self._fifo = fifo
        #: Receives whose answer may have been lost: attempt id and number of messages.
        self._failed_attempts: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED)

    async def receive(self, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` messages."""
        number = min(limit, self._parameters["MaxNumberOfMessages"])
        if self._fifo:
            return await self._receive_fifo(number)
        if number == self._parameters["MaxNumberOfMessages"]:
            return await self._transport.receive_message(self._queue_url, **self._parameters)
        return await self._transport.receive_message(
            self._queue_url, **(self._parameters | {"MaxNumberOfMessages": number})
        )

    async def _receive_fifo(self, number: int) -> list[dict[str, Any]]:
        """Receive, and after a failure again under the same attempt id.

        SQS then gives what it handed out to the first attempt, instead of blocking those message
        groups until the visibility timeout is over.
        """
        attempt, number = self._next_attempt(number)
        try:
            return await self._transport.receive_message(
                self._queue_url,
                **self._parameters
                | {"MaxNumberOfMessages": number, "ReceiveRequestAttemptId": attempt},
            )
        except TransientProviderError:
            self._failed_attempts.append((attempt, number))
            raise

    def _next_attempt(self, number: int) -> tuple[str, int]:
        for failed in self._failed_attempts:
            if failed[1] <= number:
                self._failed_attempts.remove(failed)
                return failed
        return str(uuid.uuid4()), number
