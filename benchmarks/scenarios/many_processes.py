"""Handlers that compute: several processes beside one, of each consumer that can have several."""

import os
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.measure import TIMEOUT, Result, drain, new_queue
from benchmarks.programs import RunError, environment_of, publish_one, running
from benchmarks.progress import tell
from benchmarks.servers import Stub, running_stub
from benchmarks.sides import PROCESS_TITLES, Side, in_processes
from benchmarks.tables import markdown_table, median_result

#: A handler takes a few milliseconds, so that the stub's part of the cores does not count.
LOOPS = 150_000

#: The part of the messages of a run: enough for ten seconds and more, so that who begins first does not
#: count.
SHARE = 0.4


def measure(sides: Sequence[Side], messages: int, rounds: int) -> str:
    """Return a table; a side that fails is left out, and the report says why."""
    count = len(os.sched_getaffinity(0))
    results: dict[tuple[str, int], list[Result]] = defaultdict(list)
    failures: dict[str, str] = {}
    with running_stub(0) as stub:
        for _ in range(rounds):
            for side in sides:
                for processes in (1, count):
                    if PROCESS_TITLES[side.key] in failures:
                        continue
                    try:
                        result = _run(in_processes(side, processes), processes, stub, messages)
                    except RunError as error:
                        failures[PROCESS_TITLES[side.key]] = str(error)
                    else:
                        results[PROCESS_TITLES[side.key], processes].append(result)
                        rate = f"{result.messages_per_second:,.0f} messages/s"
                        tell(f"  {PROCESS_TITLES[side.key]}, {processes} processes: {rate}")
    rows = []
    for side in sides:
        if PROCESS_TITLES[side.key] in failures:
            continue
        one, many = (
            median_result(results[PROCESS_TITLES[side.key], number]) for number in (1, count)
        )
        gain = many.messages_per_second / one.messages_per_second
        rows.append(
            (
                PROCESS_TITLES[side.key],
                f"{one.messages_per_second:,.0f}",
                f"{many.messages_per_second:,.0f}",
                f"{gain:.2f}",
                f"{gain / count:.2f}",
                f"{many.cpu_microseconds / one.cpu_microseconds:.2f}",
                f"{many.peak_memory:.0f}",
            )
        )
    head = (
        f"handlers of {LOOPS:,} empty loops",
        "messages/s, 1 process",
        f"messages/s, {count} processes",
        "gain",
        "gain/process",
        "CPU/message vs 1",
        "peak RSS MiB",
    )
    failed = [f"{title} failed: {why}." for title, why in failures.items()]
    how = "The consumers are not kept on one core here, and the stub has none to itself."
    return "\n\n".join([markdown_table(head, rows), *failed, how])


def _run(side: Side, processes: int, stub: Stub, messages: int) -> Result:
    queue = new_queue(stub)
    publish_one(side, stub, queue)
    environment = environment_of(stub, queue) | {"BENCH_LOOPS": str(LOOPS)}
    if processes > 1:
        environment["LOAFER_PROCESSES"] = str(processes)
    with running(side, environment, core=None) as program:
        # The first process may drain the first messages alone, while others start.
        for copies in (100, 100 * processes):
            stub.fill(queue, copies)
            program.await_drained(stub, queue, TIMEOUT)
        return drain(program, stub, queue, round(messages * SHARE))
