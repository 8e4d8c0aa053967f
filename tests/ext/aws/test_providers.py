"""SQSProvider on the embedded server, over HTTP."""

import asyncio
import json
import logging

import pytest

from loafer_kit import outcomes
from loafer_kit.exceptions import ProviderError, RejectMessage, TransientProviderError
from loafer_kit.ext.aws.handlers import SQSHandler
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.local import LocalQueue
from loafer_kit.outcomes import DeadLetter

SHORT = {"WaitTimeSeconds": 0}


@pytest.fixture
async def started():
    """Starts providers and closes them."""
    providers = []

    async def start(queue, options=SHORT, **keywords):
        provider = SQSProvider(queue, options, **{"linger": 0.01, **keywords})
        lost = []
        await provider.start(lost.append)
        providers.append(provider)
        provider.lost = lost
        return provider

    yield start
    for provider in providers:
        await provider.flush()
        await provider.close()


def ignore(message):
    """Hear of lost messages."""


async def fetch_all(provider, count):
    messages = []
    while len(messages) < count:
        messages += await provider.fetch(count - len(messages))
    return messages


async def test_queue_may_be_named_or_given_as_url_or_arn(local_queues, started):
    """A name, a URL and an ARN lead to the same messages; a URL costs no GetQueueUrl."""
    name = local_queues.fresh()
    arn = local_queues.attributes(name)["QueueArn"]
    for queue in (name, local_queues.queue_url(name), arn):
        local_queues.send(name, {"queue": queue})
        provider = await started(queue)
        (message,) = await fetch_all(provider, 1)
        assert json.loads(message["Body"]) == {"queue": queue}
        assert provider.describe(message) == {
            "queue": name,
            "message_id": message["MessageId"],
            "receive_count": 1,
        }
        await provider.confirm_message(message)
    assert local_queues.counts(name).total == 0


async def test_attributes_arrive_without_being_asked_for(local_queues, started):
    """System attributes and message attributes are there by default."""
    name = local_queues.fresh()
    local_queues.send(name, {}, attributes={"kind": "test"})
    (message,) = await fetch_all(await started(name), 1)
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert int(message["Attributes"]["SentTimestamp"]) > 0
    assert message["MessageAttributes"]["kind"]["StringValue"] == "test"


async def test_queue_with_a_visibility_timeout_of_zero_delivers_a_message_once(
    local_queues, started
):
    """Receives name a timeout of their own, so the message stays hidden while it is in hand."""
    name = local_queues.fresh(visibility_timeout=0)
    local_queues.send(name, 1)
    provider = await started(name)
    (message,) = await fetch_all(provider, 1)
    assert await provider.fetch(10) == []
    assert local_queues.counts(name).in_flight == 1
    await provider.confirm_message(message)
    assert local_queues.counts(name).total == 0


async def test_missing_queue_stops_everything_with_the_way_out(local_queues):
    """A queue that does not exist is one line with its name and what to do."""
    provider = SQSProvider("no-such-queue")
    with pytest.raises(ProviderError) as caught:
        await provider.start(ignore)
    assert not isinstance(caught.value, TransientProviderError)
    assert "'no-such-queue' does not exist" in str(caught.value)
    assert "loafer-kit dev" in str(caught.value)


async def test_missing_dead_letter_queue_is_found_at_the_start(local_queues):
    """A wrong `dead_letter_queue` does not wait for the first rejected message."""
    provider = SQSProvider(local_queues.fresh(), dead_letter_queue="no-such-queue")
    with pytest.raises(ProviderError, match="'no-such-queue' does not exist"):
        await provider.start(ignore)


@pytest.mark.parametrize("transport", ["direct", "botocore"])
@pytest.mark.parametrize(
    ("missing", "what"),
    [
        (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "no AWS credentials"),
        (["AWS_DEFAULT_REGION", "AWS_REGION"], "no AWS region"),
    ],
)
async def test_missing_setup_stops_everything_with_the_ways_out(
    local_queues, monkeypatch, missing, what, transport
):
    """Without credentials or region the line names the variables and the local server."""
    for name in missing:
        monkeypatch.delenv(name)
    for queue in ("orders", "http://127.0.0.1:1/123456789012/orders"):
        provider = SQSProvider(queue, transport=transport)
        with pytest.raises(ProviderError) as caught:
            await provider.start(ignore)
        for part in ("'orders'", what, "loafer-kit dev", "AWS_ACCESS_KEY_ID"):
            assert part in str(caught.value)


async def test_unreachable_endpoint_is_a_matter_of_time(local_queues, caplog):
    """Nothing listens yet: the start goes on, and the fetch says that it may be repeated."""
    provider = SQSProvider("orders", endpoint_url="http://127.0.0.1:1")
    await provider.start(ignore)
    assert "queue.unreachable queue=orders" in caplog.text
    with pytest.raises(TransientProviderError, match="'orders'"):
        await provider.fetch(10)
    await provider.flush()
    await provider.close()


