"""Letters: messages in dead-letter queues, how a broker holds them, and what is told of them."""

import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError

from loafer_kit.exceptions import ConfigurationError, LoaferKitError, ProviderError

#: A reason that the runtime made of an exception begins with the name of its class.
_EXCEPTION = re.compile(r"([A-Z]\w+): ")


@dataclass(frozen=True, slots=True)
class Letter:
    """A message of the dead-letter queue `queue` (a name); `message` is what the broker delivered."""

    queue: str
    #: Its id in the dead-letter queue.
    id: str
    body: str
    message: Any = field(repr=False)
    #: Why it is there; None if nothing says so.
    reason: str | None = None
    #: The id of the message that died.
    original_id: str | None = None
    #: The queue that it comes from: an ARN from SQS, otherwise a name.
    source: str | None = None
    #: How often it was received, before its death too.
    receive_count: int = 0
    #: When it was sent to the dead-letter queue; by its first sender if SQS moved it.
    sent: datetime | None = None
    first_received: datetime | None = None
    #: Its message group.
    group: str | None = None
    #: Its message attributes or headers as plain values; binary ones in base64.
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> Any:
        """The body as JSON, or as text if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return self.body

    @property
    def exception(self) -> str | None:
        """The class of the exception in the reason."""
        match = _EXCEPTION.match(self.reason or "")
        return match and match[1]

    def facts(self) -> dict[str, Any]:
        """Return what is known of it, as JSON values: what `Choice.where` looks at."""
        return {
            "id": self.id,
            "original_id": self.original_id,
            "queue": self.queue,
            "source": self.source,
            "reason": self.reason,
            "exception": self.exception,
            "receive_count": self.receive_count,
            "sent": self.sent and self.sent.isoformat(),
            "first_received": self.first_received and self.first_received.isoformat(),
            "group": self.group,
            "attributes": self.attributes,
            "body": self.content,
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant: those with one of `ids`, for which `where` is true, `limit` at most.

    An id is that of the letter or of its original. `where` is a JMESPath expression over
    `Letter.facts`. Raises `ConfigurationError` if it cannot be read.
    """

    where: str | None = None
    ids: frozenset[str] = frozenset()
    limit: int | None = None

    def __post_init__(self) -> None:
        _expression(self.where)

    @property
    def is_everything(self) -> bool:
        """Whether every letter is meant."""
        return self == Choice()

    def matches(self, letter: Letter) -> bool:
        """Return whether a letter is meant, the limit aside."""
        if self.ids and not self.ids & {letter.id, letter.original_id}:
            return False
        expression = _expression(self.where)
        if expression is None:
            return True
        try:
            found = expression.search(letter.facts())
        except JMESPathTypeError:  # a function does not take what this letter has
            return False
        except JMESPathError as error:
            raise _unreadable(self.where, error) from error
        return found is True or (found is not False and found not in (None, "", [], {}))

    @property
    def count(self) -> int | None:
        """How many letters are chosen at most, one for each id."""
        return min(filter(None, (self.limit, len(self.ids))), default=None)

    @property
    def enough(self) -> int | None:
        """How many letters are enough to look at, if any letter will do."""
        return self.limit if self == Choice(limit=self.limit) else None


@functools.cache
def _expression(where: str | None) -> Any:
    if where is None:
        return None
    try:
        return jmespath.compile(where)
    except JMESPathError as error:
        raise _unreadable(where, error) from error


def _unreadable(where: str | None, error: Exception) -> ConfigurationError:
    why = str(error).partition("\n")[0].removesuffix(", for expression:")
    return ConfigurationError(f"{where!r} is not a JMESPath expression: {why}")


class Queue(NamedTuple):
    """A queue that exists: its name, and the address that tells it from every other."""

    name: str
    address: str


class Visit(Protocol):
    """A visit to a queue: its letters are received and held until they are deleted.

    At the end those that are left are returned. Each receive raises the receive count of its letters.
    `unseen` and `elsewhere` are known when `letters` or `batches` has come to its end: how many
    letters are there and were not received, and how many others have received.
    """

    queue: Queue
    unseen: int
    elsewhere: int

    @property
    def broker(self) -> "Broker":
        """What has the queue."""

    @property
    def remark(self) -> str | None:
        """What to tell a person about the letters of the visit."""

    def batches(self, size: int | None = None) -> AsyncIterator[list[Letter]]:
        """Yield the letters as they are received, each once, `size` at a time at most."""

    def holds(self, letter: Letter) -> bool:
        """Return whether nobody else can receive a letter."""

    async def delete(self, letters: Iterable[Letter]) -> dict[str, str]:
        """Delete letters; return why some could not be deleted, by their ids."""

    async def home(self, letter: Letter) -> Queue:
        """Return the queue that a letter comes from; raise `LoaferKitError` if none is known."""

    async def letters(self, choice: Choice | None = None) -> AsyncIterator[Letter]:
        """Yield the chosen letters, all by default."""
        choice = choice or Choice()
        count = 0
        async for batch in self.batches(choice.enough):
            for letter in filter(choice.matches, batch):
                yield letter
                count += 1
                if count == choice.count:
                    return


