"""Producers, on a real server over HTTP."""

import asyncio
import json
from decimal import Decimal
from uuid import uuid4

import pytest

from loafer_kit.events import Observer
from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.ext.aws.message_translators import SQSMessageTranslator
from loafer_kit.ext.aws.producer import Producer, RefusedError
from loafer_kit.ext.aws.requests import clients
from loafer_kit.local import LocalQueue
from loafer_kit.managers import LoaferManager
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

TRACEPARENT = f"00-{'1' * 32}-{'2' * 16}-01"


@pytest.fixture
def queue(local_queues):
    return local_queues.fresh()


@pytest.fixture
def fifo(local_queues):
    return local_queues.fresh(fifo=True, attributes={"ContentBasedDeduplication": "true"})


def take(local_queues, queue):
    """Receive all messages of a queue, one group's in their order."""
    found = []
    while messages := local_queues.receive(queue):
        found += messages
        local_queues.delete_messages(queue, messages)
    return found


async def test_a_returned_send_is_on_the_queue(local_queues, queue):
    """The id is that of the message; text goes as it is, anything else as JSON."""
    async with Producer(queue) as producer:
        ids = [await producer.send(body) for body in ({"é": 1}, "plain", 7, None)]
    found = {message["MessageId"]: message["Body"] for message in take(local_queues, queue)}
    assert [found[message_id] for message_id in ids] == ['{"é": 1}', "plain", "7", "null"]


async def test_sends_at_the_same_time_share_requests(local_queues, queue):
    """Twenty-five messages take three requests."""
    requests = Requests()
    manager = LoaferManager([Route(InMemoryProvider([1]), lambda *_: True)])
    manager.observe(requests)
    producer = Producer(local_queues.queue_url(queue))

    @manager.startup
    async def send(service):
        await asyncio.gather(*(producer.send(number) for number in range(25)))

    await manager.serve(forever=False)
    sizes = [len(r.parameters["Entries"]) for r in requests.made if r.action == "SendMessageBatch"]
    assert sorted(sizes) == [5, 10, 10]
    assert sorted(int(m["Body"]) for m in take(local_queues, queue)) == list(range(25))


class Requests(Observer):
    def __init__(self):
        self.made = []

    def request_ended(self, request):
        self.made.append(request)


