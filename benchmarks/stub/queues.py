"""A standard queue: visible messages, messages in flight, and receivers that wait for one."""

import asyncio
import heapq
import secrets
import time
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any

from benchmarks.stub.errors import InvalidReceiptHandleError, NotInFlightError
from benchmarks.stub.messages import Payload, StoredMessage

DEFAULT_ATTRIBUTES = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
}
# Message id without dashes, then the number of the receive.
_ID_LENGTH, _COUNT_LENGTH = 32, 8


class Queue:
    """Owns its messages; every method is immediate, waiting receivers are woken by futures."""

    def __init__(self, name: str, attributes: Mapping[str, str]) -> None:
        self.name = name
        self.attributes = DEFAULT_ATTRIBUTES | {k: str(v) for k, v in attributes.items()}
        self.created_at = round(time.time())
        self.last_payload: Payload | None = None
        self.counts = {"requests": 0, "sent": 0, "received": 0, "deleted": 0}
        self.first_received_at: float | None = None
        self.last_deleted_at: float | None = None
        self._loop = asyncio.get_running_loop()
        # As long as a real one, so that clients carry realistic requests.
        self._handle_prefix = "AQEB" + secrets.token_urlsafe(120)
        self._messages: dict[str, StoredMessage] = {}
        self._visible: deque[StoredMessage] = deque()
        self._deadlines: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._receivers: deque[asyncio.Future[None]] = deque()
        self._drained: list[asyncio.Future[None]] = []

    @property
    def stored(self) -> int:
        return len(self._messages)

    @property
    def visible(self) -> int:
        return len(self._visible)

    def send(self, payload: Payload) -> str:
        self.last_payload = payload
        message_id = str(uuid.uuid4())
        key = message_id.replace("-", "")
        message = self._messages[key] = StoredMessage(message_id, key, payload)
        self.counts["sent"] += 1
        self._show(message)
        return message_id

    def receive(self, limit: int, visibility_timeout: float) -> list[StoredMessage]:
        taken = [self._visible.popleft() for _ in range(min(limit, len(self._visible)))]
        if not taken:
            return taken
        now = self._loop.time()
        self.first_received_at = self.first_received_at or now
        self.counts["received"] += len(taken)
        received_at = round(time.time() * 1000)
        for message in taken:
            message.receive_count += 1
            message.first_received_at = message.first_received_at or received_at
            count = f"{message.receive_count:08x}"
            message.receipt_handle = f"{self._handle_prefix}{message.key}{count}"
            self._hide(message, now + visibility_timeout)
        return taken

    async def wait(self, seconds: float) -> None:
        """Return when a message may be visible, or when the seconds are over."""
        receiver = self._loop.create_future()
        self._receivers.append(receiver)
        timer = self._loop.call_later(seconds, _finish, receiver)
        try:
            await receiver
        except asyncio.CancelledError:
            # The message this receiver was woken for is for the next one.
            if self._visible:
                self._wake_one()
            raise
        finally:
            timer.cancel()

    def drained(self) -> asyncio.Future[None]:
        """Return what is done once the queue holds no message at all."""
        empty = self._loop.create_future()
        self._drained.append(empty)
        if not self._messages:
            self._tell_drained()
        return empty

    def delete(self, receipt_handle: str) -> None:
        """Delete a message; as with SQS, an older handle of it is accepted and does nothing."""
        key = self._key(receipt_handle)
        message = self._messages.get(key)
        if message is None or message.receipt_handle != receipt_handle:
            return
        del self._messages[key]
        if message.deadline is None:
            self._visible.remove(message)
        self.counts["deleted"] += 1
        self.last_deleted_at = self._loop.time()
        if not self._messages:
            self._tell_drained()

    def change_visibility(self, receipt_handle: str, visibility_timeout: float) -> None:
        key = self._key(receipt_handle)
        message = self._messages.get(key)
        if message is None or message.deadline is None or message.receipt_handle != receipt_handle:
            raise NotInFlightError("The message is not in flight.")
        if visibility_timeout == 0:
            self._show(message)
        else:
            self._hide(message, self._loop.time() + visibility_timeout)

    def purge(self) -> None:
        self._messages.clear()
        self._visible.clear()
        self._deadlines.clear()
        self._tell_drained()

    def stats(self) -> dict[str, Any]:
        return {
            **self.counts,
            "visible": self.visible,
            "in_flight": self.stored - self.visible,
            "first_received_at": self.first_received_at,
            "last_deleted_at": self.last_deleted_at,
        }

    def _key(self, receipt_handle: str) -> str:
        key = receipt_handle[len(self._handle_prefix) : -_COUNT_LENGTH]
        if not receipt_handle.startswith(self._handle_prefix) or len(key) != _ID_LENGTH:
            raise InvalidReceiptHandleError(f'The receipt handle "{receipt_handle}" is not valid.')
        return key

    def _show(self, message: StoredMessage) -> None:
        message.deadline = None
        self._visible.append(message)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._receivers:
            receiver = self._receivers.popleft()
            if not receiver.done():
                receiver.set_result(None)
                return

    def _hide(self, message: StoredMessage, deadline: float) -> None:
        message.deadline = deadline
        heapq.heappush(self._deadlines, (deadline, message.key))
        if self._timer is None or deadline < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Show what is past its deadline; entries of deleted or extended messages are stale."""
        self._timer = None
        while self._deadlines:
            deadline, key = self._deadlines[0]
            message = self._messages.get(key)
            current = message is not None and message.deadline == deadline
            if current and deadline > self._loop.time():
                self._timer = self._loop.call_at(deadline, self._expire)
                return
            heapq.heappop(self._deadlines)
            if current and message is not None:
                self._show(message)

    def _tell_drained(self) -> None:
        for empty in self._drained:
            _finish(empty)
        self._drained.clear()


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
