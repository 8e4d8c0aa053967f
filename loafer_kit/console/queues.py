"""QueueWatch: how many messages the queues of the console hold, now and lately."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.local.sending import Server

#: Seconds between two looks at the queues of a local server, and at those of AWS, which costs.
_LOCAL_EVERY, _AWS_EVERY = 1.0, 10.0

#: Seconds after which a queue that could not be asked is looked for again.
_RETRY_AFTER = 5.0

#: The looks that are kept.
_HISTORY = 180

_COUNTS = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}


#: A queue as a page shows it.
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of a service: `schema` is the JSON Schema of its messages, `example` one of them."""

    name: str
    dead_letter_queue: str | None = None
    schema: Mapping[str, Any] | None = None
    example: str = ""


@dataclass(slots=True)
class Watched:
    """A queue that is watched: where it is, and what was seen of it."""

    name: str
    is_dead_letter_queue: bool
    server: Server | None = None
    url: str = ""
    error: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    #: Messages that wait, and messages in flight.
    history: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    due: float = 0.0

    def look(self, now: float, find: Callable[[str], Server]) -> None:
        """Ask for the counts, if it is time to; `find` returns the server of a queue."""
        if now < self.due:
            return
        try:
            if self.server is None:
                server = find(self.name)
                answer = server.clients.call("sqs", "get_queue_url", QueueName=self.name)
                self.server, self.url = server, str(answer["QueueUrl"])
            attributes = self.server.clients.call(
                "sqs",
                "get_queue_attributes",
                QueueUrl=self.url,
                AttributeNames=list(_COUNTS.values()),
            )["Attributes"]
        except LoaferKitError as error:
            # The server may come back elsewhere.
            self.server, self.error, self.due = None, str(error), now + _RETRY_AFTER
            return
        self.error = None
        self.due = now + self.every
        self.counts = {name: int(attributes.get(key, 0)) for name, key in _COUNTS.items()}
        waiting = self.counts["visible"] + self.counts["delayed"]
        self.history.append((waiting, self.counts["in_flight"]))

    def reachable(self) -> Server:
        """Return the server; raise `LoaferKitError` if the queue has not been found."""
        if self.server is None:
            raise LoaferKitError(f"{self.name} is not reachable: {self.error or 'not found yet'}")
        return self.server

    @property
    def is_local(self) -> bool:
        """Whether the queue is known to be on this machine."""
        return self.server is not None and self.server.is_local

    @property
    def every(self) -> float:
        """Seconds between two looks."""
        return _LOCAL_EVERY if self.is_local else _AWS_EVERY

    def as_row(self) -> Row:
        """Return what a page shows, as JSON has it."""
        return {
            "name": self.name,
            "is_dead_letter_queue": self.is_dead_letter_queue,
            "place": None if self.server is None else self.server.place,
            "is_local": self.is_local,
            "error": self.error,
            **self.counts,
            "history": list(self.history),
            "every": self.every,
        }


class QueueWatch:
    """Looks at queues in a thread, and calls `seen` there with what a page shows of each.

    `find` returns the server of a queue. A request may hang: the thread does not keep the process
    from ending.
    """

    def __init__(
        self,
        queues: Sequence[Queue],
        find: Callable[[str], Server],
        seen: Callable[[list[Row]], object],
    ) -> None:
        dead = {queue.dead_letter_queue for queue in queues}
        names = [name for queue in queues for name in (queue.name, queue.dead_letter_queue)]
        self._watched = {name: Watched(name, name in dead) for name in names if name}
        self._find_server = find
        self._servers: dict[str, Server] = {}
        self._seen = seen
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loafer-kit-console", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Let the thread end after the request that is under way."""
        self._ends.set()

    def asked(self, values: Mapping[str, Any]) -> Watched:
        """Return the `queue` that a request names; raise `LoaferKitError` if it is not watched."""
        found = self._watched.get(str(values.get("queue")))
        if found is None:
            raise LoaferKitError(f"The console has no queue {values.get('queue')!r}")
        return found

    def _run(self) -> None:
        while not self._ends.wait(_LOCAL_EVERY / 4):
            now = time.monotonic()
            for watched in self._watched.values():
                if not self._ends.is_set():
                    watched.look(now, self._find)
            self._seen([watched.as_row() for watched in self._watched.values()])

    def _find(self, queue: str) -> Server:
        """Return the server of a queue: one for all its queues, since its clients take memory."""
        found = self._find_server(queue)
        return self._servers.setdefault(found.place, found)
