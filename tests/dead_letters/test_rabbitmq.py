"""Dead letters on a real broker: visits, replays, exports, and what RabbitMQ itself moved."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import aio_pika
import pytest
import rabbit
from programs import Program

from loafer_kit.dead_letters import letters, replays
from loafer_kit.dead_letters.letters import Choice
from loafer_kit.dead_letters.replays import Journal
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.amqp import AMQPProvider
from loafer_kit.outcomes import DeadLetter

pytestmark = pytest.mark.slow

module = pytest.importorskip("loafer_kit.dead_letters.rabbitmq")


class Shop:
    """A queue with its dead-letter queue, and a broker that knows them."""

    def __init__(self, url, queue):
        self.url = url
        self.queue = queue
        self.dead = f"{queue}.dead"

    def opened(self):
        return module.RabbitMQ.opened(self.url, {self.queue: self.dead})

    async def declare(self, **options):
        provider = AMQPProvider(self.queue, url=self.url, **options)
        await provider.connect()
        await provider.close()

    async def reject(self, *bodies, reason="ValueError: no", **properties):
        """Let messages die as a service does."""
        provider = AMQPProvider(self.queue, url=self.url)
        provider.wait_time = 5
        try:
            await provider.connect()
            await rabbit.send(self.url, self.queue, *bodies, **properties)
            for message in await rabbit.fetch(provider, len(bodies)):
                await provider.settle(message, DeadLetter(reason))
            await provider.flush()
        finally:
            await provider.close()

    async def taken(self, queue=None):
        """Take every message of a queue."""
        async with rabbit.connect(self.url) as channel:
            found, queue = [], await channel.get_queue(queue or self.queue)
            while message := await queue.get(no_ack=True, fail=False):
                found.append(message)
        return found

    async def bodies(self, queue=None):
        return rabbit.bodies(await self.taken(queue))

    async def replay(self, choice=None, **options):
        async with self.opened() as broker, self.visit(broker) as visit:
            return [outcome async for outcome in replays.replay(visit, choice, **options)]

    async def letters(self, choice=None, queue=None):
        async with self.opened() as broker, self.visit(broker, queue) as visit:
            return [letter async for letter in visit.letters(choice)]

    @contextlib.asynccontextmanager
    async def visit(self, broker, queue=None):
        async with broker.visit(await broker.queue(queue or self.dead)) as visit:
            yield visit


def sender_headers(message):
    """Return the headers that RabbitMQ did not add."""
    return {name: value for name, value in message.headers.items() if name != "x-delivery-count"}


@pytest.fixture
def shop(rabbitmq):
    return Shop(rabbitmq, rabbit.fresh())


async def test_a_letter_says_what_the_service_wrote(shop):
    """Reason, source, the id of the message, how often it was delivered, and its headers."""
    before = datetime.now(UTC)
    await shop.reject('{"id": 1}', message_id="m1", headers={"tries": 3, "raw": bytearray(b"\xff")})
    (letter,) = await shop.letters()
    assert (letter.reason, letter.exception) == ("ValueError: no", "ValueError")
    assert (letter.source, letter.original_id, letter.receive_count) == (shop.queue, "m1", 2)
    assert before <= letter.sent <= datetime.now(UTC)
    assert letter.facts()["body"] == {"id": 1}
    assert letter.attributes == {"tries": 3, "raw": "/w=="}
    assert Choice("attributes.tries > `2` && body.id == `1`").matches(letter)


@pytest.mark.parametrize("kind", ["quorum", "classic"])
@pytest.mark.parametrize("limit", [None, 2])
async def test_a_look_returns_letters_in_their_order(shop, kind, limit):
    """To their places, also before those that were not looked at."""
    await shop.declare(queue_type=kind)
    await rabbit.send(shop.url, shop.dead, *"12345")
    found = await shop.letters(Choice(limit=limit))
    assert [letter.body for letter in found] == list("12345")[:limit]
    assert await shop.bodies(shop.dead) == list("12345")


async def test_only_what_arrived_meanwhile_is_called_that(shop):
    """Letters behind a limit did not, but they are counted: the console tells of them."""
    await shop.declare()
    await rabbit.send(shop.url, shop.dead, *"123")
    async with shop.opened() as broker, shop.visit(broker) as visit:
        assert len([letter async for letter in visit.letters(Choice(limit=2))]) == 2
        assert (visit.remark, visit.unseen) == (None, 1)
    async with shop.opened() as broker, shop.visit(broker) as visit:
        batches = visit.batches(1)
        await anext(batches)
        await rabbit.send(shop.url, shop.dead, "4")
        assert len([batch async for batch in batches]) == 2
        assert visit.remark == f"{shop.dead}: 1 more arrived meanwhile"


async def test_receive_counts_rise_and_many_of_them_are_told(shop, monkeypatch):
    """A delivery limit would remove letters that are looked at too often."""
    monkeypatch.setattr(module, "_MANY", 2)
    await shop.declare()
    await rabbit.send(shop.url, shop.dead, "1")
    counts, remarks = [], []
    for _ in range(3):
        async with shop.opened() as broker, shop.visit(broker) as visit:
            counts += [letter.receive_count async for letter in visit.letters()]
            remarks.append(visit.remark)
    assert counts == [1, 2, 3]
    assert remarks[:2] == [None, None]
    assert "delivered up to 2 times" in remarks[2]


async def test_letters_go_back_to_their_queue(shop):
    """Without what says why they died; the other headers and the properties stay."""
    headers = {
        "origin": "web",
        "traceparent": "00-ab-cd-01",
        "at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    await shop.reject("1", "2", headers=headers, message_id="m", content_type="text/plain")
    outcomes = await shop.replay()
    assert [(item.status, item.target, item.problem) for item in outcomes] == [
        ("sent", shop.queue, None)
    ] * 2
    found = await shop.taken()
    assert rabbit.bodies(found) == ["1", "2"]
    assert sender_headers(found[0]) == headers
    assert (found[0].message_id, found[0].content_type, found[0].delivery_mode) == (
        "m",
        "text/plain",
        2,
    )
    assert await shop.bodies(shop.dead) == []


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_what_rabbitmq_itself_moved_goes_back_too(shop, kind):
    """It says why, when and from where; no service wrote anything."""
    arguments = {
        "x-queue-type": kind,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": shop.dead,
    }
    await rabbit.declare(shop.url, shop.queue, arguments, durable=True)
    await rabbit.declare(shop.url, shop.dead, {"x-queue-type": kind}, durable=True)
    await rabbit.send(shop.url, shop.queue, "1", headers={"origin": "web"})
    async with rabbit.connect(shop.url) as channel:
        await (await (await channel.get_queue(shop.queue)).get()).reject()
    while not (found := await shop.letters()):
        pass
    (letter,) = found
    assert (letter.reason, letter.exception) == ("moved by RabbitMQ: rejected", None)
    assert letter.source == shop.queue
    assert (datetime.now(UTC) - letter.sent).total_seconds() < 60
    assert letter.attributes == {"origin": "web"}
    assert [item.status for item in await shop.replay()] == ["sent"]
    (message,) = await shop.taken()
    assert sender_headers(message) == {"origin": "web"}


async def test_a_letter_from_nowhere_is_kept(shop):
    """Nothing is guessed; `to` sends it."""
    await shop.declare()
    await rabbit.send(shop.url, shop.dead, "1")
    (letter,) = await shop.letters()
    assert (letter.reason, letter.source, letter.sent) == (None, None, None)
    (kept,) = await shop.replay()
    assert (kept.status, "name it with --to" in kept.problem) == ("kept", True)
    for name, problem in (("nowhere", "no queue"), (shop.dead, "is the queue that")):
        (kept,) = await shop.replay(to=name)
        assert (kept.status, problem in kept.problem) == ("kept", True)
    assert [item.status for item in await shop.replay(to=shop.queue)] == ["sent"]


async def test_only_chosen_letters_are_sent(shop):
    """By expression, by id, by the id of the message, and at most so many."""
    await shop.reject("1", message_id="m1")
    await shop.reject("2", "3", "4", "5", reason="KeyError: 'id'")
    assert len(await shop.replay(Choice("exception == 'ValueError'"))) == 1
    named = [letter.id for letter in await shop.letters(Choice("body == `3`"))]
    assert [item.letter for item in await shop.replay(Choice(ids=frozenset(named)))] == named
    assert len(await shop.replay(Choice(limit=1))) == 1
    assert await shop.bodies(shop.dead) == ["4", "5"]


async def test_equal_letters_are_told_apart(shop):
    """Nothing in them differs, and each is sent once."""
    await shop.declare()
    await rabbit.send(shop.url, shop.dead, "1", "1", "1", message_id="same")
    names = {letter.id for letter in await shop.letters()}
    assert len(names) == 3
    chosen = Choice(ids=frozenset(sorted(names)[:2]))
    assert len(await shop.replay(chosen, to=shop.queue)) == 2
    assert (await shop.bodies(), await shop.bodies(shop.dead)) == (["1", "1"], ["1"])


async def test_what_was_sent_and_not_removed_is_only_removed(shop, monkeypatch):
    """The connection broke between the confirmation and the acknowledgement."""
    await shop.reject("1", "2")
    with monkeypatch.context() as patch:

        async def broken(visit, found):
            if found:
                await visit.broker.connection.close()
            return dict.fromkeys([letter.id for letter in found], "cut")

        patch.setattr(module.Visit, "delete", broken)
        first = await shop.replay()
    assert [(item.status, item.problem.partition(":")[0]) for item in first] == [
        ("sent", "it was sent and not deleted, which the next replay does")
    ] * 2
    while len(await shop.letters()) < 2:  # the broker returns them by and by
        pass
    outcomes = await shop.replay(Choice("body == `7`"))
    assert [(item.status, item.possibly_doubled) for item in outcomes] == [("sent", False)] * 2
    assert (await shop.bodies(), await shop.bodies(shop.dead)) == (["1", "2"], [])
    await shop.reject("1", "2")  # the same messages die again: they are other letters
    assert [item.status for item in await shop.replay()] == ["sent", "sent"]
    assert await shop.bodies() == ["1", "2"]


#: What a client sends at the start of a method: it publishes, and it acknowledges.
PUBLISH, ACKNOWLEDGE = b"\x00\x3c\x00\x28", b"\x00\x3c\x00\x50"


@pytest.mark.parametrize(("method", "turn"), [(PUBLISH, 1), (PUBLISH, 3), (ACKNOWLEDGE, 2)])
async def test_a_killed_replay_is_resumed_without_losing_or_doubling(
    shop, proxy, monkeypatch, method, turn
):
    """Its last words still reach the broker. Each letter is sent once, or named as possibly doubled."""
    bodies = list("12345")
    await shop.reject(*bodies)
    ids = {letter.id: letter.body for letter in await shop.letters()}
    monkeypatch.setenv("LOAFER_AMQP_URL", proxy.url)
    process = Program(
        *("-m", "loafer_kit", "dlq", "replay", shop.dead, "--yes", "--rate", "2"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
    )
    seen = []

    def watch(data):
        seen.extend([method] * data.count(method))
        if len(seen) >= turn:
            os.kill(process.pid, signal.SIGKILL)

    proxy.watch = watch
    assert await asyncio.to_thread(process.wait, 60) == -signal.SIGKILL
    found, outcomes = Counter(), []
    shop.url = proxy.url  # the journal is that of this address
    proxy.watch = lambda data: None
    while set(found) != set(bodies):  # the broker returns letters by and by
        outcomes += await shop.replay()
        found.update(await shop.bodies())
    named = {ids[outcome.letter] for outcome in outcomes if outcome.possibly_doubled}
    assert {body for body, count in found.items() if count > 1} <= named
    assert [outcome.problem for outcome in outcomes if outcome.problem] == []
    assert await shop.bodies(shop.dead) == []
    if method is ACKNOWLEDGE:  # every send was recorded
        assert named == set()


async def test_a_send_that_was_interrupted_is_repeated_and_named(shop):
    """Whether it happened is unknown."""
    await shop.reject("1")
    (letter,) = await shop.letters()
    async with shop.opened() as broker:
        address = (await broker.queue(shop.dead)).address
    with Journal(address) as journal:
        journal.record("sending", [letter.id])
    (outcome,) = await shop.replay()
    assert (outcome.status, outcome.possibly_doubled) == ("sent", True)


async def test_a_send_that_is_not_confirmed_keeps_the_letter(shop, proxy, monkeypatch):
    """It is not repeated silently: it may be on its queue already."""
    await shop.reject("1")
    shop.url = proxy.url
    publish = aio_pika.exchange.Exchange.publish

    async def cut(exchange, *arguments, **options):
        if proxy.connections == 2:  # the holder's and the sender's
            await proxy.cut()
        return await publish(exchange, *arguments, **options)

    monkeypatch.setattr(aio_pika.exchange.Exchange, "publish", cut)
    outcomes = await shop.replay()
    assert [(item.status, item.possibly_doubled) for item in outcomes] == [("kept", True)]


async def test_an_edited_letter_is_sent_with_its_new_body(shop):
    """A body that is not text stays as it is unless it is edited."""
    await shop.declare()
    async with rabbit.connect(shop.url) as channel:
        for body in (b"\xff\x00", b"old"):
            message = aio_pika.Message(body, headers={"DeadLetterReason": "x"})
            await channel.default_exchange.publish(message, shop.dead)

    async def edit(letter):
        return letter.body.replace("old", "new")

    await shop.replay(to=shop.queue, edit=edit)
    assert [message.body for message in await shop.taken()] == [b"\xff\x00", b"new"]


async def test_chosen_letters_are_purged_or_all(shop):
    """And no others."""
    await shop.reject("1", "2", "3")
    async with shop.opened() as broker, shop.visit(broker) as visit:
        outcomes = [item async for item in replays.purge(visit, Choice("body == `1`"))]
    assert [item.status for item in outcomes] == ["deleted"]
    assert [letter.body for letter in await shop.letters()] == ["2", "3"]
    async with shop.opened() as broker:
        await broker.empty(await broker.queue(shop.dead))
    assert await shop.bodies(shop.dead) == []


async def test_a_summary_counts_letters_by_reason(shop):
    """It names the queues of the service that they come from."""
    await shop.reject("1", reason="ValueError: order 1")
    await shop.reject("2", reason="ValueError: order 2")
    async with shop.opened() as broker:
        assert await broker.dead_letter_queues() == [shop.dead]
        assert await broker.dead_letter_queues(prefix="x") == []
        names = {name: name for name in (shop.dead, "nowhere")}
        found, missing = [item async for item in letters.summaries(broker, names)]
    assert (found.visible, found.sources, found.seen) == (2, (shop.queue,), 2)
    assert found.reasons == {"ValueError: order 1": 2}
    assert "no queue 'nowhere'" in missing.problem


async def test_a_queue_that_the_service_reads_is_not_looked_at(shop):
    """A look would count as a delivery of its messages."""
    await shop.declare()
    with pytest.raises(ConfigurationError, match=f"name its dead-letter queue, {shop.dead}"):
        await shop.letters(queue=shop.queue)


async def test_without_a_service_no_queue_is_found(shop):
    """RabbitMQ's protocol has no list of queues."""
    async with module.RabbitMQ.opened(shop.url, {}) as broker:
        with pytest.raises(ConfigurationError, match="name a QUEUE"):
            await broker.dead_letter_queues(prefix="")


