"""What a handler does when the environment asks it to use the CPU."""

import os

LOOPS = int(os.environ.get("BENCH_LOOPS", "0"))


def work() -> None:
    """Hold Python's lock for a while, as a handler that computes does."""
    for _ in range(LOOPS):
        pass
