"""Pace: how many messages a route handles in a second, which is how many it holds ready."""

import math

#: Messages: the most that a route holds ready unless its options say so, which bounds its memory.
_MOST_READY = 1_000

#: The weight of the last handler in the mean duration.
_WEIGHT = 0.1

#: Seconds: the shortest time over which ends are counted, and the longest, beyond which the route
#: was idle meanwhile.
_WINDOW, _IDLE = 0.1, 1.0


class Pace:
    """Estimates the messages that a route starts within a second, from the handlers that ended.

    `handled_at_once` messages are handled in the mean duration of a handler, if handlers only wait.
    Handlers that use the CPU get in each other's way, so the ends are counted as well; twice their
    number leaves room for growth.
    """

    def __init__(self, handled_at_once: int) -> None:
        self.handled_at_once = handled_at_once
        self._duration: float | None = None
        self._per_second: float | None = None
        self._counted_from = -math.inf
        self._count = 0
        #: The messages to hold ready: those of the next second; 0 before a handler has ended.
        self.prefetch = 0

    def ended(self, messages: int, seconds: float, now: float) -> None:
        """Take note of a handler that took `seconds` for so many messages."""
        if self._duration is None:
            self._duration = seconds
        else:
            self._duration += (seconds - self._duration) * _WEIGHT
        self._count += messages
        elapsed = now - self._counted_from
        if elapsed >= _WINDOW:
            if elapsed <= _IDLE:
                counted = self._count / elapsed
                earlier = counted if self._per_second is None else self._per_second
                self._per_second = (earlier + counted) / 2
            self._counted_from, self._count = now, 0
            self.prefetch = self._of_a_second(self._duration)

    def _of_a_second(self, duration: float) -> int:
        most = float(_MOST_READY)
        if self._per_second is not None:
            most = min(most, 2 * self._per_second)
        if duration > 0:
            most = min(most, self.handled_at_once / duration)
        return int(most)
