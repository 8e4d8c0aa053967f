"""Decides which message may start next: a route's backlog, and the slots that all routes share."""

from collections import deque
from collections.abc import Callable, Hashable, Sequence

from loafer_kit.types import Message


class Backlog:
    """The messages that a route has fetched and not started.

    Messages without an order key start in the order of their arrival. Messages with the same key
    start one at a time: the next one becomes ready when `finished` is called for the one before.
    """

    def __init__(self) -> None:
        self._ready: deque[tuple[Message, Hashable | None]] = deque()
        #: For each key with a message that is ready or being handled: the messages behind it.
        self._behind: dict[Hashable, deque[Message]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def ready(self) -> int:
        """The number of messages that could be taken now."""
        return len(self._ready)

    def put(self, message: Message, key: Hashable | None) -> None:
        """Add a message at the end."""
        self._size += 1
        if key in self._behind:
            self._behind[key].append(message)
            return
        if key is not None:
            self._behind[key] = deque()
        self._ready.append((message, key))

    def take(self) -> tuple[Message, Hashable | None]:
        """Remove and return the next ready message, with its key."""
        self._size -= 1
        return self._ready.popleft()

    def finished(self, key: Hashable | None) -> None:
        """Make the next message of `key` ready: the one before succeeded."""
        behind = self._behind.get(key)
        if behind:
            self._ready.append((behind.popleft(), key))
        elif behind is not None:
            del self._behind[key]

    def withdraw(self, key: Hashable | None) -> list[Message]:
        """Remove and return, last first, the messages behind a failed message of `key`.

        The failed message comes back from its source later. Handling those behind it now would
        break their order, so they go back as well. Last first, so that at no time a later message
        can be received before an earlier one.
        """
        behind = self._behind.pop(key, deque())
        self._size -= len(behind)
        return list(reversed(behind))

    def remove(self, message: Message) -> list[Message]:
        """Remove a message, by identity, that another consumer may have received.

        Returns, last first, the messages behind it, which must not start before it.
        """
        for ready, key in self._ready:
            if ready is message:
                self._ready.remove((ready, key))
                self._size -= 1
                return self.withdraw(key)
        for behind in self._behind.values():
            for position, waiting in enumerate(behind):
                if waiting is message:
                    withdrawn = [behind.pop() for _ in range(len(behind) - position - 1)]
                    behind.pop()
                    self._size -= len(withdrawn) + 1
                    return withdrawn
        return []

    def clear(self, keep: Callable[[Message], bool] | None = None) -> list[Message]:
        """Remove and return, last first, every message but those to `keep`.

        A message that is kept keeps those before it in its order.
        """
        ready, self._ready = self._ready, deque()
        removed: list[Message] = []
        for message, key in ready:
            kept = _kept([message, *self._behind.get(key, ())], keep)
            if kept:
                self._ready.append((message, key))
            else:
                removed.append(message)
                removed.extend(self._behind.pop(key, ()))
        for key, behind in self._behind.items():
            kept = _kept(behind, keep)
            removed.extend(list(behind)[kept:])
            self._behind[key] = deque(list(behind)[:kept])
        self._size -= len(removed)
        removed.reverse()
        return removed


def _kept(messages: Sequence[Message], keep: Callable[[Message], bool] | None) -> int:
    """Return how many messages to keep, counted from the first."""
    if keep is None:
        return 0
    return max((count for count, message in enumerate(messages, 1) if keep(message)), default=0)


class Slots:
    """Limits the handlers of all routes together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: The slots of handlers that failed, but whose threads run on.
        self.outlasting = 0
        self._used = 0
        self._waiting: dict[Callable[[], None], None] = {}  # an ordered set

    @property
    def stuck(self) -> bool:
        """True while every slot belongs to a thread that runs on."""
        return self.outlasting >= self.limit

    def ready_or_notify(self, wake: Callable[[], None]) -> bool:
        """True if a slot is free; otherwise `wake` is called once, when one may be."""
        if self._used < self.limit:
            return True
        self._waiting[wake] = None
        return False

    def take(self) -> None:
        """Use a slot that `ready_or_notify` found free."""
        self._used += 1

    def wake_all(self) -> None:
        """Wake the routes that wait, so that they see that the slots are stuck."""
        waiting, self._waiting = self._waiting, {}
        for wake in waiting:
            wake()

    def give_back(self, by: Callable[[], None]) -> None:
        """Free a slot and wake the routes that wait, the longest first, until one takes it.

        A woken route may have nothing to start, so one call may not be enough. `by` is the route
        that gives the slot back: it is woken once in any case, as it may now fetch.
        """
        self._used -= 1
        woken = False
        while self._waiting and self._used < self.limit:
            wake = next(iter(self._waiting))
            del self._waiting[wake]
            woken = woken or wake == by
            wake()
        if not woken:
            by()
