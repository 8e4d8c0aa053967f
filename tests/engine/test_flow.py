"""Rate limit and circuit breaker, on a clock that the test sets."""

import pytest

from loafer_kit import outcomes
from loafer_kit.engine.flow import CircuitBreaker, Flow, RateLimit


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_rate_limit_spaces_starts_evenly():
    """At two a second the second start waits half a second."""
    clock = Clock()
    limit = RateLimit(2, clock)
    assert limit.take() == 0
    assert limit.take() == pytest.approx(0.5)
    clock.now += 0.5
    assert limit.take() == 0


def test_the_rate_limit_saves_up_no_more_than_a_tenth_of_a_second():
    """After a quiet hour at 100 a second, ten may start at once and no more."""
    clock = Clock()
    limit = RateLimit(100, clock)
    clock.now += 3600
    assert [limit.take() for _ in range(10)] == [0] * 10
    assert limit.take() > 0


def test_the_breaker_opens_after_failures_in_a_row():
    """A success in between starts the count again; a rejection is no failure."""
    breaker = CircuitBreaker(3, clock=Clock())
    for outcome in (outcomes.LEAVE, outcomes.Retry(1), outcomes.ACKNOWLEDGE, outcomes.LEAVE):
        breaker.record(outcome, None)
    breaker.record(outcomes.DeadLetter("no"), None)
    assert not breaker.is_open
    for _ in range(3):
        breaker.record(outcomes.LEAVE, None)
    assert breaker.is_open
    assert breaker.wait() == 30


def test_a_named_exception_opens_the_breaker_at_once():
    """Whatever became of the message otherwise."""
    breaker = CircuitBreaker(None, (ConnectionError,), recovery=5, clock=Clock())
    breaker.record(outcomes.LEAVE, ValueError())
    assert not breaker.is_open
    breaker.record(outcomes.LEAVE, ConnectionRefusedError())
    assert breaker.is_open


def test_a_probe_closes_the_breaker_or_opens_it_again():
    """After the recovery time one message decides."""
    clock = Clock()
    breaker = CircuitBreaker(1, recovery=10, clock=clock)
    breaker.record(outcomes.LEAVE, None)
    clock.now += 10
    assert breaker.is_open
    assert breaker.wait() == 0
    breaker.record(outcomes.LEAVE, None)
    assert breaker.wait() == 10
    clock.now += 10
    breaker.record(outcomes.ACKNOWLEDGE, None)
    assert not breaker.is_open


def test_the_flow_tells_when_more_may_flow():
    """Resuming and a new rate limit are noticed at once."""
    changes = []
    flow = Flow(None, CircuitBreaker())
    flow.on_change = lambda: changes.append((flow.paused, flow.rate_limit))
    flow.pause()
    flow.resume()
    flow.rate_limit = 5
    flow.rate_limit = None
    assert changes == [(False, None), (False, 5), (False, None)]


def test_a_rate_limit_is_greater_than_zero():
    """Zero would be a pause, which has its own name."""
    with pytest.raises(ValueError, match="pause"):
        Flow(None, CircuitBreaker()).rate_limit = 0
