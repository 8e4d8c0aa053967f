"""Rates and durations over the last minutes, in bounded memory."""

import math
from collections import deque
from collections.abc import Callable, Sequence

Clock = Callable[[], float]

#: Seconds that are counted together, and how many of them are kept: five minutes.
_INTERVAL, _KEPT = 5.0, 60


class Rate:
    """Counts what happens, and says how often per second it did lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock()
        #: Counts by interval, the newest last.
        self._counts: deque[tuple[int, int]] = deque(maxlen=_KEPT + 1)

    def add(self, count: int = 1) -> None:
        """Count something that happens now."""
        interval = int(self._clock() // _INTERVAL)
        if self._counts and self._counts[-1][0] == interval:
            count += self._counts.pop()[1]
        self._counts.append((interval, count))

    def per_second(self, seconds: float) -> float:
        """Return the rate over the last `seconds`, or since the beginning if that is later."""
        now = self._clock()
        oldest = (now - seconds) // _INTERVAL
        counted = sum(count for interval, count in self._counts if interval > oldest)
        over = min(seconds, max(now - self._began, 1.0))
        return counted / over


def quantile(values: Sequence[float], part: float) -> float | None:
    """Return the value below which this part of them lies; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]
