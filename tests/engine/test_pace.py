"""How many messages a route holds ready."""

import pytest

from loafer_kit.engine.pace import Pace


def paced(handled_at_once, durations, every):
    """Return the pace after handlers of these durations, one of which ends every few seconds."""
    pace = Pace(handled_at_once)
    for number, duration in enumerate(durations):
        pace.ended(1, duration, number * every)
    return pace


def test_nothing_is_held_ready_before_a_handler_has_ended():
    """The first fetch brings what can start at once."""
    assert Pace(10).prefetch == 0


@pytest.mark.parametrize(
    ("handled_at_once", "duration", "prefetch"), [(1, 1.0, 1), (1, 60.0, 0), (10, 2.0, 5)]
)
def test_slow_handlers_hold_a_second_of_messages_ready(handled_at_once, duration, prefetch):
    """What all slots together start within a second."""
    pace = paced(handled_at_once, [duration] * 20, duration / handled_at_once)
    assert pace.prefetch == prefetch


def test_handlers_that_burn_the_cpu_are_counted():
    """A hundred slots of 10 ms each start 100 a second if only one of them gets on at a time."""
    assert paced(100, [0.01] * 200, 0.01).prefetch == pytest.approx(200, rel=0.2)


def test_quick_handlers_hold_no_more_ready_than_memory_allows():
    """However quick they are, and if they take no time at all."""
    assert paced(10, [0.0] * 100_000, 0.00001).prefetch == 1_000


def test_a_queue_that_was_idle_is_as_quick_as_before():
    """The time without messages does not count."""
    pace = paced(10, [0.001] * 1_000, 0.001)
    before = pace.prefetch
    pace.ended(1, 0.001, 3_600)
    assert pace.prefetch == before > 100


def test_handlers_that_become_slow_are_noticed():
    """Within a few dozen of them."""
    pace = paced(10, [0.001] * 1_000, 0.001)
    for number in range(50):
        pace.ended(1, 10.0, 1 + number)
    assert pace.prefetch <= 1
