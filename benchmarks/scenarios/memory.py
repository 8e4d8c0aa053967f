"""Memory over many messages, and with the largest ones ten at a time."""

from collections.abc import Sequence

from benchmarks.measure import TIMEOUT, drain, new_queue
from benchmarks.programs import BODY, environment_of, running
from benchmarks.progress import tell
from benchmarks.servers import running_stub
from benchmarks.sides import Side
from benchmarks.tables import markdown_table

FEW, MANY = 10_000, 100_000
LARGE_MESSAGES = 200
LARGE_BODY = '"%s"' % ("x" * (1_048_576 - 2))


def measure(sides: Sequence[Side]) -> str:
    rows = [(side.title, *_many(side), _large(side)) for side in sides]
    head = (
        "resident memory, MiB",
        f"after {FEW:,} messages",
        f"after {MANY:,}",
        f"peak, {LARGE_MESSAGES} messages of 1 MiB",
    )
    return markdown_table(head, rows)


def _many(side: Side) -> tuple[str, str]:
    with running_stub(0) as stub:
        queue = new_queue(stub)
        stub.send(queue, BODY)
        with running(side, environment_of(stub, queue)) as program:
            program.await_drained(stub, queue, TIMEOUT)
            few = drain(program, stub, queue, FEW).memory
            many = drain(program, stub, queue, MANY - FEW).memory
    tell(f"{side.title}: {few:.1f} MiB, then {many:.1f} MiB")
    return f"{few:.1f}", f"{many:.1f}"


def _large(side: Side) -> str:
    with running_stub(0) as stub:
        queue = new_queue(stub)
        stub.send(queue, LARGE_BODY)
        with running(side, environment_of(stub, queue)) as program:
            program.await_drained(stub, queue, TIMEOUT)
            return f"{drain(program, stub, queue, LARGE_MESSAGES).peak_memory:.0f}"
