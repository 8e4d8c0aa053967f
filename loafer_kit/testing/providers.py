"""InMemoryProvider: a provider without a server, which records the outcomes."""

import asyncio
import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from loafer_kit.exceptions import SourceExhausted
from loafer_kit.outcomes import Acknowledge, DeadLetter, Leave, Outcome, Retry
from loafer_kit.providers import AbstractProvider
from loafer_kit.types import Message


@dataclass(slots=True, eq=False)
class _Entry:
    message: Message
    message_id: int
    receive_count: int = 0


class InMemoryProvider(AbstractProvider):
    """Delivers `messages` and records the outcome of each.

    The route ends when every message is settled. An `endless` provider waits for more: each fetch
    up to `wait_time` seconds. A message that is left is redelivered after `visibility_timeout`
    seconds, or stays in `left` if that is None. A retry without a delay is immediate. Deleted
    messages are in `acknowledged`, rejected ones with their reasons in `dead_letters`.
    """

    batch_size = 10

    def __init__(
        self,
        messages: Iterable[Message] = (),
        *,
        visibility_timeout: float | None = None,
        endless: bool = False,
        wait_time: float = 20.0,
    ) -> None:
        self.acknowledged: list[Message] = []
        self.left: list[Message] = []
        #: Rejected messages, with their reasons.
        self.dead_letters: list[tuple[Message, str]] = []
        self._visibility_timeout = visibility_timeout
        self._endless = endless
        self._wait_time = wait_time
        self._ids = itertools.count(1)
        self._ready: deque[_Entry] = deque()
        self._delayed: list[tuple[float, int, _Entry]] = []
        self._in_flight: list[_Entry] = []
        self._stopped = False
        self._changed = asyncio.Event()
        for message in messages:
            self.put(message)

    @property
    def remaining(self) -> int:
        """The number of messages that are not settled."""
        return len(self._ready) + len(self._delayed) + len(self._in_flight)

    def put(self, message: Message) -> None:
        """Add a message. While the route runs, call this in the event loop's thread."""
        self._ready.append(_Entry(message, next(self._ids)))
        self._changed.set()

    async def start(self, lost: object) -> None:
        self._stopped = False
        self._changed = asyncio.Event()

    def stop(self) -> None:
        self._stopped = True
        self._changed.set()

    async def fetch_messages(self) -> Sequence[Message]:
        return await self.fetch(self.batch_size)

    async def fetch(self, limit: int) -> Sequence[Message]:
        """Return up to `limit` messages; wait for the first one up to `wait_time`."""
        deadline = asyncio.get_running_loop().time() + self._wait_time
        while True:
            now = asyncio.get_running_loop().time()
            self._make_ready(now)
            if self._ready:
                return [self._take() for _ in range(min(limit, len(self._ready)))]
            if not self._endless and not self.remaining:
                raise SourceExhausted("Every message is settled.")
            if self._stopped or now >= deadline:
                return []
            self._changed.clear()
            await self._change_until(min([deadline, *(due for due, _, _ in self._delayed[:1])]))

    async def confirm_message(self, message: Message) -> None:
        await self.settle(message, Acknowledge())

    async def settle(self, message: Message, outcome: Outcome) -> None:
        entry = self._entry_of(message)
        if entry is None:  # settled already
            return
        self._in_flight.remove(entry)
        match outcome:
            case Acknowledge():
                self.acknowledged.append(message)
            case DeadLetter(reason):
                self.dead_letters.append((message, reason))
            case Retry(delay):
                self._put_back(entry, delay or 0)
            case Leave() if self._visibility_timeout is not None:
                self._put_back(entry, self._visibility_timeout)
            case Leave():
                self.left.append(message)
        self._changed.set()

    def describe(self, message: Message) -> Mapping[str, object]:
        entry = self._entry_of(message)
        if entry is None:
            return {}
        return {
            "queue": "memory",
            "message_id": entry.message_id,
            "receive_count": entry.receive_count,
        }

    def _take(self) -> Message:
        entry = self._ready.popleft()
        entry.receive_count += 1
        self._in_flight.append(entry)
        return entry.message

    def _put_back(self, entry: _Entry, delay: float) -> None:
        if delay:
            due = asyncio.get_running_loop().time() + delay
            heapq.heappush(self._delayed, (due, entry.message_id, entry))
        else:
            self._ready.appendleft(entry)

    def _make_ready(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self._ready.append(heapq.heappop(self._delayed)[2])

    async def _change_until(self, time: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(time):
                await self._changed.wait()

    def _entry_of(self, message: Message) -> _Entry | None:
        # By identity: a test may put equal messages.
        return next((entry for entry in self._in_flight if entry.message is message), None)
