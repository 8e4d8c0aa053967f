"""One run: a consumer drains a queue, and what that cost is counted outside of it."""

import itertools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.environments import CONSUMERS
from benchmarks.processes import pin, usage_of_session
from benchmarks.servers import Stub
from benchmarks.sides import Side

BODY = '{"order": "%s"}' % ("x" * 486)
WARM_UP_MESSAGES = 200
_queue_numbers = itertools.count(1)


class RunError(Exception):
    """A consumer ended or stood still before its queue was drained."""


@dataclass(frozen=True)
class Result:
    """What one side did in one run."""

    messages_per_second: float
    cpu_microseconds: float
    requests_per_message: float
    peak_memory: float
    #: The part of one core that the stub was busy: near 1, the stub was the bottleneck.
    server_load: float


@dataclass(frozen=True)
class Consumer:
    """A consumer's running process and where its output goes."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def await_drained(self, stub: Stub, queue: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not stub.drained(queue, 0.5):
            if self.process.poll() is not None:
                raise RunError(f"it ended with {self.process.returncode}: {self._last_line()}")
            if time.monotonic() > end:
                raise RunError(f"it was not done after {seconds:.0f} s: {self._last_line()}")

    def _last_line(self) -> str:
        lines = Path(self.output.name).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"


def run(side: Side, stub: Stub, messages: int, timeout: float) -> Result:
    """Let a side drain a queue of so many messages, after it has warmed up on a few."""
    queue = f"bench-{next(_queue_numbers)}"
    stub.create_queue(queue)
    publish_one(side, stub, queue)
    stub.fill(queue, WARM_UP_MESSAGES - 1)
    with running_consumer(side, environment_of(stub, queue)) as consumer:
        consumer.await_drained(stub, queue, timeout)
        session = consumer.process.pid
        stats, usage = stub.stats(), usage_of_session(session)
        stub.fill(queue, messages)
        consumer.await_drained(stub, queue, timeout)
        usage_after, stats_after = usage_of_session(session), stub.stats()
    counts = stats_after["queues"][queue]
    requests = sum(stats_after["requests"].values()) - sum(stats["requests"].values())
    elapsed = stats_after["now"] - stats["now"]
    return Result(
        messages_per_second=messages / (counts["last_deleted_at"] - counts["first_received_at"]),
        cpu_microseconds=(usage_after.cpu_seconds - usage.cpu_seconds) / messages * 1e6,
        requests_per_message=requests / messages,
        peak_memory=usage_after.peak_memory,
        server_load=(stats_after["cpu_seconds"] - stats["cpu_seconds"]) / elapsed,
    )


def publish_one(side: Side, stub: Stub, queue: str, body: str = BODY) -> None:
    """Send one message in the side's own format, for the stub to copy."""
    if not side.publish:
        stub.send(queue, body)
        return
    environment = environment_of(stub, queue) | {"BENCH_BODY": body}
    done = subprocess.run(
        side.publish_command(), cwd=CONSUMERS, env=environment, capture_output=True, check=False
    )
    if done.returncode:
        raise RunError(f"it cannot publish: {done.stderr.decode().strip().splitlines()[-1]}")


@contextmanager
def running_consumer(side: Side, environment: Mapping[str, str]) -> Iterator[Consumer]:
    """Run a side as a session of its own, on one core, and end all of it."""
    with tempfile.NamedTemporaryFile(prefix="bench-") as output:
        process = subprocess.Popen(
            side.start_command(),
            cwd=CONSUMERS,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        pin(process.pid, core=1)
        try:
            yield Consumer(process, output)
        finally:
            _end(process)


def environment_of(stub: Stub, queue: str) -> dict[str, str]:
    """Name the server and the queue as every SDK reads them, and nothing of the user's own."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": tempfile.gettempdir(),
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_SQS": stub.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "BENCH_QUEUE": queue,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(CONSUMERS),
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
