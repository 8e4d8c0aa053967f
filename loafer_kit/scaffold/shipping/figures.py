"""The figures that follow from a spec: when to add a task, when to wake somebody, when to kill."""

from collections.abc import Mapping
from dataclasses import dataclass

from loafer_kit.scaffold.spec.fields import Value

# Seconds that a message may wait before another task is worth its cost.
_ACCEPTABLE_WAIT = 60

# Seconds of handling where the spec sets no limit: the templates say that it is a guess.
_ASSUMED_HANDLING = 1.0

# SQS hands out no more messages of a queue at the same time.
_MOST_IN_FLIGHT = 120_000

# What a route does by itself; `tests/scaffold/shipping/test_figures.py` compares it with the runtime.
DEFAULT_CONCURRENCY = 10

# Seconds until a stopping service has ended: its grace time, and then some to settle and close.
STOP = 45

_LEAST_ALARM_AGE = 300
_DEFAULT_VISIBILITY_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Backlog:
    """For how many messages there should be a task.

    It is what one works off while the last of them waits for a minute; `at_once` says that it is
    what one handles at the same time, since that is more.
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
    seconds = float(options.get("handler_timeout", _ASSUMED_HANDLING))
    rate = concurrency / seconds
    limit = float(options["rate_limit"]) if "rate_limit" in options else None
    if limit is not None:
        rate = min(rate, limit)
    worked_off = int(min(rate * _ACCEPTABLE_WAIT, _MOST_IN_FLIGHT))
    return Backlog(
        messages=max(worked_off, concurrency),
        concurrency=concurrency,
        seconds=seconds,
        assumed="handler_timeout" not in options,
        rate_limit=limit,
        at_once=worked_off < concurrency,
    )


def alarm_age(options: Mapping[str, Value]) -> int:
    """How old, in seconds, the oldest message is when somebody should look.

    A message in a handler's hands ages too: one round of a failing message is no alarm.
    """
    round_trip = max(
        float(options.get("visibility_timeout", _DEFAULT_VISIBILITY_TIMEOUT)),
        float(options.get("handler_timeout", 0)),
    )
    return max(_LEAST_ALARM_AGE, int(2 * round_trip))
