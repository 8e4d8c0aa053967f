"""A side's program: started as a session of its own, on one core, and ended with all it started."""

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
from benchmarks.processes import Usage, pin, usage_of_session
from benchmarks.servers import Stub
from benchmarks.sides import Side

#: Half a kilobyte.
BODY = '{"order": "%s"}' % ("x" * 486)

#: Seconds for a consumer to stop by itself once it was measured.
STOP_GRACE = 3


class RunError(Exception):
    """A consumer ended or stood still before its queue was drained."""


@dataclass(frozen=True)
class Program:
    """A running consumer and where its output goes."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def usage(self) -> Usage:
        return usage_of_session(self.process.pid)

    def await_drained(self, stub: Stub, queue: str, seconds: float) -> None:
        """Wait until the queue is empty; raises `RunError` when the consumer does not get there."""
        end = time.monotonic() + seconds
        while not stub.drained(queue, 0.5):
            self.check()
            if time.monotonic() > end:
                raise RunError(f"it was not done after {seconds:.0f} s: {self._last_line()}")

    def check(self) -> None:
        """Raise `RunError` if the consumer has ended."""
        if self.process.poll() is not None:
            raise RunError(f"it ended with {self.process.returncode}: {self._last_line()}")

    def _last_line(self) -> str:
        lines = Path(self.output.name).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"


@contextmanager
def running(
    side: Side, environment: Mapping[str, str], *, core: int | None = 1
) -> Iterator[Program]:
    """Run a side until the block ends, on one core or on all of them."""
    with tempfile.NamedTemporaryFile(prefix="bench-") as output:
        process = subprocess.Popen(
            side.start_command(),
            cwd=CONSUMERS,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if core is not None:
            pin(process.pid, core)
        try:
            yield Program(process, output)
        finally:
            _end(process)


def publish_one(side: Side, stub: Stub, queue: str) -> None:
    """Send one message in the side's own format, for the stub to copy."""
    if not side.publish:
        stub.send(queue, BODY)
        return
    environment = environment_of(stub, queue) | {"BENCH_BODY": BODY}
    done = subprocess.run(
        side.publish_command(), cwd=CONSUMERS, env=environment, capture_output=True, check=False
    )
    if done.returncode:
        raise RunError(f"it cannot publish: {done.stderr.decode().strip().splitlines()[-1]}")


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
            process.wait(STOP_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
