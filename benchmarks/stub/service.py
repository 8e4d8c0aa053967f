"""The queues of one stub, and how often each action was called."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks.stub.errors import InvalidValueError, QueueMissingError, UnsupportedError
from benchmarks.stub.queues import DEFAULT_ATTRIBUTES, Queue


class Service:
    """Finds queues by URL and by name."""

    ACCOUNT = "000000000000"

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.requests: Counter[str] = Counter()
        self.base_url = ""

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
