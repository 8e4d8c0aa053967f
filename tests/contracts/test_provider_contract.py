"""The contract that the engine relies on, for every provider."""

import asyncio
import uuid

import pytest
import rabbit

from loafer_kit import outcomes
from loafer_kit.ext.amqp import AMQPProvider
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.testing import InMemoryProvider


class SQSQueue:
    """An SQS queue and its provider, on the embedded server."""

    def __init__(self, request):
        self._queues = local_queues = request.getfixturevalue("local_queues")
        self._name = local_queues.fresh(visibility_timeout=30)

    def provider(self):
        return SQSProvider(self._name, {"WaitTimeSeconds": 0}, linger=0.01)

    async def put(self, *bodies):
        for body in bodies:
            await asyncio.to_thread(self._queues.send, self._name, body)

    @staticmethod
    def body_of(message):
        return message["Body"]


class Memory:
    """The in-memory provider."""

    def __init__(self, request):
        self._provider = InMemoryProvider(endless=True, wait_time=0)

    def provider(self):
        return self._provider

    async def put(self, *bodies):
        for body in bodies:
            self._provider.put(body)

    @staticmethod
    def body_of(message):
        return message


class RabbitQuorum:
    """A RabbitMQ queue and its provider."""

    queue_type = "quorum"

    def __init__(self, request):
        self._url = request.getfixturevalue("rabbitmq")
        self._name = f"contract-{uuid.uuid4()}"

    def provider(self):
        provider = AMQPProvider(self._name, url=self._url, queue_type=self.queue_type)
        provider.wait_time = 0.5
        return provider

    async def put(self, *bodies):
        arguments = {"x-queue-type": self.queue_type}
        await rabbit.declare(self._url, self._name, arguments, durable=True)
        await rabbit.send(self._url, self._name, *bodies)

    @staticmethod
    def body_of(message):
        return message.body.decode()


class RabbitClassic(RabbitQuorum):
    """A classic queue of RabbitMQ."""

    queue_type = "classic"


@pytest.fixture(params=[SQSQueue, Memory, RabbitQuorum, RabbitClassic])
def source(request):
    """A source of messages: `provider()`, `put(*bodies)`, `body_of(message)`."""
    return request.param(request)


@pytest.fixture
async def lost():
    """The messages that the provider called lost."""
    return []


@pytest.fixture
async def provider(source, lost):
    """A started provider."""
    provider = source.provider()
    await provider.start(lost.append)
    yield provider
    provider.stop()
    await provider.flush()
    await provider.close()


async def fetch(provider, count=1):
    messages = []
    for _ in range(10):
        messages += await provider.fetch(count - len(messages))
        if len(messages) >= count:
            break
    return messages


async def test_fetch_brings_what_was_sent(source, provider):
    """A fetch returns at most as many messages as its limit."""
    await source.put("1", "2", "3")
    messages = await provider.fetch(2)
    assert 1 <= len(messages) <= 2
    messages += await fetch(provider, 3 - len(messages))
    assert sorted(map(source.body_of, messages)) == ["1", "2", "3"]


async def test_fetch_of_an_empty_source_returns_nothing(provider):
    """Nothing to fetch is an empty answer, no error."""
    assert list(await provider.fetch(provider.batch_size)) == []


async def test_acknowledged_message_is_gone(source, provider):
    """What was acknowledged and flushed never comes again, not even to another consumer."""
    await source.put("1")
    (message,) = await fetch(provider)
    await provider.settle(message, outcomes.ACKNOWLEDGE)
    await provider.flush()
    assert await provider.fetch(1) == []


async def test_released_message_comes_again(source, provider):
    """`RELEASE` makes a message available at once."""
    await source.put("1")
    (message,) = await fetch(provider)
    await provider.settle(message, outcomes.RELEASE)
    await provider.flush()
    (again,) = await fetch(provider)
    assert source.body_of(again) == "1"


async def test_left_message_does_not_come_at_once(source, provider):
    """`LEAVE` says nothing to the source: the message comes back in its own time."""
    await source.put("1")
    (message,) = await fetch(provider)
    await provider.settle(message, outcomes.LEAVE)
    await provider.flush()
    assert await provider.fetch(1) == []


async def test_confirm_message_acknowledges(source, provider):
    """`confirm_message` alone removes a message."""
    await source.put("1")
    (message,) = await provider.fetch_messages()
    await provider.confirm_message(message)
    await provider.settle(message, outcomes.LEAVE)
    assert await provider.fetch(1) == []


async def test_settling_twice_raises_nothing(source, provider):
    """A second settlement of a message does not disturb the engine."""
    await source.put("1")
    (message,) = await fetch(provider)
    await provider.settle(message, outcomes.ACKNOWLEDGE)
    await provider.settle(message, outcomes.RELEASE)
    await provider.flush()


async def test_description_fits_a_log_line(source, provider):
    """`describe` names at least where a message is from."""
    await source.put("1")
    (message,) = await fetch(provider)
    facts = provider.describe(message)
    assert facts["queue"]
    assert all(isinstance(name, str) for name in facts)
    await provider.settle(message, outcomes.ACKNOWLEDGE)


async def test_provider_starts_again_after_it_was_closed(source):
    """Start, stop and close may be repeated: `run` can be called again."""
    provider = source.provider()
    for body in ("1", "2"):
        await source.put(body)
        await provider.start(lambda message: None)
        (message,) = await fetch(provider)
        assert source.body_of(message) == body
        await provider.settle(message, outcomes.ACKNOWLEDGE)
        provider.stop()
        provider.stop()
        await provider.flush()
        await provider.close()


async def test_lease_of_a_message_ends_with_its_settlement(source, provider):
    """`lease_left` is positive for a message in hand, and 0 after that; None without leases."""
    await source.put("1")
    (message,) = await fetch(provider)
    left = provider.lease_left(message)
    assert left is None or 0 < left <= 30
    await provider.settle(message, outcomes.ACKNOWLEDGE)
    assert provider.lease_left(message) == (None if left is None else 0)


async def test_message_in_hand_keeps_nothing_open(source, provider):
    """A message that was never settled keeps neither `flush` nor `close` from returning."""
    await source.put("1")
    await fetch(provider)
    provider.stop()
    await provider.flush()
    await provider.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nothing_is_lost_without_a_reason(source, provider, lost):
    """A message that is settled in time is never called lost."""
    await source.put("1")
    (message,) = await fetch(provider)
    await provider.settle(message, outcomes.ACKNOWLEDGE)
    await provider.flush()
    assert lost == []
