"""What a ReceiveMessage asks for, which failures on a FIFO queue change; why a queue falls silent."""

import asyncio
import logging
import math
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.options import in_flight_warning, is_full
from loafer_kit.ext.aws.requests.transport import Queue
from loafer_kit.logs import log_event
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Failed receives of a FIFO queue that are remembered, to be repeated under the same attempt id.
_REMEMBERED_ATTEMPTS = 32

#: Receives that a message must have left, so that it may be received with a failed message before it.
_ENOUGH_RECEIVES = 10

#: A maxReceiveCount so low that messages of a FIFO queue are always received one at a time.
_TOO_FEW_RECEIVES = 2

#: Seconds: the long polls for several messages while messages are in hand that may fail.
_SHORT_POLL = 1

#: Seconds before a failed message is visible again from which messages are received one at a time.
_EARLY = 1.0

#: Seconds after which a message that did not come back went to another consumer.
_PATIENCE = 60.0

#: Message groups with failed messages that are remembered.
_REMEMBERED_GROUPS = 1_000

#: Seconds between two requests for how many messages are in flight.
_WATCH_PAUSE = 300.0


@dataclass(slots=True)
class _Convoy:
    """The messages of a group to receive one at a time, and when they may be received."""

    message_ids: set[str]
    since: float
    until: float


