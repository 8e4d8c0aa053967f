"""Messages received and not yet started, in order: one at a time for each order key."""

from collections import deque
from collections.abc import Hashable

from loafer_kit.types import Message


class Backlog:
    """What a route holds ready.

    Messages without a key are taken in the order of their arrival. Of the messages with one key,
    the next may be taken only when `finished` was called for the one before.
    """

    def __init__(self) -> None:
        self._ready: deque[tuple[Message, Hashable | None]] = deque()
        #: What waits behind the one message of each key that is ready or being handled.
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
        """Remove and return the next message that may start, with its key."""
        self._size -= 1
        return self._ready.popleft()

    def finished(self, key: Hashable | None) -> None:
        """Let the next message of `key` start: the one before is done."""
        behind = self._behind.get(key)
        if behind:
            self._ready.append((behind.popleft(), key))
        elif behind is not None:
            del self._behind[key]

    def withdraw(self, key: Hashable | None) -> list[Message]:
        """Remove and return, last first, what waits behind a failed message of `key`."""
        behind = self._behind.pop(key, deque())
        self._size -= len(behind)
        return list(reversed(behind))

    def remove(self, message: Message) -> list[Message]:
        """Remove a message, known by its identity, that may not start any more.

        Returns, last first, what waited behind it: that may not start before it either.
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

    def clear(self) -> list[Message]:
        """Remove and return everything that was not started, last first."""
        messages = [message for message, _ in self._ready]
        for behind in self._behind.values():
            messages.extend(behind)
            behind.clear()
        for _, key in self._ready:
            self._behind.pop(key, None)
        self._ready.clear()
        self._size = 0
        messages.reverse()
        return messages
