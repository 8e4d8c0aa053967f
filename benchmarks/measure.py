"""One drain of a queue: what it took, counted outside the consumer."""

import itertools
from dataclasses import dataclass

from benchmarks.programs import Program, environment_of, publish_one, running
from benchmarks.servers import Stub
from benchmarks.sides import Side

WARM_UP_MESSAGES = 200
TIMEOUT = 120.0
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Result:
    """What one side did in one run."""

    messages_per_second: float
    cpu_microseconds: float
    requests_per_message: float
    memory: float
    peak_memory: float
    #: The part of one core that the stub was busy: near 1, the stub was the bottleneck.
    server_load: float


def run(side: Side, stub: Stub, messages: int) -> Result:
    """Let a side drain a queue of so many messages, after it has warmed up on a few."""
    queue = new_queue(stub)
    publish_one(side, stub, queue)
    stub.fill(queue, WARM_UP_MESSAGES - 1)
    with running(side, environment_of(stub, queue)) as program:
        program.await_drained(stub, queue, TIMEOUT)
        return drain(program, stub, queue, messages)


def drain(program: Program, stub: Stub, queue: str, messages: int) -> Result:
    """Fill the queue of a consumer that idles, and measure until it is empty again."""
    usage, stats = program.usage(), stub.stats()
    stub.fill(queue, messages)
    program.await_drained(stub, queue, TIMEOUT)
    usage_after, stats_after = program.usage(), stub.stats()
    before, after = stats["queues"][queue], stats_after["queues"][queue]
    elapsed = stats_after["now"] - stats["now"]
    return Result(
        messages_per_second=messages / (after["last_deleted_at"] - after["first_received_at"]),
        cpu_microseconds=(usage_after.cpu_seconds - usage.cpu_seconds) / messages * 1e6,
        requests_per_message=(after["requests"] - before["requests"]) / messages,
        memory=usage_after.memory,
        peak_memory=usage_after.peak_memory,
        server_load=(stats_after["cpu_seconds"] - stats["cpu_seconds"]) / elapsed,
    )


def new_queue(stub: Stub) -> str:
    name = f"bench-{next(_numbers)}"
    stub.create_queue(name)
    return name
