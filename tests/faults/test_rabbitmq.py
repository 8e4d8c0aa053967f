"""RabbitMQ fails: no message is lost, and the service works again afterwards."""

import asyncio
import collections
import contextlib
import itertools
import random

import pytest
import rabbit
from aiormq import spec
from faults.service import running, until
from hypothesis import settings

from loafer_kit.ext.amqp import AMQPRoute
from loafer_kit.local import rabbitmq as local_rabbitmq

soak = pytest.mark.skipif(
    settings.get_current_profile_name() != "soak", reason="takes minutes: make soak"
)


@pytest.fixture
async def proxy(rabbitmq):
    """A proxy in front of the broker."""
    async with rabbit.CuttingProxy(rabbitmq) as proxy:
        yield proxy


class Work:
    """A route whose handler counts; it waits at the gate once half of the work is done."""

    def __init__(self, url, queue_type="quorum", count=50, **options):
        self.name = rabbit.fresh()
        self.count = count
        self.handled = collections.Counter()
        self.half, self.all, self.gate = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.route = AMQPRoute(
            self.name, {"url": url}, handler=self.handle, queue_type=queue_type, **options
        )

    async def handle(self, message, metadata):
        if self.half.is_set():
            await self.gate.wait()
        self.handled[message] += 1
        if len(self.handled) >= self.count // 2:
            self.half.set()
        if len(self.handled) == self.count:
            self.all.set()
        return True

    async def send(self, url):
        arguments = {"x-queue-type": self.route.provider.options.queue_type}
        await rabbit.declare(url, self.name, arguments, durable=True)
        await rabbit.send(url, self.name, *map(str, range(self.count)))

    async def left(self):
        """Return how many messages wait in the queue after the service has ended."""
        provider = self.route.provider
        await provider.start(lambda message: None)
        depth = await provider.depth()
        await provider.close()
        return depth["visible"]


async def cut(work, proxy, caplog):
    """The network breaks the connections."""
    await proxy.cut()


async def refuse(work, proxy, caplog):
    """The broker cannot be reached for a while."""
    await proxy.refuse()
    await until(lambda: any(getattr(r, "event", "") == "fetch.failed" for r in caplog.records))
    await proxy.listen()


async def bad_delivery_tag(work, proxy, caplog):
    """A settlement that the broker does not know closes the channel."""
    channel = await work.route.provider._session._channel.get_underlay_channel()
    await channel.basic_ack(999_999)


async def protocol_error(work, proxy, caplog):
    """The broker closes the connection."""
    channel = await work.route.provider._session._channel.get_underlay_channel()
    with contextlib.suppress(Exception):
        await channel.rpc(spec.Exchange.Declare(exchange="x", exchange_type="unknown"))


@pytest.mark.parametrize("fault", [cut, refuse, bad_delivery_tag, protocol_error])
@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
async def test_no_message_is_lost(rabbitmq, proxy, caplog, queue_type, fault):
    """Whatever breaks while handlers run; the messages in hand come again."""
    work = Work(proxy.url, queue_type)
    await work.send(rabbitmq)
    async with running(work.route):
        await asyncio.wait_for(work.half.wait(), 20)
        opened = proxy.connections
        await fault(work, proxy, caplog)
        await until(lambda: proxy.connections > opened)
        work.gate.set()
        await asyncio.wait_for(work.all.wait(), 30)
    assert await work.left() == 0


@soak
@pytest.mark.timeout(1_200)
async def test_a_hundred_thousand_messages_survive_many_cuts(rabbitmq, proxy):
    """One in twenty fails and is retried, so copies are published through the cuts as well."""
    work = Work(proxy.url, count=100_000, concurrency=50, redelivery_delay=0.5)
    attempts, chance = itertools.count(1), random.Random(7)
    handle = work.handle

    async def handler(message, metadata):
        return next(attempts) % 20 != 0 and await handle(message, metadata)

    work.route.handler = handler
    work.gate.set()
    await work.send(rabbitmq)
    cuts = 0
    async with running(work.route) as dispatcher:
        while not (work.all.is_set() or dispatcher.stopping):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(work.all.wait(), chance.uniform(1, 10))
            await proxy.cut()
            cuts += 1
    print(f"{cuts} cuts, {sum(work.handled.values()) - work.count} handled again")  # noqa: T201
    assert set(work.handled) == set(range(work.count))


@soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
async def test_no_message_is_lost_when_the_broker_restarts(tmp_path, queue_type):
    """The messages in hand, those that wait, and those that wait for their retry."""
    port = local_rabbitmq.free_port()
    broker = contextlib.ExitStack()

    async def start():
        running_broker = local_rabbitmq.running_broker(port, tmp_path / "data")
        return await asyncio.to_thread(broker.enter_context, running_broker)

    url = await start()
    work = Work(url, queue_type, redelivery_delay=1)
    failed = set()
    handle = work.handle

    async def handler(message, metadata):
        if message % 5 == 0 and message not in failed:
            failed.add(message)
            return False
        return await handle(message, metadata)

    work.route.handler = handler
    await work.send(url)
    with broker:
        async with running(work.route):
            await asyncio.wait_for(work.half.wait(), 20)
            await asyncio.to_thread(broker.close)
            await start()
            work.gate.set()
            await asyncio.wait_for(work.all.wait(), 60)
        assert await work.left() == 0
