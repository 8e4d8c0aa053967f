"""A route with slow handlers beside a fast one, in one process: the fast one keeps its rate."""

import time
from collections.abc import Sequence
from statistics import median

from benchmarks.measure import TIMEOUT, Result, drain, new_queue
from benchmarks.programs import BODY, environment_of, running
from benchmarks.progress import tell
from benchmarks.servers import running_stub
from benchmarks.sides import LOAFER
from benchmarks.tables import markdown_table

SLOW_CONCURRENCY = 10
PAIRS = 11
#: Before every drain, since the system favours a process that has just rested.
REST_SECONDS = 1


def measure(messages: int) -> str:
    """Alternate in one process: the slow queue empty, then busy for as long as the fast one."""
    alone: list[Result] = []
    beside: list[Result] = []
    with running_stub(0) as stub:
        fast, slow = new_queue(stub), new_queue(stub)
        for queue in (fast, slow):
            stub.send(queue, BODY)
        environment = environment_of(stub, fast) | {"BENCH_SLOW_QUEUE": slow}
        with running(LOAFER, environment) as program:
            for _ in range(PAIRS):
                program.await_drained(stub, slow, TIMEOUT)
                time.sleep(REST_SECONDS)
                alone.append(drain(program, stub, fast, messages))
                seconds = messages / alone[-1].messages_per_second
                stub.fill(slow, round(SLOW_CONCURRENCY * (REST_SECONDS + seconds + 2)))
                time.sleep(REST_SECONDS)
                beside.append(drain(program, stub, fast, messages))
                tell(
                    f"a fast route, alone and beside handlers of 1 s: {_change(alone, beside):+.1%}"
                )
    rows = [
        ("idle", f"{_rate(alone):,.0f}", ""),
        ("busy", f"{_rate(beside):,.0f}", f"{_change(alone, beside):+.1%}"),
    ]
    head = (
        "route with handlers of 1 s",
        "messages/s of a fast route beside it",
        f"change, median of {PAIRS} pairs",
    )
    return markdown_table(head, rows)


def _change(alone: Sequence[Result], beside: Sequence[Result]) -> float:
    """Compare neighbours in time: what else the machine does then weighs on both alike."""
    pairs = zip(alone, beside, strict=True)
    return median(b.messages_per_second / a.messages_per_second - 1 for a, b in pairs)


def _rate(results: Sequence[Result]) -> float:
    return median(result.messages_per_second for result in results)
