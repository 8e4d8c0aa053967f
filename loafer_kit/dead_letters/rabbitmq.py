"""Dead letters on RabbitMQ: its queues, visits to them, and the copies that are sent."""

import asyncio
import base64
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractMessage
from aiormq.abc import AbstractChannel as UnderlayChannel
from yarl import URL

from loafer_kit.dead_letters import letters
from loafer_kit.dead_letters.letters import Letter, Queue
from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.ext.amqp.connections import (
    ANSWER,
    Publisher,
    address_of,
    broker_url,
    connect,
    depths,
    disconnect,
    lost_connection,
    provider_errors,
)
from loafer_kit.ext.amqp.letters import (
    ADDED,
    PROPERTIES,
    death_of,
    deliveries,
    first_received,
    revived,
)

#: Letters that are received before they are shown or sent.
_BATCH = 10

#: Seconds: a person who reads or edits holds up the answers to heartbeats.
_HEARTBEAT = 600

#: Deliveries from which on a look is dangerous: RabbitMQ 4 removes a message after 20 returns to a
#: quorum queue, unless the queue has another limit.
_MANY = 15

#: Characters of a letter's id.
_ID = 20


class RabbitMQ:
    """The queues of a broker that is reached by `connection`.

    `dead_letter_queues_of` are the known dead-letter queues by the queues whose letters they get.
    """

    no_reason: ClassVar = "no reason: neither a service nor RabbitMQ wrote one"

    def __init__(
        self, url: str, connection: AbstractConnection, dead_letter_queues_of: Mapping[str, str]
    ) -> None:
        self.connection = connection
        self._address = address_of(url)
        self._publisher = Publisher(url, "dlq: sends letters")
        self._dead_letter_queues_of = dead_letter_queues_of

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, url: str, dead_letter_queues_of: Mapping[str, str]
    ) -> AsyncIterator["RabbitMQ"]:
        """Connect for the length of a block; raise `ProviderError`."""
        url = str(URL(broker_url(url)).update_query(heartbeat=_HEARTBEAT))
        connection = await connect(url, "dlq: holds letters")
        broker = cls(url, connection, dead_letter_queues_of)
        try:
            yield broker
        finally:
            await broker._publisher.close()
            await disconnect(connection)

    @staticmethod
    def place(url: str) -> str:
        """Return the name of a broker for a person; raise `ConfigurationError` as `broker_url`."""
        return address_of(broker_url(url))

    @staticmethod
    def exported(letter: Letter) -> dict[str, Any]:
        """Return the body, or in base64 one that is not text, and the properties."""
        message: AbstractMessage = letter.message
        body = {"body": letter.body}
        if letter.body.encode(errors="replace") != message.body:
            body = {"base64": base64.b64encode(message.body).decode()}
        names = ("headers", "delivery_mode", *PROPERTIES)
        properties = {name: _as_json(getattr(message, name)) for name in names}
        kept = {name: value for name, value in properties.items() if value not in (None, "", {})}
        return {"queue": letter.queue, "id": letter.id, **body, "properties": kept}

    @staticmethod
    def imported(values: Any) -> Letter:
        """Return the letter that `exported` made the values of; raise `ValueError` for others."""
        try:
            text, encoded = values.get("body"), values.get("base64")
            body = text.encode() if encoded is None else base64.b64decode(encoded, validate=True)
            properties = {name: _from_json(value) for name, value in values["properties"].items()}
            message = aio_pika.Message(body, **properties)
            return letter_of(str(values["queue"]), message, str(values["id"]))
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("it lacks what an exported letter has") from error

    async def queue(self, name: str) -> Queue:
        """Return a queue that exists."""
        queue = Queue(name, f"{self._address}:{name}")
        await self.counts(queue)
        return queue

    async def dead_letter_queues(
        self, names: Iterable[str] = (), *, prefix: str | None = None
    ) -> list[str]:
        """Return the known dead-letter queues; with a prefix, those of names that begin with it."""
        if not self._dead_letter_queues_of:
            raise ConfigurationError(
                "RabbitMQ tells nobody the names of its queues: name a QUEUE, or go to the folder of "
                "the service"
            )
        known = self._dead_letter_queues_of.items()
        return sorted({dead for pair in known for dead in pair[1:] if _begins(pair, prefix)})

    @asynccontextmanager
    async def visit(self, queue: Queue) -> AsyncIterator["Visit"]:
        """Visit a queue; raise `ConfigurationError` for one that a service is known to read."""
        if target := self._dead_letter_queues_of.get(queue.name):
            raise ConfigurationError(
                f"{queue.name} is read by the service here, and looking at its messages counts as "
                f"deliveries: name its dead-letter queue, {target}"
            )
        with provider_errors(f"Queue {queue.name!r}"):
            channel = await self.connection.channel(publisher_confirms=False)
            visit = Visit(self, queue, channel, await channel.get_underlay_channel())
        try:
            yield visit
        finally:
            await visit.give_back()

    async def counts(self, queue: Queue) -> tuple[int, int]:
        """Return how many letters are ready; RabbitMQ does not tell how many consumers hold."""
        found = await depths(self.connection, [queue.name])
        if queue.name not in found:
            raise ProviderError(f"There is no queue {queue.name!r} on {self._address}")
        return found[queue.name], 0

    async def sources(self, queue: Queue) -> list[str]:
        """Return the queues of the service whose dead letters go to a queue."""
        known = self._dead_letter_queues_of.items()
        return sorted(source for source, dead in known if dead == queue.name)

    def is_ordered(self, queue: str) -> bool:
        """Return False: the channel keeps the order of what is sent side by side."""
        return False

    async def send(
        self,
        letter: Letter,
        queue: Queue,
        key: str,
        *,
        body: str | None = None,
        whole: bool = False,
    ) -> None:
        """Publish a copy of a letter to a queue, through the default exchange."""
        is_new = body is not None and body != letter.body
        content = body.encode() if body is not None and is_new else letter.message.body
        copy = revived(letter.message, content, whole=whole)
        await self._publisher.publish(copy, queue.name, attempts=1)

    async def empty(self, queue: Queue) -> None:
        """Delete every letter that is ready."""
        with provider_errors(f"Queue {queue.name!r}"):
            async with self.connection.channel() as channel:
                found = await channel.get_queue(queue.name, ensure=False)
                await found.purge(timeout=ANSWER)


