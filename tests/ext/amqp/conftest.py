"""Queues of a RabbitMQ broker."""

import contextlib

import pytest
import rabbit

from loafer_kit.ext.amqp import AMQPProvider


class Broker:
    """The broker, and the providers that a test starts."""

    def __init__(self, url, stack):
        self.url = url
        self.lost = []
        self._stack = stack

    async def provider(self, queue=None, url=None, **options):
        """Start a provider of a queue, which is a fresh one."""
        provider = AMQPProvider(queue or rabbit.fresh(), url=url or self.url, **options)
        provider.wait_time = 5
        await provider.start(self.lost.append)
        self._stack.push_async_callback(_end, provider)
        return provider

    async def filled(self, *bodies, **options):
        """Start a provider of a queue that holds messages; return it and the messages."""
        provider = await self.provider(**options)
        await rabbit.send(self.url, provider.name, *bodies)
        return provider, await rabbit.fetch(provider, len(bodies))


async def _end(provider):
    provider.stop()
    await provider.flush()
    await provider.close()


@pytest.fixture
async def broker(rabbitmq):
    """A `Broker`."""
    async with contextlib.AsyncExitStack() as stack:
        yield Broker(rabbitmq, stack)


@pytest.fixture
async def proxy(rabbitmq):
    """A proxy in front of the broker."""
    async with rabbit.CuttingProxy(rabbitmq) as proxy:
        yield proxy
