"""The queues of the console: how many messages they hold, now and lately, and their dead letters."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from loafer_kit.dead_letters import rabbitmq_broker, replays
from loafer_kit.dead_letters.letters import Broker, Choice, Letter, Visit
from loafer_kit.dead_letters.letters import Queue as Name
from loafer_kit.dead_letters.sqs import SQS
from loafer_kit.exceptions import LoaferKitError, ProviderError
from loafer_kit.ext.aws.options import MESSAGE_COUNTS, message_counts
from loafer_kit.local import rabbitmq, sending
from loafer_kit.local.queues import MessageOptions
from loafer_kit.local.sending import Server
from loafer_kit.local.servers import is_local

#: Seconds between two looks at the queues of a local server, and at those of AWS, which costs.
_LOCAL_EVERY, _AWS_EVERY = 1.0, 10.0

#: Seconds after which a queue that could not be asked is looked for again.
_RETRY_AFTER = 5.0

#: The looks that are kept.
_HISTORY = 180

#: Letters that a page gets at once, and the characters of their bodies that are kept for it.
_MOST_LETTERS, _MOST_KEPT = 500, 2**25

#: A queue as a page shows it, and what a request names.
Row = dict[str, Any]
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of a service: `schema` is the JSON Schema of its messages, `example` one of them.

    `rabbitmq` are the options with which its route declares it on RabbitMQ; None: it is on SQS.
    """

    name: str
    dead_letter_queue: str | None = None
    schema: Mapping[str, Any] | None = None
    example: str = ""
    rabbitmq: Mapping[str, Any] | None = None


class Place(Protocol):
    """Where queues are. Its methods block, except `broker`.

    Only the watch's thread calls `count` and `close`.
    """

    name: str
    is_local: bool

    def find(self, queue: str) -> str:
        """Return the address of a queue there."""

    def count(self, address: str) -> Mapping[str, int]:
        """Return how many messages are `visible`, and if it is known, `in_flight` and `delayed`."""

    def send(self, address: str, body: str, group: str | None) -> str:
        """Send a message; return its id."""

    def broker(self, address: str) -> AbstractAsyncContextManager[Broker]:
        """Return what has the dead letters of a queue, to be opened."""

    def close(self) -> None:
        """Close what the counts have opened."""


class OnSQS:
    """Queues on a server of SQS."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.name = server.place
        self.is_local = server.is_local

    def find(self, queue: str) -> str:
        return str(self._server.clients.call("sqs", "get_queue_url", QueueName=queue)["QueueUrl"])

    def count(self, address: str) -> Mapping[str, int]:
        attributes = self._server.clients.call(
            "sqs",
            "get_queue_attributes",
            QueueUrl=address,
            AttributeNames=list(MESSAGE_COUNTS.values()),
        )["Attributes"]
        return {**dict.fromkeys(MESSAGE_COUNTS, 0), **message_counts(attributes)}

    def send(self, address: str, body: str, group: str | None) -> str:
        destination = self._server.queue(address)
        [message_id] = sending.send(destination, [body], MessageOptions(group=group))
        return message_id

    def broker(self, address: str) -> AbstractAsyncContextManager[Broker]:
        return SQS.opened(self._server.clients.options, address)

    def close(self) -> None:
        """Do nothing: the server's clients are shared."""


class OnRabbitMQ:
    """Queues on the broker of RabbitMQ that is in use; raises `ConfigurationError` without one."""

    def __init__(self, queues: Iterable[Queue]) -> None:
        self._options = {queue.name: queue.rabbitmq or {} for queue in queues}
        self._pairs = {queue.name: str(queue.dead_letter_queue) for queue in queues}
        self._url = rabbitmq.url_in_use()
        self._kind = rabbitmq_broker()
        self.name = self._kind.place(self._url)
        self.is_local = is_local(self._url)
        self._runner = asyncio.Runner()
        self._opened = AsyncExitStack()
        self._counting: Broker | None = None

    def find(self, queue: str) -> str:
        return queue

    def count(self, address: str) -> Mapping[str, int]:
        return self._runner.run(self._count(address))

    def send(self, address: str, body: str, group: str | None) -> str:
        [message_id] = rabbitmq.put(self._url, address, self._options[address], [body])
        return message_id

    def broker(self, address: str) -> AbstractAsyncContextManager[Broker]:
        return self._kind.opened(self._url, self._pairs)

    def close(self) -> None:
        self._runner.run(self._opened.aclose())
        self._runner.close()

    async def _count(self, queue: str) -> Mapping[str, int]:
        if self._counting is None:
            self._counting = await self._opened.enter_async_context(self.broker(queue))
        try:
            visible, _ = await self._counting.counts(Name(queue, queue))
        except ProviderError:  # the connection may be a broken one
            self._counting = None
            await self._opened.aclose()
            raise
        return {"visible": visible}


