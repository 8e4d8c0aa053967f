"""A client of RabbitMQ for tests, and a proxy that cuts its connections."""

import asyncio
import contextlib
import uuid

import aio_pika

#: Messages that are sent before their confirmations arrive.
_AT_ONCE = 500


@contextlib.asynccontextmanager
async def connect(url):
    """Yield a channel of a connection."""
    async with await aio_pika.connect(url) as connection:
        yield await connection.channel(on_return_raises=True)


async def send(url, queue, *bodies, exchange="", **properties):
    """Put messages into a queue, which exists; with an exchange, `queue` is the routing key."""
    async with connect(url) as channel:
        to = await channel.get_exchange(exchange, ensure=False)
        for start in range(0, len(bodies), _AT_ONCE):
            messages = [
                aio_pika.Message(body.encode(), delivery_mode=2, **properties)
                for body in bodies[start : start + _AT_ONCE]
            ]
            await asyncio.gather(*(to.publish(message, queue) for message in messages))


async def take(url, queue, count):
    """Take `count` messages out of a queue, as soon as they are there."""
    async with connect(url) as channel:
        await channel.set_qos(prefetch_count=count)
        async with (await channel.get_queue(queue)).iterator(timeout=20) as messages:
            found = [await anext(messages) for _ in range(count)]
            for message in found:
                await message.ack()
    return found


async def delete(url, queue):
    """Delete a queue with its messages."""
    async with connect(url) as channel:
        await channel.queue_delete(queue)


async def declare(url, queue, arguments, **options):
    """Declare a queue with arguments of one's own."""
    async with connect(url) as channel:
        await channel.declare_queue(queue, arguments=arguments, **options)


def fresh(name="orders"):
    """Return the name of a queue that no other test has."""
    return f"{name}-{uuid.uuid4()}"


async def fetch(provider, count):
    """Return the next `count` messages of a provider."""
    found = []
    for _ in range(5):
        found += await provider.fetch(count - len(found))
        if len(found) == count:
            break
    return found


def bodies(messages):
    """Return the bodies as text."""
    return [message.body.decode() for message in messages]


class CuttingProxy:
    """Passes bytes between clients and the broker, until it is told to cut them off."""

    def __init__(self, url):
        self._host, self._port = url.rpartition("@")[2].rstrip("/").split(":")
        self._open = set()
        self.port = 0
        self.connections = 0
        #: Gets what a client sends, before the broker does.
        self.watch = lambda data: None

    @property
    def url(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    async def __aenter__(self):
        await self.listen()
        return self

    async def __aexit__(self, *exc_info):
        await self.refuse()

    async def listen(self):
        """Accept connections, at the same port as before."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self):
        """Cut every connection and refuse new ones."""
        self._server.close()
        await self.cut()

    async def cut(self):
        """Break every open connection without a farewell."""
        cut = set(self._open)
        for writer in cut:
            writer.transport.abort()
        while cut & self._open:  # noqa: ASYNC110 - the connections remove themselves
            await asyncio.sleep(0)

    async def _pass(self, reader, writer):
        self.connections += 1
        try:
            theirs, ours = await asyncio.open_connection(self._host, int(self._port))
        except OSError:
            writer.transport.abort()
            return
        both = {writer, ours}
        self._open |= both
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, ours, self.watch))
                group.create_task(_copy(theirs, writer, lambda data: None))
        finally:
            self._open -= both


async def _copy(reader, writer, watch):
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            watch(data)
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
