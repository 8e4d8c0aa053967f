"""Handlers that await: many at a time keep the rate up."""

from benchmarks.measure import TIMEOUT, Result, drain, new_queue
from benchmarks.programs import BODY, environment_of, running
from benchmarks.progress import tell
from benchmarks.servers import running_stub
from benchmarks.sides import LOAFER
from benchmarks.tables import markdown_table, median_result

CONCURRENCY = 200
HANDLER_SECONDS = 0.1
LATENCIES_MS = (0, 10)


def measure(messages: int, rounds: int) -> str:
    rows = []
    for latency in LATENCIES_MS:
        result = median_result([_run(latency, messages) for _ in range(rounds)])
        rate = f"{result.messages_per_second:,.0f}"
        rows.append((f"{latency} ms", rate, f"{result.cpu_microseconds:,.0f}"))
        tell(f"handlers of 100 ms, {latency} ms added latency: {rate} messages/s")
    head = (
        f"handlers await {HANDLER_SECONDS * 1000:.0f} ms, concurrency {CONCURRENCY}; added latency",
        f"messages/s (of {CONCURRENCY / HANDLER_SECONDS:,.0f} possible)",
        "CPU µs/message",
    )
    return markdown_table(head, rows)


def _run(latency: float, messages: int) -> Result:
    with running_stub(latency) as stub:
        queue = new_queue(stub)
        stub.send(queue, BODY)
        environment = environment_of(stub, queue) | {
            "BENCH_CONCURRENCY": str(CONCURRENCY),
            "BENCH_HANDLER_SECONDS": str(HANDLER_SECONDS),
        }
        with running(LOAFER, environment) as program:
            program.await_drained(stub, queue, TIMEOUT)
            return drain(program, stub, queue, messages)
