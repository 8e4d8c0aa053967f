"""Whether a service lives and is ready: what counts, and what must not."""

from types import SimpleNamespace

import pytest

from loafer_kit.exceptions import TransientProviderError
from loafer_kit.operations.conditions import DRAIN_MARGIN, Condition


class Case:
    """Two routes, their condition, and a clock that is moved by hand."""

    def __init__(self):
        self.now = 100.0
        self.routes = [SimpleNamespace(name=name) for name in ("orders", "payments")]
        self.statuses = [SimpleNamespace(route=route, stuck=False) for route in self.routes]
        self.dispatcher = SimpleNamespace(
            routes=self.routes, statuses=lambda: self.statuses, stopping_since=None, grace_time=25.0
        )
        self.condition = Condition(self.dispatcher, lambda: self.now)

    def polled(self, error=None, count=2):
        for route in self.routes[:count]:
            self.condition.polled(route, 0, 0.1, error)


@pytest.fixture
def case():
    return Case()


def test_a_service_is_ready_when_each_route_was_polled_once(case):
    """Until then it says which are not; a fetch that failed is no answer."""
    case.polled(TransientProviderError("throttled"))
    assert case.condition.state == "starting"
    case.polled(count=1)
    assert case.condition.obstacles() == ["route 'payments' has not been polled yet"]

    case.polled()

    assert (case.condition.obstacles(), case.condition.state) == ([], "ready")
    assert case.condition.faults() == []


def test_failing_fetches_do_not_take_a_ready_service_back(case):
    """Errors of AWS count for nothing: a restart does not mend them."""
    case.polled()
    case.polled(TransientProviderError("throttled"))
    case.now += 3600

    assert (case.condition.obstacles(), case.condition.faults()) == ([], [])


def test_a_route_that_failed_is_dead_and_one_that_ran_out_is_not(case):
    """The service restarts for the first only."""
    case.polled(count=1)
    case.condition.route_ended(case.routes[1], None)
    assert (case.condition.state, case.condition.faults()) == ("ready", [])

    case.condition.route_ended(case.routes[0], ValueError("secret of a message"))

    assert case.condition.faults() == ["route 'orders' ended: ValueError"]
    assert case.condition.obstacles() == ["the service is stopping"]


def test_a_stuck_route_must_be_restarted(case):
    """All its slots are taken by threads that nobody can end."""
    case.polled()
    case.statuses[1].stuck = True

    [fault] = case.condition.faults()
    assert fault.startswith("route 'payments' is stuck")
    assert case.condition.obstacles() == []


def test_a_service_that_stops_lives_until_the_drain_is_late(case):
    """It is not ready from the start of the drain."""
    case.polled()
    case.dispatcher.stopping_since = case.now
    case.now += 25.0 + DRAIN_MARGIN

    assert case.condition.obstacles() == ["the service is stopping"]
    assert (case.condition.state, case.condition.faults()) == ("stopping", [])

    case.now += 1

    assert case.condition.faults() == ["the service has been stopping for more than 45 s"]
