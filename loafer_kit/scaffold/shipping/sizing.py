"""Scaling, alarm and stop thresholds that follow from a queue's options."""

from collections.abc import Mapping
from dataclasses import dataclass

from loafer_kit.scaffold.spec.fields import (
    DEFAULT_CONCURRENCY,
    DEFAULT_HANDLER_TIMEOUT,
    DEFAULT_VISIBILITY_TIMEOUT,
    Value,
)

# Seconds that a message may wait before another task is worth its cost.
_ACCEPTABLE_WAIT = 60

# Seconds to handle a message if its limit is the default; the templates call it a guess.
_ASSUMED_HANDLING = 1.0

# SQS limits the messages of a queue that are in flight.
_MOST_IN_FLIGHT = 120_000

# Seconds within which a service stops: its grace time, and some to settle and close.
STOP = 45

_LEAST_ALARM_AGE = 300


@dataclass(frozen=True, slots=True)
class Backlog:
    """The number of waiting messages for which there should be one task.

    It is the number that a task handles in a minute. With `at_once` it is the number that a task
    handles at the same time, because that is larger.
    """

    messages: int
    concurrency: int
    seconds: float
    assumed: bool
    rate_limit: float | None
    at_once: bool


def backlog(options: Mapping[str, Value]) -> Backlog:
    """The backlog per task that a queue's options allow."""
    concurrency = int(options.get("concurrency", DEFAULT_CONCURRENCY))
    limit_of_one = options.get("handler_timeout", DEFAULT_HANDLER_TIMEOUT)
    assumed = limit_of_one == DEFAULT_HANDLER_TIMEOUT
    seconds = _ASSUMED_HANDLING if assumed else float(limit_of_one)
    rate = concurrency / seconds
    limit = float(options["rate_limit"]) if "rate_limit" in options else None
    if limit is not None:
        rate = min(rate, limit)
    worked_off = int(min(rate * _ACCEPTABLE_WAIT, _MOST_IN_FLIGHT))
    return Backlog(
        messages=max(worked_off, concurrency),
        concurrency=concurrency,
        seconds=seconds,
        assumed=assumed,
        rate_limit=limit,
        at_once=worked_off < concurrency,
    )


def alarm_age(options: Mapping[str, Value]) -> int:
    """The age of the oldest message, in seconds, at which the alarm goes off.

    A message ages while it is handled too: one failed attempt does not set off the alarm.
    """
    round_trip = max(
        float(options.get("visibility_timeout", DEFAULT_VISIBILITY_TIMEOUT)),
        float(options.get("handler_timeout", 0)),
    )
    return max(_LEAST_ALARM_AGE, int(2 * round_trip))