class Visit(letters.Visit):
    """A visit to a queue of RabbitMQ: letters are held until its channel ends."""

    elsewhere = 0

    def __init__(
        self, broker: RabbitMQ, queue: Queue, channel: AbstractChannel, underlay: UnderlayChannel
    ) -> None:
        self._broker = broker
        self.queue = queue
        self.unseen = 0
        #: How many of these arrived after the first letter was received.
        self._arrived = 0
        self._channel = channel
        self._underlay = underlay
        self._tags: dict[str, int] = {}  # of the held letters, by their ids
        self._ids: Counter[str] = Counter()
        self._most_delivered = 0

    @property
    def broker(self) -> RabbitMQ:
        """What has the queue."""
        return self._broker

    @property
    def remark(self) -> str | None:
        """What to tell of letters that were not received, and of those that a limit may remove."""
        remarks = []
        if self._arrived:
            remarks.append(f"{self._arrived} more arrived meanwhile")
        if self._most_delivered >= _MANY:
            remarks.append(
                f"letters were delivered up to {self._most_delivered} times: if the queue has a "
                "delivery limit (on RabbitMQ 4, 20 unless it is set), further looks remove them"
            )
        return f"{self.queue.name}: {'; '.join(remarks)}" if remarks else None

    async def batches(self, size: int | None = None) -> AsyncIterator[list[Letter]]:
        """Yield the letters that are there now; those that arrive meanwhile are for another visit."""
        queue = await self._channel.get_queue(self.queue.name, ensure=False)
        left: int | None = None  # known with the first letter
        while left != 0:
            batch: list[Letter] = []
            while left != 0 and len(batch) < min(size or _BATCH, _BATCH):
                with provider_errors(f"Queue {self.queue.name!r}"):
                    message = await queue.get(fail=False, timeout=ANSWER)
                if message is None:
                    self.unseen = self._arrived = left = 0
                    break
                self.unseen = message.message_count or 0
                left = self.unseen if left is None else left - 1
                self._arrived = max(0, self.unseen - left)
                batch.append(self._received(message))
            if batch:
                yield batch

    def holds(self, letter: Letter) -> bool:
        """Return whether a letter is still hidden from everybody else."""
        return letter.id in self._tags and not self._underlay.is_closed

    async def delete(self, found: Iterable[Letter]) -> dict[str, str]:
        """Acknowledge letters; return why some could not be acknowledged, by their ids."""
        names = [letter.id for letter in found if letter.id in self._tags]
        try:
            with provider_errors(f"Queue {self.queue.name!r}"):
                for name in names:
                    tag = self._tags[name]
                    await asyncio.wait_for(self._underlay.basic_ack(tag, wait=False), ANSWER)
                # An acknowledgement has no answer: the broker has read it when it answers this.
                await self._channel.set_qos(prefetch_count=1, timeout=ANSWER)
        except ProviderError as error:
            return dict.fromkeys(names, str(error))
        for name in names:
            del self._tags[name]
        return {}

    async def home(self, letter: Letter) -> Queue:
        """Return the queue that a letter names."""
        if letter.source is None:
            raise ProviderError("Nothing says which queue to send to: name it with --to")
        return await self._broker.queue(letter.source)

    async def give_back(self) -> None:
        """Return the held letters, in their order. The end of the channel would return them too."""
        with lost_connection():
            for tag in self._tags.values():
                await asyncio.wait_for(self._underlay.basic_nack(tag, wait=False), ANSWER)
            await asyncio.wait_for(self._channel.close(), ANSWER)

    def _received(self, message: Any) -> Letter:
        name = _id_of(message)
        self._ids[name] += 1
        if self._ids[name] > 1:  # twins: either may be taken for the other
            name = f"{name}-{self._ids[name]}"
        self._tags[name] = message.delivery_tag
        here = message.headers.get("x-delivery-count")
        self._most_delivered = max(self._most_delivered, here if isinstance(here, int) else 0)
        return letter_of(self.queue.name, message, name, deliveries(message))


