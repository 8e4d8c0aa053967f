"""The figures that follow from a spec."""

import inspect
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.config import RouteOptions
from loafer_kit.engine import jobs
from loafer_kit.managers import LoaferManager
from loafer_kit.providers import AbstractProvider
from loafer_kit.scaffold import shipping


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({}, 600),
        ({"concurrency": 50}, 3000),
        ({"handler_timeout": 20}, 30),
        ({"handler_timeout": 0.5, "concurrency": 4}, 480),
        ({"rate_limit": 2}, 120),
        ({"rate_limit": 100}, 600),
        ({"handler_timeout": 43200}, 10),
        ({"handler_timeout": 1200, "concurrency": 4}, 4),
    ],
)
def test_the_backlog_of_a_task_is_what_it_works_off_in_a_minute(options, messages):
    """So many at a time, so long each, at most the rate limit; or what it handles at once."""
    assert shipping.backlog(options)["messages"] == messages


def test_a_handling_time_that_nobody_named_is_a_guess():
    """The templates say so."""
    assert shipping.backlog({})["assumed"]
    assert not shipping.backlog({"handler_timeout": 3})["assumed"]


@pytest.mark.parametrize(
    ("options", "age"),
    [({}, 300), ({"visibility_timeout": 60}, 300), ({"visibility_timeout": 600}, 1200), ({"handler_timeout": 900}, 1800)],
)  # fmt: skip
def test_the_alarm_lets_a_message_fail_once(options, age):
    """Five minutes at least, and two rounds of a slow handler."""
    assert shipping.alarm_age(options) == age


numbers = st.floats(0, 43200, exclude_min=True)


@given(
    st.fixed_dictionaries(
        {}, optional={"concurrency": st.integers(1, 10000), "handler_timeout": numbers, "rate_limit": numbers}
    )
)  # fmt: skip
def test_the_figures_stay_within_reason(options):
    """Whatever a spec may say."""
    assert 1 <= shipping.backlog(options)["messages"] <= 120_000
    assert math.isfinite(shipping.alarm_age(options))


def test_the_figures_agree_with_the_runtime():
    """The default concurrency; and a stop ends before the orchestrator kills the task."""
    grace = inspect.signature(LoaferManager).parameters["grace_time"].default
    settling = jobs._CANCEL_GRACE + AbstractProvider.poll_grace

    assert RouteOptions().concurrency == shipping.DEFAULT_CONCURRENCY
    assert grace + settling + 5 <= shipping.STOP
    assert shipping.STOP <= 120  # what Fargate allows
