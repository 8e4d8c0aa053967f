"""The contract that the engine relies on, for every provider."""

import asyncio
import uuid

import pytest
import rabbit

from loafer_kit.ext.amqp import AMQPProvider
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.testing import InMemoryProvider
from loafer_kit.testing.contracts import ProviderContract


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


class TestProviders(ProviderContract):
    """What every provider must do."""


async def test_only_sqs_has_leases(source):
    """A provider without leases says so with None."""
    provider = source.provider()
    await provider.start(lambda message: None)
    await source.put("1")
    (message,) = await provider.fetch(1)
    left = provider.lease_left(message)
    assert 0 < left <= 30 if isinstance(provider, SQSProvider) else left is None
    provider.stop()
    await provider.close()
