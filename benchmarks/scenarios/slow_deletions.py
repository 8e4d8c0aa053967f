"""Deletions that are slower than receives: the rate is the slower side's, and memory stays flat."""

from benchmarks.measure import TIMEOUT, drain, new_queue
from benchmarks.programs import BODY, environment_of, running
from benchmarks.progress import tell
from benchmarks.servers import running_stub
from benchmarks.sides import LOAFER
from benchmarks.tables import markdown_table

CONCURRENCY = 100

#: What is added: to each request in milliseconds, to each deletion, and for how long deletions are
#: throttled, in seconds.
ROWS = (
    ("0 ms", 0, 0.0, 0.0),
    ("10 ms", 10, 0.0, 0.0),
    ("100 ms", 100, 0.0, 0.0),
    ("1 s to deletions", 0, 1.0, 0.0),
    ("10 s of throttled deletions", 0, 0.0, 10.0),
)


def measure(messages: int) -> str:
    rows = []
    for title, latency, deletion_latency, throttled_for in ROWS:
        with running_stub(latency) as stub:
            queue = new_queue(stub)
            stub.send(queue, BODY)
            environment = environment_of(stub, queue) | {"BENCH_CONCURRENCY": str(CONCURRENCY)}
            with running(LOAFER, environment) as program:
                program.await_drained(stub, queue, TIMEOUT)
                stub.slow_down(latency=deletion_latency, throttled_for=throttled_for)
                result = drain(program, stub, queue, messages)
        tell(f"{title}: {result.messages_per_second:,.0f} messages/s")
        rows.append(
            (
                title,
                f"{result.messages_per_second:,.0f}",
                f"{result.cpu_microseconds:,.0f}",
                f"{result.requests_per_message:.2f}",
                f"{result.peak_memory:.0f}",
            )
        )
    head = (
        f"added (concurrency {CONCURRENCY})",
        "messages/s",
        "CPU µs/message",
        "requests/message",
        "peak RSS MiB",
    )
    return markdown_table(head, rows)
