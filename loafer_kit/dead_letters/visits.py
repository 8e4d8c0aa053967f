"""Visit: receives the letters of a queue, holds them meanwhile, and returns those that are left."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress

from loafer_kit.dead_letters.letters import Choice, Letter
from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.ext.aws.addresses import bare_name
from loafer_kit.ext.aws.limits import SQS_BATCH_SIZE
from loafer_kit.ext.aws.options import redrive_target
from loafer_kit.ext.aws.requests.clients import Clients
from loafer_kit.ext.aws.requests.transport import Queue

#: Seconds for which a letter is hidden; extended while the visit lasts. After the death of this
#: process its letters are visible again when they are over.
HOLD = 60

#: Seconds of a long poll: the shortest that asks all of SQS's servers.
_POLL = 1
#: Polls in a row that bring nothing although SQS counts letters.
_EMPTY_POLLS = 3

_DELETIONS = 3


class Visit:
    """A visit to the queue. Each receive raises the receive count of its letters.

    `unseen` and `elsewhere` are known when `letters` or `batches` has come to its end: how many
    letters are visible and were not received, and how many others have received. SQS counts them
    approximately. On a FIFO queue, a letter that is held hides the later ones of its group.
    """

    def __init__(self, clients: Clients, queue: Queue, attributes: dict[str, str]) -> None:
        self.clients = clients
        self.queue = queue
        self.arn = attributes.get("QueueArn", "")
        self.unseen = self.elsewhere = 0
        self._handles: dict[str, tuple[str, float]] = {}  # by message id, with the end of the hold
        self._seen: set[str] = set()

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

    async def batches(self, size: int | None = None) -> AsyncIterator[list[Letter]]:
        """Yield the letters as they are received, each once, `size` at a time at most."""
        empty = 0
        while True:
            batch = await self._receive(min(size or SQS_BATCH_SIZE, SQS_BATCH_SIZE))
            if batch:
                empty = 0
                yield batch
                continue
            empty += 1
            await self._count()
            if empty == _EMPTY_POLLS or not self.unseen:
                return

    @property
    def remark(self) -> str | None:
        """What to tell of letters that were not received, if there are any."""
        remarks = []
        if self.unseen:
            group = ": a letter in hand holds up its message group" if self.queue.is_fifo else ""
            remarks.append(f"about {self.unseen} more are there and were not received{group}")
        if self.elsewhere:
            remarks.append(
                f"about {self.elsewhere} are in flight: another consumer or a killed command has "
                f"them, the latter for {HOLD} seconds at most"
            )
        return f"{self.queue.name}: {'; '.join(remarks)}" if remarks else None

    def holds(self, letter: Letter) -> bool:
        """Return whether a letter is still hidden from everybody else."""
        now = asyncio.get_running_loop().time()
        return self._handles.get(letter.id, ("", 0.0))[1] > now

    async def delete(self, letters: Iterable[Letter]) -> dict[str, str]:
        """Delete letters; return why some could not be deleted, by their ids."""
        left = {letter.id: "its time in hand is over" for letter in letters}
        for attempt in range(_DELETIONS):
            ids = [name for name in left if name in self._handles]
            if not ids:
                break
            await asyncio.sleep(attempt * 0.2)
            try:
                failures = await self.queue.delete(self._handles[name][0] for name in ids)
            except ProviderError as error:
                left |= dict.fromkeys(ids, str(error))
                continue
            failed = {ids[int(failure["Id"])]: failure for failure in failures}
            for name in ids:
                if name in failed:
                    left[name] = f"{failed[name]['Code']} {failed[name]['Message']}".strip()
                else:
                    del left[name], self._handles[name]
        return left

    async def keep(self) -> None:
        """Keep letters hidden until cancelled; those that others have received are let go."""
        while True:
            await asyncio.sleep(HOLD / 3)
            for names in _batches(list(self._handles)):
                held = [name for name in names if name in self._handles]
                until = asyncio.get_running_loop().time() + HOLD
                with suppress(ProviderError):  # the next turn comes before the time is over
                    failures = await self.queue.change_visibility(
                        (self._handles[name][0], HOLD) for name in held
                    )
                    failed = {held[int(failure["Id"])] for failure in failures}
                    for name in held:
                        if name in self._handles and name not in failed:
                            self._handles[name] = self._handles[name][0], until

    async def give_back(self) -> None:
        """Make the held letters visible, the last first: so a message group keeps its order.

        Those that cannot be returned become visible by themselves, after `HOLD` seconds.
        """
        for names in _batches(list(reversed(self._handles))):
            with suppress(ProviderError):
                await self.queue.change_visibility((self._handles[name][0], 0) for name in names)
        self._handles.clear()

    async def _receive(self, size: int) -> list[Letter]:
        until = asyncio.get_running_loop().time() + HOLD
        messages = await self.queue.receive(
            MaxNumberOfMessages=size,
            VisibilityTimeout=HOLD,
            WaitTimeSeconds=_POLL,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        letters = {message["MessageId"]: Letter(self.queue.name, message) for message in messages}
        for name, letter in letters.items():
            self._handles[name] = letter.message["ReceiptHandle"], until
        new = [letter for name, letter in letters.items() if name not in self._seen]
        self._seen.update(letters)
        return new

    async def _count(self) -> None:
        attributes = await self.queue.attributes()
        self.unseen = int(attributes.get("ApproximateNumberOfMessages", 0))
        hidden = int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0))
        self.elsewhere = max(0, hidden - len(self._handles))


@asynccontextmanager
async def visiting(clients: Clients, url: str) -> AsyncIterator[Visit]:
    """Visit the queue at `url`; at the end, what was received and not deleted is returned.

    Raises `ConfigurationError` as `refuse_source` does.
    """
    queue = Queue(bare_name(url), url, await clients.transport())
    attributes = await queue.attributes()
    refuse_source(queue.name, attributes)
    visit = Visit(clients, queue, attributes)
    keeper = asyncio.create_task(visit.keep())
    try:
        yield visit
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])
        await visit.give_back()


def refuse_source(name: str, attributes: Mapping[str, str]) -> None:
    """Refuse a queue with a redrive policy of its own: it is a source, or would lose letters.

    A receive is what moves its messages on, and how often they were received is not known before.
    """
    if target := redrive_target(attributes):
        raise ConfigurationError(
            f"{name} moves its messages to {bare_name(target)} when they are received too often, and "
            "looking at them is a receive: name its dead-letter queue, or remove its redrive policy"
        )


def _batches(names: list[str]) -> Iterable[list[str]]:
    return (names[at : at + SQS_BATCH_SIZE] for at in range(0, len(names), SQS_BATCH_SIZE))
