"""Rates and durations over the last minutes, in bounded memory."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

Clock = Callable[[], float]

#: Seconds that are counted together, and how many of them are kept: five minutes.
_INTERVAL, _KEPT = 5.0, 60


class Rate:
    """Counts what happens, and says how often per second it did lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock()
        #: The current interval and its count, and those before it.
        self._interval, self._count = -1, 0
        self._counts: deque[tuple[int, int]] = deque(maxlen=_KEPT)

    def add(self, count: int = 1) -> None:
        """Count something that happens now."""
        interval = int(self._clock() // _INTERVAL)
        if interval != self._interval:
            self._counts.append((self._interval, self._count))
            self._interval, self._count = interval, 0
        self._count += count

    def per_second(self, seconds: float) -> float:
        """Return the rate over the last `seconds`, or since the beginning if that is later."""
        now = self._clock()
        oldest = (now - seconds) // _INTERVAL
        counts = (*self._counts, (self._interval, self._count))
        counted = sum(count for interval, count in counts if interval > oldest)
        over = min(seconds, max(now - self._began, 1.0))
        return counted / over


def quantiles(values: Iterable[float], parts: Sequence[float]) -> list[float | None]:
    """Return, for each part, the value below which this part of them lies; None without values."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return [
        ordered[min(last, math.ceil(part * len(ordered)) - 1)] if ordered else None
        for part in parts
    ]
