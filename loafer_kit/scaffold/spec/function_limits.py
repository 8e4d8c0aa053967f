"""The time limit of the Lambda function that handles a service's queues."""

import math
from collections.abc import Mapping

from loafer_kit.scaffold.spec.fields import Value

# Lambda's, in seconds.
LONGEST = 900

# The defaults of a route; `tests/scaffold/test_shipping.py` compares them with the runtime.
DEFAULT_BATCH_SIZE = 10
DEFAULT_CONCURRENCY = 10

# Seconds for the start of the service and for the settling of its messages.
_BESIDES = 10

# AWS advises a visibility timeout of so many times the time limit.
_VISIBILITY = 6


def batch_size(options: Mapping[str, Value]) -> int:
    """How many messages one invocation brings."""
    return int(options.get("batch_size", DEFAULT_BATCH_SIZE))


def seconds(options: Mapping[str, Value], *, fifo: bool) -> int:
    """How long the function may need for a batch of a queue: each handler takes its whole time.

    The messages of a FIFO queue may all be of one group, and then come one after the other.
    """
    size = batch_size(options)
    at_once = 1 if fifo else min(size, int(options.get("concurrency", DEFAULT_CONCURRENCY)))
    needed = math.ceil(size / at_once) * float(options["handler_timeout"])
    if "rate_limit" in options:
        needed += size / float(options["rate_limit"])
    return math.ceil(min(needed, LONGEST * LONGEST)) + _BESIDES


def visibility_timeout(time_limit: int) -> int:
    """The visibility timeout of a queue, at least, for a function with this time limit."""
    return _VISIBILITY * time_limit
