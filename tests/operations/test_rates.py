"""Rates and quantiles, on a clock of the test's own."""

import pytest

from loafer_kit.operations.rates import Rate, quantiles


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


def test_a_rate_is_over_the_last_seconds():
    clock = Clock()
    rate = Rate(clock)

    for _ in range(600):
        rate.add(2)
        clock.now += 1

    assert rate.per_second(60) == pytest.approx(2, rel=0.1)
    assert rate.per_second(300) == pytest.approx(2, rel=0.1)
    clock.now += 61
    assert rate.per_second(60) == 0
    assert rate.per_second(300) == pytest.approx(2 * 239 / 300, rel=0.05)
    clock.now += 300
    assert rate.per_second(300) == 0


def test_a_young_rate_is_over_the_time_since_its_beginning():
    clock = Clock()
    rate = Rate(clock)

    rate.add(50)
    assert rate.per_second(60) == 50
    clock.now += 10
    assert rate.per_second(60) == rate.per_second(300) == 5


def test_a_rate_keeps_five_minutes_only():
    clock = Clock()
    rate = Rate(clock)

    for _ in range(10_000):
        rate.add()
        clock.now += 1

    assert len(rate._counts) <= 61


@pytest.mark.parametrize(
    ("values", "part", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.5, 3.0),
        ([3.0], 0.99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        (range(1, 101), 0.95, 95),
        (range(1, 101), 0.99, 99),
        (range(1, 101), 1.0, 100),
    ],
)
def test_a_quantile_is_one_of_the_values(values, part, expected):
    assert quantiles(values, [part]) == [expected]