async def test_attributes_go_along_by_their_type(local_queues, queue):
    """A text, a number, bytes, or what is in AWS's shape already."""
    shaped = {"DataType": "String.own", "StringValue": "x"}
    async with Producer(queue) as producer:
        await producer.send(
            1,
            attributes={"text": "grün", "n": Decimal("1.5"), "raw": b"\x00\xff", "own": shaped},
            delay=0,
        )
        for wrong in (True, None, ["x"]):
            with pytest.raises(
                TypeError, match="attribute 'bad' must be a text, a number or bytes"
            ):
                await producer.send(1, attributes={"bad": wrong})
    [message] = take(local_queues, queue)
    assert message["MessageAttributes"] == {
        "text": {"DataType": "String", "StringValue": "grün"},
        "n": {"DataType": "Number", "StringValue": "1.5"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "own": shaped,
    }


async def test_a_delay_hides_the_message(local_queues, queue):
    """Until then the queue does not deliver it."""
    async with Producer(queue) as producer:
        await producer.send(1, delay=900)
    assert take(local_queues, queue) == []
    assert local_queues.counts(queue).total == 1


async def test_the_group_of_a_standard_queue_is_that_of_fair_queues(local_queues, queue):
    """It goes along, and orders nothing."""
    async with Producer(queue) as producer:
        await asyncio.gather(*(producer.send(number, group="tenant") for number in range(10)))
    found = take(local_queues, queue)
    assert [message["Attributes"]["MessageGroupId"] for message in found] == ["tenant"] * 10


async def test_a_group_keeps_the_order_of_the_calls(local_queues, fifo):
    """Also when all are sent at the same time; the deduplication id is the one that is given."""
    async with Producer(fifo) as producer:
        await asyncio.gather(
            *(
                producer.send(number, group=group, deduplication_id=f"{group}{number}")
                for number in range(6)
                for group in "ab"
            )
        )
        await producer.send("again", group="a", deduplication_id="a0")
    found = take(local_queues, fifo)
    for group in "ab":
        of_group = [m for m in found if m["Attributes"]["MessageGroupId"] == group]
        assert [int(message["Body"]) for message in of_group] == list(range(6))
        ids = [message["Attributes"]["MessageDeduplicationId"] for message in of_group]
        assert ids == [f"{group}{number}" for number in range(6)]


async def test_what_cannot_be_sent_there_is_refused_at_once(fifo):
    """The error says what to do."""
    async with Producer(fifo) as producer:
        with pytest.raises(RefusedError, match="every message needs a group"):
            await producer.send(1)
        with pytest.raises(RefusedError, match="delays no single message"):
            await producer.send(1, group="g", delay=5)
    with pytest.raises(RefusedError, match="'events' delays no single message"):
        await Producer(topic="events").send(1, delay=5)


async def test_no_delay_is_not_mentioned_where_there_is_none(fifo):
    """A FIFO queue has no parameter for it; on a standard queue 0 outweighs the queue's own delay."""
    requests = Requests()
    manager = LoaferManager([Route(InMemoryProvider([1]), lambda *_: True)])
    manager.observe(requests)

    @manager.startup
    async def send(service):
        await Producer(fifo).send("a", group="g", delay=0)

    await manager.serve(forever=False)
    [sent] = [r.parameters for r in requests.made if r.action == "SendMessage"]
    assert "DelaySeconds" not in sent


async def test_a_block_that_is_cancelled_gives_back_its_connections(queue):
    """It does not wait to the end for what cannot be sent."""
    stuck = asyncio.Event()

    async def prepare(body, attributes):
        await stuck.wait()

    producer = Producer(queue, prepare=prepare)

    async def block():
        async with producer:
            sending.append(asyncio.create_task(producer.send(1)))
            await asyncio.sleep(0)
            began.set()

    sending, began = [], asyncio.Event()
    task = asyncio.create_task(block())
    await began.wait()
    task.cancel()
    sending[0].cancel()
    await asyncio.wait([task, *sending])
    assert not clients._in_use.get(asyncio.get_running_loop())


async def test_what_sqs_refuses_fails_alone(local_queues, queue):
    """The error has SQS's reason; the others of the request are sent."""
    async with Producer(queue) as producer:
        good, bad, last = await asyncio.gather(
            producer.send(1),
            producer.send(2, delay=901),
            producer.send(3),
            return_exceptions=True,
        )
    assert isinstance(bad, RefusedError)
    assert str(bad).startswith(f"Queue '{queue}': SendMessage")
    assert {message["MessageId"] for message in take(local_queues, queue)} == {good, last}


async def test_messages_are_published_to_a_topic(local_queues):
    """By its name or ARN, in batches; subscribers get body and attributes."""
    name = f"topic-{uuid4().hex[:8]}"
    local_queues.create(LocalQueue(f"{name}-queue", topic=name))
    async with Producer(topic=name) as producer:
        ids = await asyncio.gather(*(producer.send(n, attributes={"n": n}) for n in range(12)))
    assert producer.address == f"arn:aws:sns:us-east-1:123456789012:{name}"
    await Producer(topic=producer.address).send("by ARN")
    envelopes = [json.loads(message["Body"]) for message in take(local_queues, f"{name}-queue")]
    assert {envelope["Message"] for envelope in envelopes} == {*map(str, range(12)), "by ARN"}
    assert len(set(ids)) == 12
    [seven] = [envelope for envelope in envelopes if envelope["Message"] == "7"]
    assert seven["MessageAttributes"] == {"n": {"Type": "Number", "Value": "7"}}


@pytest.mark.parametrize(
    ("address", "named"), [({"queue": "no"}, "Queue 'no'"), ({"topic": "no"}, "Topic 'no'")]
)
async def test_a_destination_that_does_not_exist_is_named(local_queues, address, named):
    """Each send says so, and what to do."""
    async with Producer(**address) as producer:
        with pytest.raises(ProviderError, match=f"{named} does not exist"):
            await producer.send(1)


async def test_without_a_region_the_error_says_what_is_missing(monkeypatch):
    """It is an error of this package, in one line."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/none")
    with pytest.raises(ProviderError, match="no AWS region is set"):
        await Producer("https://queue.example/123456789012/orders").send(1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "to a queue or to a topic"),
        ({"queue": "a", "topic": "b"}, "to a queue or to a topic"),
        ({"queue": "a", "regoin_name": "x"}, "Did you mean 'region_name'"),
        ({"queue": "a", "linger": -1}, "linger must be a number of at least 0"),
        ({"queue": "a", "attempts": 0}, "attempts must be a whole number of at least 1"),
        ({"queue": "a", "buffer": 0.5}, "buffer must be a whole number of at least 1"),
    ],
)
def test_options_that_cannot_work_are_one_line(options, problem):
    """They are reported when the producer is made."""
    with pytest.raises(ConfigurationError, match=problem):
        Producer(**options)


class Tracing(Observer):
    """Gives each message a trace context, and notes what was told of it."""

    def __init__(self):
        self.ended = []

    def send_started(self, sending):
        sending.headers["traceparent"] = TRACEPARENT

    def send_ended(self, sending):
        self.ended.append((sending.destination, sending.address, sending.answer, sending.error))


async def test_each_message_carries_its_trace_context(local_queues, queue):
    """As an attribute, or beside ten attributes as X-Ray's header; observers hear of each message."""
    tracing = Tracing()
    manager = LoaferManager([Route(InMemoryProvider([1, 2]), lambda *_: True)])
    manager.observe(tracing)
    producer = Producer(queue)
    producer.init_app(manager)

    @manager.startup
    async def send(service):
        tens = {f"own-{number}": "x" for number in range(10)}
        await producer.send("few")
        await producer.send("ten", attributes=tens)

    await manager.serve(forever=False)
    found = {message["Body"]: message for message in take(local_queues, queue)}
    assert found["few"]["MessageAttributes"]["traceparent"]["StringValue"] == TRACEPARENT
    assert len(found["ten"]["MessageAttributes"]) == 10
    assert f"Parent={'2' * 16}" in found["ten"]["Attributes"]["AWSTraceHeader"]
    ids = {message["MessageId"] for message in found.values()}
    assert {answer["MessageId"] for _, _, answer, _ in tracing.ended} == ids
    assert {told[:2] for told in tracing.ended} == {(queue, local_queues.queue_url(queue))}


async def test_prepare_replaces_body_and_attributes(local_queues, queue, fifo):
    """Before the message is sized and batched; the order of a group is kept over its waits."""

    async def prepare(body, attributes):
        await asyncio.sleep(0.05 if body == "0" else 0)
        return f"<{body}>", {**attributes, "size": {"DataType": "Number", "StringValue": "3"}}

    async with Producer(queue, prepare=prepare) as producer:
        await producer.send("a", attributes={"own": "x"})
    [message] = take(local_queues, queue)
    assert message["Body"] == "<a>"
    assert message["MessageAttributes"].keys() == {"own", "size"}
    async with Producer(fifo, prepare=prepare) as producer:
        await asyncio.gather(*(producer.send(str(number), group="g") for number in range(3)))
    assert [message["Body"] for message in take(local_queues, fifo)] == ["<0>", "<1>", "<2>"]


async def test_what_prepare_raises_reaches_the_sender(queue):
    """And holds up nothing else."""

    async def prepare(body, attributes):
        if body == "bad":
            raise OSError("no bucket")
        return body, attributes

    async with Producer(queue, prepare=prepare) as producer:
        with pytest.raises(OSError, match="no bucket"):
            await producer.send("bad")
        assert await producer.send("good")


async def test_a_service_sends_everything_before_it_ends(local_queues, queue):
    """Nobody waits for these sends, and they would linger for a minute."""
    producer = Producer(queue, linger=60)
    tasks = []

    async def handler(content, metadata):
        tasks.append(asyncio.create_task(producer.send(content)))
        return True

    manager = LoaferManager([Route(InMemoryProvider(list(range(7))), handler)])
    producer.init_app(manager)
    await manager.serve(forever=False)
    assert sorted(int(m["Body"]) for m in take(local_queues, queue)) == list(range(7))
    assert all(task.done() for task in tasks)


async def test_a_block_sends_everything_before_it_ends(local_queues, fifo):
    """Also what waits behind others of its group."""
    async with Producer(fifo, linger=60) as producer:
        tasks = [asyncio.create_task(producer.send(n, group="g")) for n in range(3)]
        await asyncio.sleep(0)
    assert all(task.done() for task in tasks)
    assert [int(message["Body"]) for message in take(local_queues, fifo)] == [0, 1, 2]


async def test_blocks_and_sends_may_overlap(local_queues, queue):
    """Connections close with the last of them; a producer can be used again after that."""
    producer = Producer(queue)
    async with producer:
        async with producer:
            await producer.send(1)
        await producer.send(2)
    await producer.send(3)
    assert len(take(local_queues, queue)) == 3
    assert not clients._in_use.get(asyncio.get_running_loop())


async def test_a_teardown_without_a_start_does_nothing(queue):
    """The service was stopped while it started."""
    manager = LoaferManager([Route(InMemoryProvider([]), lambda *_: True)])

    @manager.startup
    async def fail(service):
        raise RuntimeError("no start")

    Producer(queue).init_app(manager)
    with pytest.raises(RuntimeError, match="no start"):
        await manager.serve()


def test_a_producer_serves_one_loop_after_another(local_queues, queue):
    """As a module's attribute it outlives the loop of a test."""
    producer = Producer(queue)
    for number in range(2):
        asyncio.run(producer.send(number))
    assert len(take(local_queues, queue)) == 2


@pytest.mark.parametrize("to_fifo", [True, False])
async def test_a_result_goes_on_in_the_order_of_its_source(local_queues, fifo, to_fifo):
    """Group and deduplication id are the source's; each result of a message has its own id."""
    target = local_queues.fresh("next", fifo=to_fifo)
    async with Producer(fifo) as producer:
        await producer.send({"n": 1}, group="g", deduplication_id="d")
    [message] = local_queues.receive(fifo)
    metadata = SQSMessageTranslator().translate(message)["metadata"]
    async with Producer(target) as producer:
        for position, result in enumerate(["a", {"b": 1}, "c"]):
            for _ in range(2 if to_fifo else 1):
                await producer.forward(result, metadata, position)
    found = take(local_queues, target)
    assert {found_["Body"] for found_ in found} == {"a", '{"b": 1}', "c"}
    assert len(found) == 3
    assert {m["Attributes"]["MessageGroupId"] for m in found} == {"g"}
    if to_fifo:
        ids = [message["Attributes"]["MessageDeduplicationId"] for message in found]
        assert ids == ["d", "d-1", "d-2"]
