"""Place: where the queues of a command for dead letters are, on SQS or on RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from loafer_kit.cli import specs
from loafer_kit.cli.terminal.output import say, waiting
from loafer_kit.dead_letters import rabbitmq_broker
from loafer_kit.dead_letters.letters import Broker, Queue, Visit
from loafer_kit.dead_letters.sqs import SQS
from loafer_kit.ext.aws.addresses import bare_name, is_arn, is_url
from loafer_kit.local import rabbitmq, sending

if TYPE_CHECKING:
    from loafer_kit.dead_letters.rabbitmq import RabbitMQ

S = TypeVar("S")
T = TypeVar("T")


class Place:
    """Where the queues of a command are. A command is synchronous; what it does there is not.

    `kind` is the class of the broker.
    """

    def __init__(self, queue: str | None) -> None:
        self._queue = queue
        self._pairs = specs.rabbitmq_queues_here(queue)
        self.on_rabbitmq = self._pairs is not None
        self.kind: type[SQS | RabbitMQ] = SQS
        if self.on_rabbitmq:
            self.kind = rabbitmq_broker()

    def each(
        self, opened: AbstractAsyncContextManager[S], work: Callable[[S], AsyncIterator[T]]
    ) -> Iterator[T]:
        """Yield what `work` yields, given what is opened here: `broker`, `found` or `visit`."""

        async def items() -> AsyncIterator[T]:
            async with opened as subject:
                found: Any = work(subject)
                async with aclosing(found):
                    async for item in found:
                        yield item

        async def step(found: Any) -> list[T]:
            try:
                return [await anext(found)]
            except StopAsyncIteration:
                return []

        with asyncio.Runner() as runner:
            found: Any = items()
            try:
                while item := runner.run(step(found)):
                    yield from item
            finally:
                runner.run(found.aclose())

    @asynccontextmanager
    async def broker(self) -> AsyncIterator[Broker]:
        """Open the broker, and say which one it is."""
        queue = self._queue
        with waiting(f"looking for {queue or 'queues'}"):
            name, opened = self._find()
        say(f"{queue or 'queues'} on {name}", err=True)
        async with opened as broker:
            yield broker

    @asynccontextmanager
    async def found(self) -> AsyncIterator[tuple[Broker, Queue]]:
        """Open the broker, and find the queue there."""
        async with self.broker() as broker:
            yield broker, await broker.queue(str(self._queue))

    @asynccontextmanager
    async def visit(self, remarks: list[str]) -> AsyncIterator[Visit]:
        """Visit the queue; what was not seen is a remark."""
        async with self.found() as (broker, queue), broker.visit(queue) as visit:
            yield visit
            remarks.extend([visit.remark] if visit.remark else [])

    def _find(self) -> tuple[str, AbstractAsyncContextManager[Broker]]:
        """Return the name of the place, and the broker, to be opened."""
        kind: Any = self.kind
        if self.on_rabbitmq:
            url = rabbitmq.url_in_use()
            return kind.place(url), kind.opened(url, self._pairs)
        server = sending.server_with(self._queue)
        return server.place, kind.opened(server.clients.options, self._queue or "")


def name_of(queue: str) -> str:
    """Return the name of a queue that is given by name, URL or ARN."""
    return bare_name(queue) if is_url(queue) or is_arn(queue) else queue
