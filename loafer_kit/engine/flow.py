"""How fast a route goes: pause, limits, circuit breaker, pace and the waits after failures."""

import math
import random
import time
from collections.abc import Callable

from loafer_kit.config import RouteOptions
from loafer_kit.events import FlowChange
from loafer_kit.outcomes import Leave, Outcome, Retry

Clock = Callable[[], float]

_LARGEST_EXPONENT = 62

#: Messages: the most that a route holds ready unless its options say so, which bounds its memory.
_MOST_READY = 1_000

#: The weight of the last handler in the mean duration.
_WEIGHT = 0.1

#: Seconds: the shortest time over which ends are counted, and the longest, beyond which the route
#: was idle meanwhile.
_WINDOW, _IDLE = 0.1, 1.0


class RateLimit:
    """A token bucket: `rate` starts per second, with a burst of at most a tenth of a second's."""

    def __init__(self, rate: float, clock: Clock = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._tokens = 1.0
        self._counted = clock()

    def take(self) -> float:
        """Take one start and return 0.0; if there is none, return the seconds until there is."""
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
    """Stops fetching and starting while handling keeps failing, then probes with single messages.

    Opens after `threshold` failures in a row (None: never), or at once for one of `exceptions`.
    After `recovery` seconds one message is started: if it succeeds, the breaker closes; otherwise
    it stays open for another `recovery` seconds. Handlers that run when it opens go on, and their
    outcomes count; messages that are fetched by then wait.
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
        #: True from its opening until a message succeeds.
        self.is_open = False
        self._probe_at = -math.inf

    def wait(self) -> float:
        """Return the seconds until the next probe."""
        return max(0.0, self._probe_at - self._clock()) if self.is_open else 0.0

    def record(self, outcome: Outcome, error: BaseException | None) -> None:
        """Count an outcome: `Leave` and `Retry` are failures."""
        named = isinstance(error, self.exceptions)
        if not named and not isinstance(outcome, Leave | Retry):
            self._failures, self.is_open = 0, False
            return
        self._failures += 1
        exceeded = self.threshold is not None and self._failures >= self.threshold
        if named or exceeded or self.is_open:
            self.is_open = True
            self._probe_at = self._clock() + self.recovery


class Flow:
    """The flow control of one route, for use from any thread.

    `on_change` is called when the route may start more handlers than before or has other limits,
    `on_event` whenever something here changes.
    """

    def __init__(self, options: RouteOptions) -> None:
        self._rate = None if options.rate_limit is None else RateLimit(options.rate_limit)
        self._concurrency = options.concurrency
        self._paused = False
        self.breaker = CircuitBreaker(
            options.breaker_threshold, options.breaker_exceptions, options.breaker_recovery
        )
        self.on_change: Callable[[], object] = lambda: None
        self.on_event: Callable[[FlowChange], object] | None = None

    @property
    def paused(self) -> bool:
        """True while the route neither fetches nor starts messages."""
        return self._paused

    def pause(self) -> None:
        """Stop fetching and starting; running handlers go on, fetched messages wait."""
        self._paused = True
        self._tell("paused")

    def resume(self) -> None:
        """Undo `pause`."""
        self._paused = False
        self.on_change()
        self._tell("resumed")

    @property
    def concurrency(self) -> int:
        """The most handlers that run at the same time.

        More start at once; with a lower number, running handlers go on and fewer follow.
        """
        return self._concurrency

    @concurrency.setter
    def concurrency(self, number: int) -> None:
        if number < 1:
            raise ValueError("The concurrency must be at least 1; use pause() to stop.")
        self._concurrency = number
        self.on_change()
        self._tell("concurrency changed")

    @property
    def rate_limit(self) -> float | None:
        """Handler starts per second; None means no limit."""
        return self._rate.rate if self._rate else None

    @rate_limit.setter
    def rate_limit(self, rate: float | None) -> None:
        if rate is not None and rate <= 0:
            raise ValueError("The rate limit must be greater than 0; use pause() to stop.")
        self._rate = RateLimit(rate) if rate is not None else None
        self.on_change()
        self._tell("rate limited")

    def _tell(self, change: FlowChange) -> None:
        if self.on_event is not None:
            self.on_event(change)

    def acquire(self) -> float:
        """Take one handler start and return 0.0; or return the seconds until the next one."""
        return self._rate.take() if self._rate else 0.0


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


def full_jitter(attempt: int, *, base: float, cap: float) -> float:
    """Return a random delay in seconds, from 0 to `min(cap, base * 2 ** attempt)`.

    `attempt` counts from 0. "Full jitter" spreads the clients of a failed resource best:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(cap, base * 2 ** min(max(attempt, 0), _LARGEST_EXPONENT))
    return random.uniform(0, ceiling)  # noqa: S311 - not for security
