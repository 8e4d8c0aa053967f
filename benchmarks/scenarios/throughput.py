"""Every side on the same work, interleaved: A B C, A B C, with and without added latency."""

from collections import defaultdict
from collections.abc import Sequence

from benchmarks.measure import Result, run
from benchmarks.programs import RunError
from benchmarks.progress import tell
from benchmarks.servers import running_stub
from benchmarks.sides import BASE, Side
from benchmarks.tables import markdown_table, median_result

LATENCIES_MS = (0, 10, 100)

_Results = dict[tuple[int, Side], list[Result]]


def measure(sides: Sequence[Side], messages: int, rounds: int) -> str:
    """A side that fails once is left out of what follows, and the report says why."""
    results: _Results = defaultdict(list)
    failures: dict[Side, str] = {}
    for number in range(1, rounds + 1):
        for latency in LATENCIES_MS:
            tell(f"round {number} of {rounds}, {latency} ms added latency")
            _run_round(sides, latency, messages, results, failures)
    tables = [_table(latency, sides, results) for latency in LATENCIES_MS]
    failed = [f"{side.title} failed: {why}." for side, why in failures.items()]
    how = (
        f"Medians of {rounds} rounds, sides interleaved; {messages:,} messages of 0.5 kB per run "
        "(slow sides: a part of them), handlers that do nothing, every message deleted. Start-up "
        "is not counted. Server load is the part of its core that the stub was busy."
    )
    return "\n\n".join([*tables, *failed, how])


def _run_round(
    sides: Sequence[Side], latency: int, messages: int, results: _Results, failures: dict[Side, str]
) -> None:
    with running_stub(latency) as stub:
        for side in sides:
            if side in failures:
                continue
            try:
                result = run(side, stub, round(messages * side.share))
            except RunError as error:
                failures[side] = str(error)
                tell(f"  {side.title} failed: {error}")
            else:
                results[latency, side].append(result)
                tell(f"  {side.title}: {result.messages_per_second:,.0f} messages/s")


def _table(latency: int, sides: Sequence[Side], results: _Results) -> str:
    medians = {
        side: median_result(results[latency, side]) for side in sides if (latency, side) in results
    }
    head = (
        f"{latency} ms added latency",
        "messages/s",
        "vs bare",
        "CPU µs/message",
        "vs bare",
        "requests/message",
        "peak RSS MiB",
        "server load",
    )
    ranked = sorted(medians.items(), key=lambda item: -item[1].messages_per_second)
    return markdown_table(head, [_row(side, result, medians.get(BASE)) for side, result in ranked])


def _row(side: Side, result: Result, base: Result | None) -> tuple[str, ...]:
    speed = cost = "-"
    if base:
        speed = f"{result.messages_per_second / base.messages_per_second:.2f}"
        cost = f"{result.cpu_microseconds / base.cpu_microseconds:.2f}"
    return (
        side.title,
        f"{result.messages_per_second:,.0f}",
        speed,
        f"{result.cpu_microseconds:,.0f}",
        cost,
        f"{result.requests_per_message:.2f}",
        f"{result.peak_memory:.0f}",
        f"{result.server_load:.0%}",
    )
