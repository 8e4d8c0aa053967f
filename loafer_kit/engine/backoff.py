"""How long to wait before the next attempt."""

import random

_LARGEST_EXPONENT = 62


def full_jitter(attempt: int, *, base: float, cap: float) -> float:
    """Return a delay in seconds, drawn evenly from 0 to `min(cap, base * 2 ** attempt)`.

    `attempt` counts from 0. "Full jitter" as in the AWS architecture blog's study of backoff:
    it spreads the clients of one failed resource best.
    """
    ceiling = min(cap, base * 2 ** min(max(attempt, 0), _LARGEST_EXPONENT))
    return random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing
