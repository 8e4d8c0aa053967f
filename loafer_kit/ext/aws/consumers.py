"""SQSConsumer: an SQS queue as the consumer of an Application."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from loafer_kit.applications import Application
from loafer_kit.exceptions import Abort
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.receiving import receive_count
from loafer_kit.outcomes import ACKNOWLEDGE, LEAVE, RELEASE
from loafer_kit.types import Message, QueueConsumer


class SQSConsumer(QueueConsumer):
    """Reads the queue with this name or URL, and deletes the messages that are acknowledged.

    The arguments after `app` are those of `SQSProvider`. Messages are the dicts of ReceiveMessage.
    A message that was delivered before has its history in `message["_retry"]`, so that `Retry`
    continues the count of another process. The queue is opened when the application starts; when
    it ends, messages that were not read are released and the queue is closed.
    """

    def __init__(
        self,
        app: Application,
        queue_name: str,
        options: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        self.provider: SQSProvider = SQSProvider(queue_name, options, **keywords)
        self._received: deque[Message] = deque()
        #: The messages that the application handles. A preprocessor gets a copy, but leases belong
        #: to the messages that were received.
        self._in_hand: dict[str, Message] = {}
        self._retried: set[str] = set()
        self._stopping = False
        app.startup(self._start)
        app.message_acknowledgement(self._acknowledge)
        app.teardown(self._close)

    async def read(self) -> Message:
        """Return the next message; wait without limit."""
        while not self._received:
            if self._stopping:
                raise Abort("consumer.stopped", None)
            self._received.extend(await self.provider.fetch(self.provider.batch_size))
        message = self._received.popleft()
        self._in_hand[message["ReceiptHandle"]] = message
        self._add_history(message)
        return message

    def stop_reading(self) -> None:
        """Abort an open `read()` when its long poll returns."""
        self._stopping = True
        self.provider.stop()

    async def leave(self, message: Message) -> None:
        """Extend the message's visibility timeout no more, so that it becomes visible again."""
        self._in_hand.pop(message["ReceiptHandle"], None)
        await self.provider.settle(message, LEAVE)

    async def retry(self, app: Application, message: Message) -> None:
        """Release a message to the queue: set RETRY_CALLBACK to this method."""
        receipt_handle = message["ReceiptHandle"]
        self._retried.add(receipt_handle)
        await self.provider.settle(self._in_hand.get(receipt_handle, message), RELEASE)

    def _add_history(self, message: Message) -> None:
        retries = receive_count(message) - 1
        started = self.provider.first_received(message)
        if retries and started is not None:
            message["_retry"] = {"count": retries, "start_time": started}

    def _lost(self, message: Message) -> None:
        """Forget a message that another consumer may have, unless it was read already."""
        if (tell := self.provider.route_events.lost) is not None:
            tell(message)
        self._received = deque(kept for kept in self._received if kept is not message)

    async def _start(self, app: Application) -> None:
        self._stopping = False
        await self.provider.start(self._lost)

    async def _acknowledge(self, app: Application, message: Message) -> None:
        self._in_hand.pop(message["ReceiptHandle"], None)
        if message["ReceiptHandle"] in self._retried:
            self._retried.remove(message["ReceiptHandle"])
        else:
            await self.provider.settle(message, ACKNOWLEDGE)

    async def _close(self, app: Application) -> None:
        while self._received:
            await self.provider.settle(self._received.pop(), RELEASE)
        await self.provider.flush()
        await self.provider.close()
