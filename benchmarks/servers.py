"""A stub in a process of its own, and what a benchmark asks of it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.processes import pin

Answer = dict[str, Any]


@dataclass(frozen=True)
class Stub:
    """A running stub, asked over HTTP."""

    url: str

    def create_queue(self, name: str) -> None:
        self._call_sqs("CreateQueue", {"QueueName": name})

    def send(self, name: str, body: str) -> None:
        url = f"{self.url}/000000000000/{name}"
        self._call_sqs("SendMessage", {"QueueUrl": url, "MessageBody": body})

    def fill(self, name: str, copies: int) -> None:
        """Add copies of the message that the queue was sent last."""
        self._get(f"/fill?queue={name}&copies={copies}")

    def slow_down(self, *, latency: float = 0.0, throttled_for: float = 0.0) -> None:
        """Delay each deletion by so many seconds, or throttle them for some."""
        self._get(f"/slow-down?latency={latency}&throttled_for={throttled_for}")

    def drained(self, name: str, seconds: float) -> bool:
        """Wait until the queue is empty, at most so many seconds."""
        answer = self._get(f"/drained?queue={name}&seconds={seconds}")
        return bool(answer["drained"])

    def stats(self) -> Answer:
        return self._get("/stats")

    def _call_sqs(self, action: str, fields: dict[str, str]) -> None:
        headers = {"X-Amz-Target": f"AmazonSQS.{action}"}
        request = urllib.request.Request(self.url, json.dumps(fields).encode(), headers)
        urllib.request.urlopen(request).close()

    def _get(self, path: str) -> Answer:
        with urllib.request.urlopen(self.url + path) as answer:
            found: Answer = json.load(answer)
        return found


@contextmanager
def running_stub(latency_ms: float) -> Iterator[Stub]:
    """Run a stub on the first core; the consumers get another."""
    command = [sys.executable, "-m", "benchmarks.stub", "--latency-ms", str(latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pin(process.pid, core=0)
        assert process.stdout is not None
        try:
            yield Stub(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.terminate()