HEADERS = {
    "text": "x",
    "raw": b"\xff",
    "at": datetime(2026, 1, 1, tzinfo=UTC),
    "price": Decimal("1.5"),
    "list": [1, True, None, {"deep": b"\x00"}],
}


@pytest.mark.parametrize("body", [b"{}", "ü".encode(), b"\xff\x00", rb"\xff"])
async def test_an_exported_letter_is_imported_unchanged(shop, body):
    """Headers of all types, and a body that is not text, pass through JSON."""
    properties = {"message_id": "m", "timestamp": datetime(2026, 1, 1, tzinfo=UTC), "priority": 0}
    message = aio_pika.Message(body, headers=HEADERS, delivery_mode=2, **properties)
    letter = module.letter_of("orders.dead", message, "a")
    exported = json.loads(json.dumps(module.RabbitMQ.exported(letter)))
    imported = module.RabbitMQ.imported(exported)
    assert imported.facts() == letter.facts()
    assert (imported.message.body, imported.message.headers) == (body, HEADERS)
    assert module.RabbitMQ.exported(imported) == exported


@pytest.mark.parametrize(
    "values",
    [
        None,
        "text",
        {},
        {"queue": "q", "id": "a", "body": 7, "properties": {}},
        {"queue": "q", "id": "a", "base64": "%", "properties": {}},
        {"queue": "q", "id": "a", "body": "", "properties": {"wrong": 1}},
        {"queue": "q", "id": "a", "body": "", "properties": {"headers": {"a": {"$time": "x"}}}},
        {"queue": "q", "id": "a", "body": "", "properties": {"headers": {"a": {"$decimal": "x"}}}},
        {"queue": "q", "MessageId": "m", "Body": "b"},
    ],
)
def test_other_values_are_refused(values):
    """A file may be anything, also an export from SQS."""
    with pytest.raises(ValueError, match="an exported letter"):
        module.RabbitMQ.imported(values)


@pytest.mark.parametrize("target", ["queue", "dead"])
async def test_an_import_keeps_the_death_in_its_own_queue(shop, target):
    """Elsewhere it is left out."""
    await shop.reject("1", headers={"origin": "web"})
    found = [
        module.RabbitMQ.imported(module.RabbitMQ.exported(letter))
        for letter in await shop.letters()
    ]
    await shop.taken(shop.dead)
    name = getattr(shop, target)
    async with shop.opened() as broker:
        sent = replays.send_letters(broker, found, await broker.queue(name), "key")
        assert [item.status async for item in sent] == ["sent"]
    (message,) = await shop.taken(name)
    assert ("DeadLetterReason" in message.headers) is (target == "dead")
    assert message.headers["origin"] == "web"