@dataclass(slots=True)
class Watched:
    """A queue that is watched: where it is, and what was seen of it."""

    name: str
    is_dead_letter_queue: bool
    place: Place | None = None
    address: str = ""
    error: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    #: Messages that wait, and messages in flight.
    history: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    due: float = 0.0

    def look(self, now: float, find: Callable[[str], Place]) -> None:
        """Ask for the counts, if it is time to; `find` returns the place of a queue."""
        if now < self.due:
            return
        try:
            if self.place is None:
                place = find(self.name)
                self.address = place.find(self.name)
                self.place = place
            self.counts = self.place.count(self.address)
        except LoaferKitError as error:
            # The server may come back elsewhere.
            self.place, self.error, self.due = None, str(error), now + _RETRY_AFTER
            return
        self.error = None
        self.due = now + self.every
        waiting = self.counts["visible"] + self.counts.get("delayed", 0)
        self.history.append((waiting, self.counts.get("in_flight", 0)))

    def reachable(self) -> Place:
        """Return the place; raise `LoaferKitError` if the queue has not been found."""
        if self.place is None:
            raise LoaferKitError(f"{self.name} is not reachable: {self.error or 'not found yet'}")
        return self.place

    @property
    def is_local(self) -> bool:
        """Whether the queue is known to be on this machine."""
        return self.place is not None and self.place.is_local

    @property
    def every(self) -> float:
        """Seconds between two looks."""
        return _LOCAL_EVERY if self.is_local else _AWS_EVERY

    def as_row(self) -> Row:
        """Return what a page shows, as JSON has it."""
        return {
            "name": self.name,
            "is_dead_letter_queue": self.is_dead_letter_queue,
            "place": self.place and self.place.name,
            "is_local": self.is_local,
            "error": self.error,
            **self.counts,
            "history": list(self.history),
            "every": self.every,
        }


class QueueWatch:
    """Looks at queues in a thread, and calls `seen` there with what a page shows of each.

    `find` returns the server of a queue of SQS. A request may hang: the thread does not keep the process
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
        self._places: dict[str, Place] = {}
        self._on_rabbitmq = [queue for queue in queues if queue.rabbitmq is not None]
        self._seen = seen
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loafer-kit-console", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Let the thread end after the request that is under way."""
        self._ends.set()

    def asked(self, values: Values) -> Watched:
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
        for place in self._places.values():
            place.close()

    def _find(self, queue: str) -> Place:
        """Return the place of a queue: one for all its queues, since its clients take memory."""
        if any(queue in (item.name, item.dead_letter_queue) for item in self._on_rabbitmq):
            found: Place = OnRabbitMQ(self._on_rabbitmq)
        else:
            found = OnSQS(self._find_server(queue))
        known = self._places.setdefault(found.name, found)
        if known is not found:
            found.close()
        return known


class Letters:
    """The dead letters of the queues of `watch`.

    The letters of the last look into each queue are kept: a body that is asked for later is not
    received again.
    """

    def __init__(self, watch: QueueWatch) -> None:
        self._watch = watch
        self._seen: dict[str, dict[str, Letter]] = {}

    async def look(self, values: Values) -> dict[str, Any]:
        """Receive and return letters: what is known of each, without its content."""
        queue = self._watch.asked(values)
        choice = Choice(str(values.get("where") or "") or None, limit=_limit(values.get("limit")))
        seen = self._seen[queue.name] = {}
        left = _MOST_KEPT
        async with _visiting(queue) as visit:
            async for letter in visit.letters(choice):
                seen[letter.id] = letter
                left -= len(letter.body)
                if left < 0:
                    break
        return {
            "letters": [_facts(letter) for letter in seen.values()],
            "no_reason": visit.broker.no_reason,
            "unseen": visit.unseen,
            "elsewhere": visit.elsewhere,
        }

    async def content(self, values: Values) -> dict[str, Any]:
        """Return the body and the attributes of a letter that was looked at."""
        letter = self._seen.get(str(values.get("queue")), {}).get(str(values.get("id")))
        if letter is None:
            raise LoaferKitError("The letter is not known here any more: look again")
        return {"body": letter.body, "attributes": letter.attributes}

    async def replay(self, values: Values) -> dict[str, Any]:
        """Send letters back to their queues; with a `body`, which replaces that of the one letter."""
        queue, choice, body = self._confirmed(values), _choice(values), values.get("body")
        if body is not None and (not isinstance(body, str) or not body or len(choice.ids) != 1):
            raise LoaferKitError(
                "An edited letter is replayed alone, with a body that is not empty"
            )

        async def edit(_: Letter) -> str | None:
            return body

        async with _visiting(queue) as visit:
            outcomes = replays.replay(visit, choice, edit=None if body is None else edit)
            return {"outcomes": [asdict(outcome) async for outcome in outcomes]}

    async def purge(self, values: Values) -> dict[str, Any]:
        """Delete letters."""
        queue, choice = self._confirmed(values), _choice(values)
        async with _visiting(queue) as visit:
            outcomes = replays.purge(visit, choice)
            return {"outcomes": [asdict(outcome) async for outcome in outcomes]}

    def _confirmed(self, values: Values) -> Watched:
        """Return the queue of a request that destroys; on AWS its name must be typed."""
        queue = self._watch.asked(values)
        if not queue.is_local and values.get("confirm") != queue.name:
            raise LoaferKitError(f"Type the name of the queue, {queue.name}, to confirm")
        return queue


@asynccontextmanager
async def _visiting(queue: Watched) -> AsyncIterator[Visit]:
    async with (
        queue.reachable().broker(queue.address) as broker,
        broker.visit(await broker.queue(queue.address)) as visit,
    ):
        yield visit


def _choice(values: Values) -> Choice:
    ids = values.get("ids")
    if not isinstance(ids, Sequence) or isinstance(ids, str) or not ids:
        raise LoaferKitError("No letter is chosen: choose at least one")
    return Choice(ids=frozenset(map(str, ids)))


def _limit(value: object) -> int:
    text = str(value)
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= _MOST_LETTERS:
        raise LoaferKitError(f"The number of letters must be from 1 to {_MOST_LETTERS}")
    return int(text)


def _facts(letter: Letter) -> dict[str, Any]:
    """Return what is known of a letter, without what its sender wrote."""
    facts = letter.facts()
    del facts["body"], facts["attributes"]
    return {**facts, "size": len(letter.body.encode(errors="surrogatepass"))}
