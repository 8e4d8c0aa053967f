"""How fast a route may go: pause, rate limit, circuit breaker. All adjustable while it runs."""

import logging
import time
from collections.abc import Callable

from loafer_kit.outcomes import Leave, Outcome, Retry

logger = logging.getLogger(__name__)

Clock = Callable[[], float]


class RateLimit:
    """A token bucket: `rate` starts per second, and at most a tenth of a second's worth at once."""

    def __init__(self, rate: float, clock: Clock = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._tokens = 1.0
        self._counted = clock()

    def take(self) -> float:
        """Take one start: 0.0 when it may happen now, else the seconds until one may."""
        now = self._clock()
        self._tokens = min(
            max(1.0, self.rate / 10), self._tokens + (now - self._counted) * self.rate
        )
        self._counted = now
        if self._tokens < 1:
            return (1 - self._tokens) / self.rate
        self._tokens -= 1
        return 0.0


class CircuitBreaker:
    """Stops fetching and starting when handling keeps failing, then lets single messages probe.

    Opens after `threshold` failures in a row (None: never), or at once for one of `exceptions`;
    after `recovery` seconds one message is started: if it succeeds the breaker closes, else it
    stays open for as long again. What runs when it opens goes on, and counts; what was fetched by
    then waits.
    """

    def __init__(
        self,
        threshold: int | None = None,
        exceptions: tuple[type[BaseException], ...] = (),
        recovery: float = 30.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self.threshold = threshold
        self.exceptions = exceptions
        self.recovery = recovery
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the breaker has opened and no probe has succeeded since."""
        return self._open_until is not None

    def wait(self) -> float:
        """Return the seconds until a message may probe."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())

    def record(self, outcome: Outcome, error: BaseException | None) -> None:
        """Count what became of a message: left or retried is a failure."""
        named = isinstance(error, self.exceptions)
        if not named and not isinstance(outcome, Leave | Retry):
            self._failures, self._open_until = 0, None
            return
        self._failures += 1
        exceeded = self.threshold is not None and self._failures >= self.threshold
        if named or exceeded or self.is_open:
            self._open_until = self._clock() + self.recovery


class Flow:
    """A route's valve, for any thread. `on_change` is called when more may flow than before."""

    def __init__(self, rate_limit: float | None, breaker: CircuitBreaker) -> None:
        self._rate = RateLimit(rate_limit) if rate_limit is not None else None
        self._paused = False
        self.breaker = breaker
        self.on_change: Callable[[], object] = lambda: None

    @property
    def paused(self) -> bool:
        """Whether the route was told to neither fetch nor start messages."""
        return self._paused

    def pause(self) -> None:
        """Stop fetching and starting; what runs goes on, what waits keeps waiting."""
        self._paused = True

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused = False
        self.on_change()

    @property
    def rate_limit(self) -> float | None:
        """Handler starts per second; None is no limit."""
        return self._rate.rate if self._rate else None

    @rate_limit.setter
    def rate_limit(self, rate: float | None) -> None:
        if rate is not None and rate <= 0:
            raise ValueError("The rate limit must be greater than 0; use pause() to stop.")
        self._rate = RateLimit(rate) if rate is not None else None
        self.on_change()

    def acquire(self) -> float:
        """Take one handler start: 0.0 when it may happen now, else the seconds until one may."""
        return self._rate.take() if self._rate else 0.0
