"""Computes the wait before the next attempt."""

import random

_LARGEST_EXPONENT = 62


def full_jitter(attempt: int, *, base: float, cap: float) -> float:
    """Return a random delay in seconds, from 0 to `min(cap, base * 2 ** attempt)`.

    `attempt` counts from 0. "Full jitter" spreads the clients of a failed resource best:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(cap, base * 2 ** min(max(attempt, 0), _LARGEST_EXPONENT))
    return random.uniform(0, ceiling)  # noqa: S311 - not for security