async def test_doubtful_queue_is_reported_once(local_queues, started, caplog):
    """The start-up check warns in one line for each doubt."""
    name = local_queues.fresh(visibility_timeout=10)
    await started(name)
    doubts = [line for line in caplog.messages if line.startswith("queue.doubtful")]
    assert len(doubts) == 2
    assert all(f"queue={name}" in line for line in doubts)


async def test_heartbeat_keeps_a_message_on_a_real_server(local_queues, started):
    """A message worked on for longer than its visibility timeout is not delivered again."""
    name = local_queues.fresh(visibility_timeout=1)
    local_queues.send(name, {})
    provider, other = await started(name), await started(name)
    (message,) = await fetch_all(provider, 1)
    await asyncio.sleep(1.6)
    assert await other.fetch(10) == []
    assert provider.lost == []
    await provider.settle(message, outcomes.ACKNOWLEDGE)
    await provider.flush()
    assert local_queues.counts(name).total == 0


async def test_lease_taken_by_another_consumer_is_lost(local_queues, started):
    """Without a heartbeat the message goes to the next consumer, and the first one is told."""
    name = local_queues.fresh(visibility_timeout=1)
    local_queues.send(name, {})
    provider, other = await started(name, heartbeat=False), await started(name)
    (message,) = await fetch_all(provider, 1)
    (again,) = await fetch_all(other, 1)
    assert again["MessageId"] == message["MessageId"]
    await asyncio.sleep(0.1)
    assert provider.lost == [message]
    await provider.settle(message, outcomes.ACKNOWLEDGE)
    await provider.flush()
    assert local_queues.counts(name).total == 1
    await other.confirm_message(again)


async def test_rejected_message_is_in_the_dead_letter_queue(local_queues, started):
    """The redrive policy names the queue; the letter has body, attributes, reason and source."""
    name, dead = local_queues.fresh(), local_queues.fresh("dead")
    local_queues.create(LocalQueue(f"{name}-r", dead_letter_queue=dead))
    local_queues.send(f"{name}-r", {"a": 1}, attributes={"kind": "test"})
    provider = await started(f"{name}-r")
    (message,) = await fetch_all(provider, 1)
    await provider.settle(message, DeadLetter("no such customer"))
    await provider.flush()
    assert local_queues.counts(f"{name}-r").total == 0
    (letter,) = await fetch_all(await started(dead), 1)
    assert json.loads(letter["Body"]) == {"a": 1}
    values = {key: value["StringValue"] for key, value in letter["MessageAttributes"].items()}
    assert values == {
        "kind": "test",
        "DeadLetterReason": "no such customer",
        "DeadLetterSourceQueue": f"{name}-r",
        "DeadLetterMessageId": message["MessageId"],
    }


async def test_depth_counts_the_queue_and_its_dead_letters(local_queues, started):
    """What is in flight here is not visible; a queue without dead-letter queue has no such count."""
    name, dead = local_queues.fresh(), local_queues.fresh("dead")
    assert await SQSProvider("never-opened").depth() == {}
    plain = await started(dead)
    local_queues.create(LocalQueue(f"{name}-d", dead_letter_queue=dead))
    for number in range(3):
        local_queues.send(f"{name}-d", number)
    local_queues.send(dead, "letter")
    provider = await started(f"{name}-d")
    await fetch_all(provider, 1)
    assert await provider.depth() == {
        "visible": 2,
        "in_flight": 1,
        "delayed": 0,
        "dead_letters": 1,
    }
    assert await plain.depth() == {"visible": 1, "in_flight": 0, "delayed": 0}


async def test_fifo_dead_letter_keeps_its_group(local_queues, started):
    """A dead-letter queue that is FIFO gets the message's group."""
    name = local_queues.fresh(fifo=True)
    dead = local_queues.fresh("dead", fifo=True)
    local_queues.send(name, {}, group="g")
    provider = await started(name, dead_letter_queue=dead)
    (message,) = await fetch_all(provider, 1)
    assert provider.order_key(message) == "g"
    await provider.settle(message, DeadLetter("no"))
    await provider.flush()
    (letter,) = await fetch_all(await started(dead), 1)
    assert letter["Attributes"]["MessageGroupId"] == "g"
    assert letter["Attributes"]["MessageDeduplicationId"] == message["MessageId"]


async def test_dead_letters_share_requests(local_queues, started):
    """Messages that are rejected together need one request, also for their deletion."""
    name, dead = local_queues.fresh(), local_queues.fresh("dead")
    for number in range(10):
        local_queues.send(name, number)
    provider = await started(name, dead_letter_queue=dead)
    messages = await fetch_all(provider, 10)
    await asyncio.gather(*(provider.settle(message, DeadLetter("no")) for message in messages))
    await provider.flush()
    assert local_queues.counts(name).total == 0
    assert local_queues.counts(dead).total == 10
    requests = {action: found.requests for action, found in provider.statistics.items()}
    assert requests["SendMessageBatch"] == 1
    assert requests["DeleteMessageBatch"] == 1