def letter_of(queue: str, message: AbstractMessage, name: str, receive_count: int = 0) -> Letter:
    """Return a message of a queue as a letter with the id `name`."""
    death = death_of(message.headers)
    first = first_received(message)
    sender = {key: value for key, value in message.headers.items() if key not in ADDED}
    return Letter(
        queue,
        name,
        message.body.decode(errors="backslashreplace"),
        message,
        reason=death.reason,
        original_id=message.message_id,
        source=death.source,
        receive_count=receive_count,
        sent=death.time or message.timestamp,
        first_received=first,
        attributes=_as_json(sender, marked=False),
    )


def _id_of(message: AbstractMessage) -> str:
    """Return a digest of all that stays with a message: a sender may give one id to several."""
    headers = {key: value for key, value in message.headers.items() if key != "x-delivery-count"}
    facts = [message.message_id, str(message.timestamp), _as_json(headers)]
    known = json.dumps(facts, sort_keys=True).encode()
    return hashlib.sha256(known + message.body).hexdigest()[:_ID]


def _begins(names: Iterable[str], prefix: str | None) -> bool:
    return prefix is None or any(name.startswith(prefix) for name in names)


def _as_json(value: Any, *, marked: bool = True) -> Any:
    """Return a value of AMQP as JSON has it; `marked`, what JSON lacks is an object of one key."""
    match value:
        case bytes() | bytearray():
            mark, text = "$binary", base64.b64encode(value).decode()
        case datetime():
            mark, text = "$time", value.isoformat()
        case Decimal():
            mark, text = "$decimal", str(value)
        case Mapping():
            return {str(key): _as_json(item, marked=marked) for key, item in value.items()}
        case list() | tuple():
            return [_as_json(item, marked=marked) for item in value]
        case _:
            return value
    return {mark: text} if marked else text


def _from_json(value: Any) -> Any:
    match value:
        case {"$binary": str(text)}:
            return base64.b64decode(text, validate=True)
        case {"$time": str(text)}:
            return datetime.fromisoformat(text)
        case {"$decimal": str(text)}:
            return Decimal(text)
        case dict():
            return {key: _from_json(item) for key, item in value.items()}
        case list():
            return [*map(_from_json, value)]
    return value