class Convoys:
    """The message groups of a FIFO queue with a failed message at their head.

    A receive of ten messages brings those behind the failed one, too. They cannot start before it, so
    they are given back, which uses up one of the `most` receives of each. Until the failed message has
    succeeded or is gone, messages are therefore received one at a time, and so are messages whose
    next receive is their last. The caller says what time it is.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._groups: dict[str, _Convoy] = {}

    @property
    def tight(self) -> bool:
        """Whether each receive of a message counts."""
        return self._most is not None and self._most <= _ENOUGH_RECEIVES

    def failed(self, message: Message, now: float, hidden_for: float) -> None:
        """Expect a message again that failed and is hidden for so many seconds."""
        if self._receives_left(message) > _ENOUGH_RECEIVES:
            return
        convoy = self._add(message, now)
        convoy.since = now + hidden_for - _EARLY
        convoy.until = now + hidden_for + _PATIENCE

    def given_back(self, message: Message, now: float) -> None:
        """Expect a message again that was not started, if it can be received only once more."""
        if self._receives_left(message) <= 1:
            self._add(message, now)

    def received(self, message: Message, now: float) -> None:
        """Take note that a message came back: it may be visible again at any time."""
        convoy = self._groups.get(group_of(message))
        if convoy is not None and message["MessageId"] in convoy.message_ids:
            convoy.since, convoy.until = now, math.inf

    def gone(self, message: Message, now: float) -> None:
        """Forget a message that does not come back."""
        convoy = self._groups.get(group_of(message))
        if convoy is None:
            return
        convoy.message_ids.discard(message["MessageId"])
        convoy.since, convoy.until = now, now + _PATIENCE
        if not convoy.message_ids:
            del self._groups[group_of(message)]

    def none_for(self, now: float) -> float:
        """Return for how many seconds a receive may bring several messages."""
        if self._most is not None and self._most <= _TOO_FEW_RECEIVES:
            return 0.0
        for group, convoy in list(self._groups.items()):
            if convoy.until < now:
                del self._groups[group]
        since = min((convoy.since for convoy in self._groups.values()), default=math.inf)
        return max(0.0, since - now)

    def _receives_left(self, message: Message) -> float:
        return math.inf if self._most is None else self._most - receive_count(message)

    def _add(self, message: Message, now: float) -> _Convoy:
        group = group_of(message)
        convoy = self._groups.get(group)
        if convoy is None:
            convoy = self._groups[group] = _Convoy(set(), now, now + _PATIENCE)
            if len(self._groups) > _REMEMBERED_GROUPS:
                del self._groups[next(iter(self._groups))]
        convoy.message_ids.add(message["MessageId"])
        return convoy


class Receiver:
    """Receives from one queue; on a FIFO queue it knows the groups of the messages in hand.

    `max_receive_count` is how often SQS delivers a message; None: without a limit.
    """

    def __init__(
        self, queue: Queue, parameters: dict[str, Any], max_receive_count: int | None
    ) -> None:
        self._queue = queue
        self._is_fifo = queue.is_fifo
        self._max_receive_count = max_receive_count
        self._convoys = Convoys(max_receive_count)
        #: How many messages of each group are in hand.
        self._in_hand: Counter[str] = Counter()
        #: When the open receives of several messages end at the latest.
        self._open_until: list[float] = []
        self._parameters = parameters
        self._most: int = parameters["MaxNumberOfMessages"]
        #: Attempt id and number of messages of receives whose answer may have been lost.
        self._failed_attempts: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED_ATTEMPTS)

    async def receive(self, limit: int) -> list[Message]:
        """Return up to `limit` messages."""
        number = min(limit, self._most)
        if self._is_fifo:
            return await self._receive_fifo(number)
        if number == self._most:
            return await self._queue.receive(**self._parameters)
        return await self._queue.receive(**self._parameters | {"MaxNumberOfMessages": number})

    async def _receive_fifo(self, number: int) -> list[Message]:
        """Receive; repeat a receive that failed under the same attempt id.

        SQS then delivers again what it gave to the first attempt, instead of blocking those message
        groups until the visibility timeout is over.
        """
        wait: int = self._parameters["WaitTimeSeconds"]
        now = asyncio.get_running_loop().time()
        left = self._convoys.none_for(now)
        if left < 1:
            number = 1
        else:  # end before a failed message is visible again
            longest = _SHORT_POLL if self._convoys.tight and self._in_hand else left
            wait = int(min(wait, left, longest))
        attempt, number = self._next_attempt(number)
        attempted = {
            "MaxNumberOfMessages": number,
            "ReceiveRequestAttemptId": attempt,
            "WaitTimeSeconds": wait,
        }
        until = now + wait if number > 1 else now
        self._open_until.append(until)
        try:
            return await self._queue.receive(**self._parameters | attempted)
        except TransientProviderError:
            self._failed_attempts.append((attempt, number))
            raise
        finally:
            self._open_until.remove(until)

    def took(self, messages: Sequence[Message]) -> None:
        """Take note of messages that are in hand now."""
        if not self._is_fifo:
            return
        now = asyncio.get_running_loop().time()
        for message in messages:
            self._in_hand[group_of(message)] += 1
            self._convoys.received(message, now)

    def let_go(
        self, message: Message, hidden_for: float | None, *, unstarted: bool = False
    ) -> bool:
        """Take note that a message is not in hand; return whether none of its group is.

        SQS hides it for so many seconds; None: it does not come back.
        """
        now = asyncio.get_running_loop().time()
        group = group_of(message)
        self._in_hand[group] -= 1
        is_done = self._in_hand[group] <= 0
        if is_done:
            del self._in_hand[group]
        if unstarted:
            self._convoys.given_back(message, now)
        elif hidden_for is None or is_last_receive(message, self._max_receive_count):
            self._convoys.gone(message, now)
        else:
            self._convoys.failed(message, now, hidden_for)
        return is_done

    def hide_for(self) -> float:
        """Return for how long to hide a failed message from the open receives of several messages."""
        if not self._convoys.tight:
            return 0.0
        now = asyncio.get_running_loop().time()
        return max((until - now for until in self._open_until), default=0.0)

    def _next_attempt(self, number: int) -> tuple[str, int]:
        for failed in self._failed_attempts:
            if failed[1] <= number:
                self._failed_attempts.remove(failed)
                return failed
        return str(uuid.uuid4()), number


class InFlightWatch:
    """Reports a queue that is silent only because too many messages are in flight.

    It asks for the queue's counts when the queue turns from busy to empty, and while it is full: an
    idle queue costs no request.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self._full = False
        self._checked_at = -math.inf
        self._check: asyncio.Task[None] | None = None

    def received(self, messages: int) -> None:
        """Take note of how many messages a receive returned."""
        if messages:
            self._busy = True
            return
        now = self._loop.time()
        if (self._busy or self._full) and now - self._checked_at >= _WATCH_PAUSE:
            self._checked_at = now
            self._check = self._loop.create_task(self._check_counts(), name="in-flight watch")
        self._busy = False

    async def _check_counts(self) -> None:
        try:
            attributes = await self._queue.attributes()
        except ProviderError as error:
            queue = self._queue.name
            log_event(logger, logging.DEBUG, "queue.counts_unknown", {"queue": queue}, str(error))
            return
        self._full = is_full(attributes)
        if self._full:
            text = in_flight_warning(attributes)
            log_event(logger, logging.WARNING, "queue.full", {"queue": self._queue.name}, text)

    async def close(self) -> None:
        """Stop watching."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.wait([self._check])


def group_of(message: Message) -> str:
    """Return the message group of a message from a FIFO queue."""
    return str((message.get("Attributes") or {}).get("MessageGroupId", ""))


def receive_count(message: Message) -> int:
    """Return how many times SQS has delivered a message, this time included."""
    return int((message.get("Attributes") or {}).get("ApproximateReceiveCount", 1))


def is_last_receive(message: Message, most: int | None) -> bool:
    """Return whether SQS will not deliver a message again, if it does so `most` times."""
    return most is not None and receive_count(message) >= most