async def test_dead_letters_with_one_deduplication_id_are_all_stored(local_queues, started):
    """Messages of two queues may have the same id; their dead letters do not."""
    dead = local_queues.fresh("dead", fifo=True)
    for _ in range(2):
        name = local_queues.fresh(fifo=True)
        await SQSHandler(name).publish(1, MessageGroupId="g", MessageDeduplicationId="same")
        provider = await started(name, dead_letter_queue=dead)
        (message,) = await fetch_all(provider, 1)
        await provider.settle(message, DeadLetter("no"))
        await provider.flush()
        assert local_queues.counts(name).total == 0
    assert local_queues.counts(dead).total == 2


async def test_dead_letter_of_a_fair_queue_keeps_its_group(local_queues, started):
    """A standard queue's message group goes along to a standard dead-letter queue."""
    name, dead = local_queues.fresh(), local_queues.fresh("dead")
    local_queues.send(name, 1, group="tenant")
    provider = await started(name, dead_letter_queue=dead)
    (message,) = await fetch_all(provider, 1)
    await provider.settle(message, DeadLetter("no"))
    await provider.flush()
    (letter,) = await fetch_all(await started(dead), 1)
    assert letter["Attributes"]["MessageGroupId"] == "tenant"


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("reason", "written"),
    [
        (ValueError("no total"), "ValueError: no total"),
        (UnprintableError(), "UnprintableError (its text cannot be shown)"),
        (None, "None"),
        (404, "404"),
        ({"code": 7}, "{'code': 7}"),
        (b"raw", "b'raw'"),
    ],
    ids=repr,
)
async def test_a_reason_may_be_anything(local_queues, started, reason, written):
    """The letter is sent with a reason that is an exception, unprintable, or not a string."""
    name, dead = local_queues.fresh(), local_queues.fresh("dead")
    local_queues.send(name, {})
    provider = await started(name, dead_letter_queue=dead)
    (message,) = await fetch_all(provider, 1)
    await provider.settle(message, outcomes.from_exception(RejectMessage(reason)))
    await provider.flush()
    (letter,) = await fetch_all(await started(dead), 1)
    assert letter["MessageAttributes"]["DeadLetterReason"]["StringValue"] == written
    assert local_queues.counts(name).total == 0


async def test_a_message_too_large_for_its_dead_letter_queue_is_left_and_said_once(
    local_queues, started, caplog
):
    """The line says which queue, how large the message is and what to raise."""
    name, dead = local_queues.fresh(visibility_timeout=1), local_queues.fresh("dead")
    local_queues._clients.call(
        "sqs",
        "set_queue_attributes",
        QueueUrl=local_queues.queue_url(dead),
        Attributes={"MaximumMessageSize": "1024"},
    )
    local_queues.send(name, "x" * 2000)
    provider = await started(name, dead_letter_queue=dead)
    for _ in range(2):
        (message,) = await fetch_all(provider, 1)
        await provider.settle(message, DeadLetter("no"))
        await provider.flush()
    assert local_queues.counts(name).total == 1
    assert caplog.text.count("message.not_dead_lettered") == 1
    assert f"Queue '{dead}'" in caplog.text
    assert "The body has 2,000 bytes: raise the MaximumMessageSize" in caplog.text


async def test_released_messages_of_a_group_come_back_in_order(local_queues, started):
    """After a failure the group's messages go back, last first, and come again in order."""
    name = local_queues.fresh(fifo=True)
    for number in range(5):
        local_queues.send(name, number, group="g")
    provider = await started(name)
    messages = await fetch_all(provider, 5)
    for message in reversed(messages):
        await provider.settle(message, outcomes.RELEASE)
    await provider.flush()
    again = await fetch_all(provider, 5)
    assert [json.loads(message["Body"]) for message in again] == [0, 1, 2, 3, 4]


async def test_providers_with_equal_options_share_their_clients(local_queues, started):
    """Two routes of one process have one session and one connection pool."""
    first, second = await started(local_queues.fresh()), await started(local_queues.fresh())
    assert first._clients is second._clients


@pytest.mark.parametrize(
    ("theirs", "ours"), [("fetch_messages", "fetch"), ("confirm_message", "settle")]
)
def test_a_subclass_overrides_what_is_called(theirs, ours):
    """A filter in a method that is never called would let everything through."""
    with pytest.raises(TypeError, match=f"Mine overrides {theirs}.*: override {ours} instead"):
        type("Mine", (SQSProvider,), {theirs: lambda self: None})
    base = type("Base", (SQSProvider,), {theirs: lambda self: None, ours: lambda self: None})
    type("Mine", (base,), {theirs: lambda self: None})  # the inherited method may call it
    mixin = type("Mixin", (), {theirs: lambda self: None})
    with pytest.raises(TypeError, match=f"Mine overrides {theirs}"):
        type("Mine", (mixin, SQSProvider), {})


async def test_bodies_stay_out_of_the_log(local_queues, started, caplog):
    """Whatever happens to a message, its body is in no line above DEBUG."""
    caplog.set_level(logging.INFO)
    name = local_queues.fresh(visibility_timeout=1)
    local_queues.send(name, "very-private")
    provider = await started(name, heartbeat=False)
    (message,) = await fetch_all(provider, 1)
    await asyncio.sleep(1.1)
    await provider.settle(message, DeadLetter("no"))
    await provider.flush()
    assert "message.lost" in caplog.text
    assert "very-private" not in caplog.text
