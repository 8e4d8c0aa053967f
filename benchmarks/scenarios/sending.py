"""Senders of many messages, interleaved: what a message costs, and how many are sent in a second."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from benchmarks.environments import CONSUMERS
from benchmarks.measure import TIMEOUT, WARM_UP_MESSAGES, new_queue
from benchmarks.processes import pin
from benchmarks.programs import BODY, RunError, environment_of
from benchmarks.progress import tell
from benchmarks.servers import Stub, running_stub
from benchmarks.sides import BY_HAND, Side
from benchmarks.tables import markdown_table

LATENCIES_MS = (0, 10)


def measure(sides: Sequence[Side], messages: int, rounds: int) -> str:
    results: dict[tuple[int, Side], list[tuple[float, float]]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for latency in LATENCIES_MS:
            tell(f"round {number} of {rounds}, {latency} ms added latency")
            with running_stub(latency) as stub:
                for side in sides:
                    rate, cost = _run(side, stub, messages)
                    results[latency, side].append((rate, cost))
                    tell(f"  {side.title}: {rate:,.0f} messages/s, {cost:.0f} µs")
    tables = [_table(latency, sides, results) for latency in LATENCIES_MS]
    how = (
        f"Medians of {rounds} rounds, sides interleaved; {messages:,} messages of 0.5 kB per run, at "
        "most 80 of them under way. The producer collects the messages of 80 tasks; the others send "
        "ten in a request, collected by hand."
    )
    return "\n\n".join([*tables, how])


def _run(side: Side, stub: Stub, messages: int) -> tuple[float, float]:
    """Return the messages per second and the CPU microseconds per message of one sender."""
    queue = new_queue(stub)
    environment = environment_of(stub, queue)
    environment |= {"BENCH_MESSAGES": str(messages), "BENCH_BODY": BODY}
    with subprocess.Popen(
        side.start_command(),
        cwd=CONSUMERS,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        pin(process.pid, core=1)
        output, _ = process.communicate(timeout=TIMEOUT)
    last = (output.strip().splitlines() or ["no output"])[-1]
    if process.returncode or stub.stats()["queues"][queue]["sent"] != messages + WARM_UP_MESSAGES:
        raise RunError(f"{side.title} did not send all messages: {last}")
    taken = json.loads(last)
    return messages / taken["seconds"], taken["cpu"] / messages * 1e6


def _table(
    latency: int,
    sides: Sequence[Side],
    results: dict[tuple[int, Side], list[tuple[float, float]]],
) -> str:
    medians = {
        side: (median(rate for rate, _ in found), median(cost for _, cost in found))
        for side in sides
        if (found := results[latency, side])
    }
    base = medians.get(BY_HAND)
    rows = []
    for side, (rate, cost) in sorted(medians.items(), key=lambda item: -item[1][0]):
        ratios = (f"{rate / base[0]:.2f}", f"{cost / base[1]:.2f}") if base else ("-", "-")
        rows.append((side.title, f"{rate:,.0f}", ratios[0], f"{cost:,.0f}", ratios[1]))
    head = (
        f"{latency} ms added latency",
        "messages/s",
        "vs aiobotocore",
        "CPU µs/message",
        "vs aiobotocore",
    )
    return markdown_table(head, rows)
