"""What an empty queue costs: every side waits for messages in the same minute."""

import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.measure import TIMEOUT, new_queue
from benchmarks.programs import environment_of, publish_one, running
from benchmarks.progress import tell
from benchmarks.servers import running_stub
from benchmarks.sides import Side
from benchmarks.tables import markdown_table

SECONDS = 60
#: Until the long polls that were open when the last message arrived have ended.
SETTLING_SECONDS = 22


def measure(sides: Sequence[Side]) -> str:
    with running_stub(0) as stub, ExitStack() as stack:
        waiting = []
        for side in sides:
            queue = new_queue(stub)
            publish_one(side, stub, queue)
            program = stack.enter_context(running(side, environment_of(stub, queue)))
            program.await_drained(stub, queue, TIMEOUT)
            waiting.append((side, queue, program))
        tell(f"idle for {SETTLING_SECONDS} s, and measured for {SECONDS} s")
        time.sleep(SETTLING_SECONDS)
        before = stub.stats()["queues"]
        usage = [program.usage() for _, _, program in waiting]
        time.sleep(SECONDS)
        after = stub.stats()["queues"]
        rows = []
        for (side, queue, program), earlier in zip(waiting, usage, strict=True):
            program.check()
            requests = after[queue]["requests"] - before[queue]["requests"]
            cpu = program.usage().cpu_seconds - earlier.cpu_seconds
            rows.append((side.title, f"{requests}", f"{cpu * 1000:.0f}"))
    return markdown_table(("an empty queue", "requests/minute", "CPU ms/minute"), rows)