class Broker(Protocol):
    """What has the queues: SQS or RabbitMQ. Its methods raise `ProviderError`."""

    #: What is told of a letter that has no reason.
    no_reason: ClassVar[str]

    @staticmethod
    def exported(letter: Letter) -> dict[str, Any]:
        """Return a letter as JSON values, from which `imported` makes an equal one."""

    @staticmethod
    def imported(values: Any) -> Letter:
        """Return the letter that `exported` made the values of; raise `ValueError` for others."""

    async def queue(self, name: str) -> Queue:
        """Return a queue that exists."""

    async def dead_letter_queues(
        self, names: Iterable[str] = (), *, prefix: str | None = None
    ) -> list[str]:
        """Return the dead-letter queues of some queues, and those that a prefix finds."""

    def visit(self, queue: Queue) -> AbstractAsyncContextManager[Visit]:
        """Visit a queue; raise `ConfigurationError` for one whose letters a look would move."""

    async def counts(self, queue: Queue) -> tuple[int, int]:
        """Return about how many letters are visible, and how many are in flight."""

    async def sources(self, queue: Queue) -> list[str]:
        """Return the names of the queues whose dead letters go to a queue, as far as it is known."""

    def is_ordered(self, queue: str) -> bool:
        """Return whether the messages of a queue are sent one by one, to keep their order."""

    async def send(
        self,
        letter: Letter,
        queue: Queue,
        key: str,
        *,
        body: str | None = None,
        whole: bool = False,
    ) -> None:
        """Send a copy of a letter, once; return when the broker has it.

        A queue that knows copies by a key stores one of each `key`. What says why the letter died is
        left out unless the copy is `whole`.
        """

    async def empty(self, queue: Queue) -> None:
        """Delete every letter of a queue."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A dead-letter queue: how many letters are visible and in flight, and what they are.

    `reasons` counts the letters that were looked at, by their reasons (None: nothing says why);
    reasons that differ in their numbers only are one. `oldest` is when the oldest of them was sent.
    `problem` says why something is unknown.
    """

    queue: str
    url: str | None = None
    visible: int = 0
    in_flight: int = 0
    sources: tuple[str, ...] = ()
    seen: int = 0
    oldest: datetime | None = None
    reasons: Mapping[str | None, int] = field(default_factory=dict)
    problem: str | None = None


async def summaries(
    broker: Broker, queues: Mapping[str, str], look_at: int = 100
) -> AsyncIterator[Summary]:
    """Yield a summary of each queue, named as the broker takes it, by the name to show.

    It looks at so many letters of each, and returns them.
    """
    for name, address in queues.items():
        try:
            yield await _summary(broker, await broker.queue(address), look_at)
        except ProviderError as error:
            yield Summary(name, problem=str(error))


async def _summary(broker: Broker, queue: Queue, look_at: int) -> Summary:
    visible, in_flight = await broker.counts(queue)
    found: dict[str, Any] = {}
    try:
        found["sources"] = tuple(await broker.sources(queue))
        if look_at:
            found |= await _look(broker, queue, look_at)
    except LoaferKitError as error:
        found["problem"] = str(error)
    return Summary(queue.name, queue.address, visible, in_flight, **found)


async def _look(broker: Broker, queue: Queue, look_at: int) -> dict[str, Any]:
    kinds: dict[str | None, str | None] = {None: None}
    reasons: Counter[str | None] = Counter()
    moments = []
    async with broker.visit(queue) as visit:
        async for letter in visit.letters(Choice(limit=look_at)):
            kind = letter.reason and re.sub(r"\d+", "0", letter.reason)
            reasons[kinds.setdefault(kind, letter.reason)] += 1
            moments += [letter.sent] if letter.sent else []
    return {
        "seen": reasons.total(),
        "oldest": min(moments, default=None),
        "reasons": dict(reasons.most_common()),
    }


@dataclass(frozen=True, slots=True)
class Export:
    """The letters of a file, one JSON object a line; `key` is a digest of its content."""

    letters: tuple[Letter, ...]
    key: str

    @classmethod
    def read(cls, path: Path, imported: Callable[[Any], Letter]) -> "Export":
        """Return the letters of a file; raise `LoaferKitError` that names the first line that is none."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise LoaferKitError(f"{path}: {error.strerror}") from error
        letters = []
        for number, text in enumerate(content.split(b"\n"), 1):
            try:
                if text.strip():
                    letters.append(imported(json.loads(text)))
            except (ValueError, RecursionError) as error:
                raise LoaferKitError(
                    f"{path}:{number}: not a line of `dlq export`: {error}"
                ) from error
        return cls(tuple(letters), hashlib.sha256(content).hexdigest()[:16])
