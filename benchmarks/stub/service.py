"""The queues of one stub, and how often each action was called."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks.stub.errors import (
    InvalidValueError,
    QueueMissingError,
    ThrottledError,
    UnsupportedError,
)
from benchmarks.stub.queues import DEFAULT_ATTRIBUTES, Queue


class Service:
    """Finds queues by URL and by name."""

    ACCOUNT = "000000000000"

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.requests: Counter[str] = Counter()
        self.base_url = ""
        #: Seconds added to the answer of each deletion.
        self.deletion_latency = 0.0
        #: For how many seconds from the next deletion on SQS throttles them; since when it does.
        self.throttled_for = 0.0
        self._throttled_since: float | None = None

    def slow_down(self, latency: float, throttled_for: float) -> None:
        """Delay deletions, and throttle them from the next one on."""
        self.deletion_latency, self.throttled_for = latency, throttled_for
        self._throttled_since = None

    def check_deletion(self, now: float) -> None:
        """Raise `ThrottledError` while deletions are throttled."""
        if self._throttled_since is None:
            self._throttled_since = now
        if now - self._throttled_since < self.throttled_for:
            raise ThrottledError("Rate exceeded")

    def url(self, queue: Queue) -> str:
        return f"{self.base_url}/{self.ACCOUNT}/{queue.name}"

    def queue(self, request: Mapping[str, Any]) -> Queue:
        queue = self.named(request["QueueUrl"].rpartition("/")[2])
        queue.counts["requests"] += 1
        return queue

    def named(self, name: str) -> Queue:
        try:
            return self.queues[name]
        except KeyError:
            raise QueueMissingError("The specified queue does not exist.") from None

    def create(self, name: str, attributes: Mapping[str, str]) -> Queue:
        if name.endswith(".fifo"):
            raise UnsupportedError("This stub has standard queues only.")
        if unknown := attributes.keys() - DEFAULT_ATTRIBUTES.keys():
            raise InvalidValueError(f"This stub does not know {', '.join(sorted(unknown))}.")
        return self.queues.setdefault(name, Queue(name, attributes))

    def delete(self, queue: Queue) -> None:
        queue.purge()
        del self.queues[queue.name]
