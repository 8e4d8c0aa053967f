"""Dead letters on SQS: its queues, visits to them, and the copies that are sent."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from loafer_kit.dead_letters import letters
from loafer_kit.dead_letters.letters import Letter, Queue
from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.ext.aws.addresses import bare_name, is_arn, is_fifo
from loafer_kit.ext.aws.dead_letters import COMBINED, MESSAGE_ID, REASON, SOURCE_QUEUE
from loafer_kit.ext.aws.limits import SQS_BATCH_SIZE
from loafer_kit.ext.aws.options import message_counts, redrive_target
from loafer_kit.ext.aws.requests import transport
from loafer_kit.ext.aws.requests.clients import Clients, borrowed
from loafer_kit.ext.aws.requests.errors import queue_subject
from loafer_kit.types import Message

#: Seconds for which a letter is hidden; extended while the visit lasts. After the death of this
#: process its letters are visible again when they are over.
HOLD = 60

#: Seconds of a long poll: the shortest that asks all of SQS's servers.
_POLL = 1
#: Polls in a row that bring nothing although SQS counts letters.
_EMPTY_POLLS = 3

_DELETIONS = 3

_PAGE = 1_000

#: The message attributes in which the service says why a letter died.
_ADDED = frozenset({REASON, SOURCE_QUEUE, MESSAGE_ID, COMBINED})


class SQS:
    """The queues that some clients reach."""

    no_reason: ClassVar = "no reason: SQS moved it after its last receive"

    def __init__(self, clients: Clients) -> None:
        self.clients = clients

    @classmethod
    @asynccontextmanager
    async def opened(cls, options: Mapping[str, Any], address: str = "") -> AsyncIterator["SQS"]:
        """Share clients with these options for the length of a block; `address` is a queue's."""
        async with borrowed(options, address) as clients:
            yield cls(clients)

    @staticmethod
    def exported(letter: Letter) -> dict[str, Any]:
        """Return both kinds of attributes too; binary values in base64."""
        attributes = {
            name: {key: _as_text(part) for key, part in value.items()}
            for name, value in _attributes(letter.message).items()
        }
        return {
            "queue": letter.queue,
            "MessageId": letter.id,
            "Body": letter.body,
            "Attributes": dict(letter.message.get("Attributes") or {}),
            "MessageAttributes": attributes,
        }

    @staticmethod
    def imported(values: Any) -> Letter:
        """Return the letter that `exported` made the values of; raise `ValueError` for others."""
        try:
            message = {name: values[name] for name in ("MessageId", "Body")}
            message["Attributes"] = dict(values.get("Attributes") or {})
            message["MessageAttributes"] = {
                name: _attribute(dict(value))
                for name, value in dict(values.get("MessageAttributes") or {}).items()
            }
            queue = values["queue"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("it lacks what an exported letter has") from error
        texts = (queue, *message["Attributes"].values(), message["MessageId"], message["Body"])
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("it has another shape than an exported letter")
        try:
            return letter_of(queue, message)
        except (OSError, OverflowError, ValueError) as error:  # a count or a time that is none
            raise ValueError("it has another shape than an exported letter") from error

    async def queue(self, name: str) -> Queue:
        """Return the queue with a name, URL or ARN."""
        url = await self.clients.queue_url(name)
        return Queue(bare_name(url), url)

    @asynccontextmanager
    async def visit(self, queue: Queue) -> AsyncIterator["Visit"]:
        """Visit a queue; raise `ConfigurationError` for one that moves its letters on.

        At the end, the letters that were received and not deleted are returned.
        """
        requests = transport.Queue(queue.name, queue.address, await self.clients.transport())
        attributes = await requests.attributes()
        _refuse_source(queue.name, attributes)
        visit = Visit(self, queue, requests, attributes)
        keeper = asyncio.create_task(visit.keep())
        try:
            yield visit
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
            await visit.give_back()

    async def counts(self, queue: Queue) -> tuple[int, int]:
        """Return how many letters are visible and in flight; SQS counts them approximately."""
        counts = message_counts(await self.attributes_of(queue.address))
        return counts.get("visible", 0), counts.get("in_flight", 0)

    async def sources(self, queue: Queue) -> list[str]:
        """Return the names of the queues whose redrive policies name a queue."""
        return [*map(bare_name, await self.source_urls(queue.address))]

    def is_ordered(self, queue: str) -> bool:
        """Return whether a queue is a FIFO queue."""
        return is_fifo(queue)

    async def send(
        self,
        letter: Letter,
        queue: Queue,
        key: str,
        *,
        body: str | None = None,
        whole: bool = False,
    ) -> None:
        """Send a copy of a letter; a FIFO queue gets `key` as its deduplication id."""
        parameters = copy_of(letter, queue.name, key, body=body, whole=whole)
        answer = await (await self.clients.transport()).call(
            "SendMessage", queue.address, **parameters
        )
        subject = queue_subject(queue.address)
        transport.check_published(answer, parameters, "SendMessage", subject)

    async def empty(self, queue: Queue) -> None:
        """Delete every letter of a queue, those that others have received too."""
        _refuse_source(queue.name, await self.attributes_of(queue.address))
        await self.request("PurgeQueue", {"QueueUrl": queue.address})

    async def dead_letter_queues(
        self, names: Iterable[str] = (), *, prefix: str | None = None
    ) -> list[str]:
        """Return the dead-letter queues of queues (names, URLs or ARNs), as ARNs.

        Also those among all queues whose names begin with `prefix`, and of these.
        """
        urls = (
            []
            if prefix is None
            else await self._pages("ListQueues", "QueueUrls", {"QueueNamePrefix": prefix})
        )
        found: dict[str, None] = {}
        for url in [*[await self.clients.queue_url(name) for name in names], *urls]:
            attributes = await self.attributes_of(url)
            if target := redrive_target(attributes):
                found[target] = None
            if url in urls and await self.source_urls(url):
                found[attributes["QueueArn"]] = None
        return sorted(found)

    async def source_urls(self, url: str) -> list[str]:
        """Return the URLs of the queues whose redrive policies name the queue at `url`."""
        return await self._pages("ListDeadLetterSourceQueues", "queueUrls", {"QueueUrl": url})

    async def only_source(self, url: str) -> str:
        """Return the one source of a dead-letter queue; raise `ProviderError` if there is not one."""
        found = await self.source_urls(url)
        if len(found) != 1:
            names = ", ".join(map(bare_name, found)) or "none"
            raise ProviderError(
                f"Nothing says which queue to send to: name it with --to (sources of "
                f"{bare_name(url)}: {names})"
            )
        return found[0]

    async def attributes_of(self, url: str) -> dict[str, str]:
        """Return all attributes of a queue, under AWS's names."""
        parameters = {"QueueUrl": url, "AttributeNames": ["All"]}
        answer = await self.request("GetQueueAttributes", parameters)
        return answer.get("Attributes") or {}

    async def request(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request about the queue that its first parameter names."""
        subject = queue_subject(next(iter(parameters.values())))
        return await self.clients.request("sqs", action, subject, parameters)

    async def _pages(self, action: str, key: str, parameters: dict[str, Any]) -> list[str]:
        """Return the items of every page of a list; SQS names a next page only if asked for pages."""
        found: list[str] = []
        more: dict[str, Any] = {"MaxResults": _PAGE}
        while True:
            answer = await self.request(action, parameters | more)
            found += answer.get(key) or []
            if not answer.get("NextToken"):
                return found
            more["NextToken"] = answer["NextToken"]


class Visit(letters.Visit):
    """A visit to a queue of SQS. On a FIFO queue, a held letter hides the later ones of its group."""

    def __init__(
        self, broker: SQS, queue: Queue, requests: transport.Queue, attributes: dict[str, str]
    ) -> None:
        self._broker = broker
        self.queue = queue
        self._requests = requests
        self._arn = attributes.get("QueueArn", "")
        self.unseen = self.elsewhere = 0
        self._handles: dict[str, tuple[str, float]] = {}  # by message id, with the end of the hold
        self._seen: set[str] = set()

    @property
    def broker(self) -> SQS:
        """What has the queue."""
        return self._broker

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
            group = (
                ": a letter in hand holds up its message group" if self._requests.is_fifo else ""
            )
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
                failures = await self._requests.delete(self._handles[name][0] for name in ids)
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

    async def home(self, letter: Letter) -> Queue:
        """Return the queue that a letter or, if it names none, a redrive policy says."""
        address = letter.source or await self._broker.only_source(self.queue.address)
        if not is_arn(address):
            # On a letter, a name is that of a queue in the account of the dead-letter queue.
            address = f"{self._arn.rpartition(':')[0]}:{bare_name(address)}"
        return await self._broker.queue(address)

    async def keep(self) -> None:
        """Keep letters hidden until cancelled; those that others have received are let go."""
        while True:
            await asyncio.sleep(HOLD / 3)
            for names in _batches(list(self._handles)):
                held = [name for name in names if name in self._handles]
                until = asyncio.get_running_loop().time() + HOLD
                with suppress(ProviderError):  # the next turn comes before the time is over
                    failures = await self._requests.change_visibility(
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
                await self._requests.change_visibility(
                    (self._handles[name][0], 0) for name in names
                )
        self._handles.clear()

    async def _receive(self, size: int) -> list[Letter]:
        until = asyncio.get_running_loop().time() + HOLD
        messages = await self._requests.receive(
            MaxNumberOfMessages=size,
            VisibilityTimeout=HOLD,
            WaitTimeSeconds=_POLL,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        # SQS may deliver a message twice, also in one answer.
        found = {message["MessageId"]: letter_of(self.queue.name, message) for message in messages}
        for name, letter in found.items():
            self._handles[name] = letter.message["ReceiptHandle"], until
        new = [letter for name, letter in found.items() if name not in self._seen]
        self._seen.update(found)
        return new

    async def _count(self) -> None:
        counts = message_counts(await self._requests.attributes())
        self.unseen = counts.get("visible", 0)
        self.elsewhere = max(0, counts.get("in_flight", 0) - len(self._handles))


def _refuse_source(name: str, attributes: Mapping[str, str]) -> None:
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


def letter_of(queue: str, message: Message) -> Letter:
    """Return a message of the queue `queue` (a name) as ReceiveMessage delivered it."""
    system = message.get("Attributes") or {}
    attributes = {name: _plain(value) for name, value in _attributes(message).items()}
    death = _death(attributes)
    return Letter(
        queue,
        str(message["MessageId"]),
        str(message["Body"]),
        message,
        reason=death.get(REASON),
        original_id=death.get(MESSAGE_ID),
        # SQS's word counts first: any sender can write a message attribute.
        source=system.get("DeadLetterQueueSourceArn") or death.get(SOURCE_QUEUE),
        receive_count=int(system.get("ApproximateReceiveCount", 0)),
        sent=_moment(system.get("SentTimestamp")),
        first_received=_moment(system.get("ApproximateFirstReceiveTimestamp")),
        group=system.get("MessageGroupId"),
        attributes=attributes,
    )


def copy_of(
    letter: Letter,
    target: str,
    deduplication_id: str,
    *,
    body: str | None = None,
    whole: bool = False,
) -> dict[str, Any]:
    """Return the parameters of SendMessage for a copy of a letter to the queue `target`.

    It keeps the message attributes and the trace context. The attributes about its death are left
    out unless the copy is `whole`.
    """
    parameters = {"MessageBody": letter.body if body is None else body}
    parameters |= transport.copied_parameters(letter.message)
    attributes: dict[str, Any] = parameters.pop("MessageAttributes", {})  # type: ignore[assignment]
    kept = {name: part for name, part in attributes.items() if whole or name not in _ADDED}
    if kept:
        parameters["MessageAttributes"] = kept  # type: ignore[assignment]
    if is_fifo(target):
        parameters["MessageGroupId"] = letter.group or letter.id
        parameters["MessageDeduplicationId"] = deduplication_id
    elif letter.group and not is_fifo(letter.queue):
        parameters["MessageGroupId"] = letter.group  # a standard queue is fair among groups
    return parameters


def _death(attributes: Mapping[str, Any]) -> Mapping[str, str]:
    """Return what the service wrote on a letter, by the names of the attributes."""
    texts = {name: attributes[name] for name in _ADDED & attributes.keys()}
    try:
        combined = json.loads(str(texts.pop(COMBINED, "{}")))
    except (ValueError, RecursionError):
        combined = {}
    known = combined if isinstance(combined, dict) else {}
    return {name: str(value) for name, value in {**known, **texts}.items()}


def _attributes(message: Message) -> Mapping[str, Mapping[str, Any]]:
    return message.get("MessageAttributes") or {}


def _moment(milliseconds: str | None) -> datetime | None:
    if milliseconds is None or not milliseconds.isdecimal():
        return None
    return datetime.fromtimestamp(int(milliseconds) // 1000, UTC)


def _plain(attribute: Mapping[str, Any]) -> Any:
    if "BinaryValue" in attribute:
        return _as_text(attribute["BinaryValue"])
    text = attribute.get("StringValue")
    if str(attribute.get("DataType")).startswith("Number"):
        try:
            return json.loads(str(text))
        except ValueError:
            return text
    return text


def _as_text(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _attribute(values: dict[str, Any]) -> dict[str, Any]:
    if "BinaryValue" in values:
        values["BinaryValue"] = base64.b64decode(values["BinaryValue"], validate=True)
    return values
