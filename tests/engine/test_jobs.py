"""Handlers that take long say where they stand; messages that are lost are not started."""

import asyncio
import threading

import pytest

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.engine import jobs
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it is in a log
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("limit", [None, 60])
async def test_a_slow_handler_is_reported_once(plain, limit, caplog, monkeypatch):
    """With its route, message, age and stack; others are not."""
    monkeypatch.setattr(jobs, "_SLOW", 0.05)
    release, release_thread = asyncio.Event(), threading.Event()

    async def stand_here(message):
        if message == "slow":
            await release.wait()

    async def handler(message, metadata):
        await stand_here(message)
        return True

    def plain_handler(message, metadata):
        def stand_here():
            release_thread.wait(20)

        if message == "slow":
            stand_here()
        return True

    provider = InMemoryProvider(["slow", "fast"])
    options = {"name": "orders", "handler_timeout": limit}
    route = Route(provider, plain_handler if plain else handler, **options)
    running = asyncio.create_task(LoaferDispatcher([route]).dispatch_providers())
    await until(lambda: "handler.slow" in caplog.text)
    await asyncio.sleep(0.1)
    release.set()
    release_thread.set()
    await running
    (record,) = [r for r in caplog.records if r.getMessage().startswith("handler.slow")]
    assert (record.event, record.route, record.message_ids) == ("handler.slow", "orders", [1])
    assert record.age >= 0.05
    assert "in stand_here" in record.getMessage()


async def test_a_handler_is_slow_at_half_its_limit(caplog):
    """It is said before the limit ends it."""

    async def handler(message, metadata):
        await asyncio.Event().wait()

    provider = InMemoryProvider(["m"])
    await LoaferDispatcher([Route(provider, handler, handler_timeout=0.2)]).dispatch_providers()
    events = [record.getMessage().split()[0] for record in caplog.records]
    assert events == ["handler.slow", "message.failed"]


class Forgetful(InMemoryProvider):
    """No longer holds the messages named `over` when they start; delivers them again."""

    def __init__(self, messages, over, **options):
        super().__init__(messages, **options)
        self.over = set(over)
        self.settled = []

    def order_key(self, message):
        return message[0] if message[0] != "-" else None

    def holds(self, message):
        if message not in self.over:
            return True
        self.over.discard(message)
        entry = self._entry_of(message)
        self._in_flight.remove(entry)
        self._put_back(entry, 0.05)
        return False

    async def settle(self, message, outcome):
        self.settled.append((message, str(outcome)))
        await super().settle(message, outcome)


async def run(provider, handler, **options):
    route = Route(provider, handler, "orders", **options)
    await asyncio.wait_for(LoaferDispatcher([route]).dispatch_providers(), 5)
    return route


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_message_whose_lease_is_over_is_not_started(concurrency):
    """It is neither handled nor settled; its slot is free for the next one."""
    provider = Forgetful(["-a", "-b", "-c"], over=["-b"])
    handled = []

    async def handler(message, metadata):
        handled.append(message)
        return True

    route = await run(provider, handler, concurrency=concurrency, breaker_threshold=1)
    assert handled == ["-a", "-c", "-b"]
    assert provider.settled == [(message, "acknowledged") for message in handled]
    assert not route.flow.breaker.is_open


async def test_those_behind_a_lost_message_go_back():
    """The order of the group holds: its other messages are released, last first."""
    provider = Forgetful(["g1", "g2", "g3", "h1"], over=["g1"])
    handled = []

    async def handler(message, metadata):
        handled.append(message)
        return True

    await run(provider, handler)
    released = [message for message, outcome in provider.settled if outcome == "to be given back"]
    assert released[:2] == ["g3", "g2"]
    assert "g1" not in released
    assert handled[0] == "h1"
    assert sorted(handled) == ["g1", "g2", "g3", "h1"]


async def test_a_batch_goes_on_without_its_lost_messages():
    """The handler gets the others; a batch of lost messages alone is not started."""
    provider = Forgetful(["-a", "-b", "-c"], over=["-a", "-c"])
    batches = []

    async def handler(messages, metadata):
        batches.append(messages)
        return True

    await run(provider, handler, batch_handler_size=3, batch_handler_wait=0)
    assert batches[0] == ["-b"]
    assert sorted(message for batch in batches for message in batch) == ["-a", "-b", "-c"]
    assert {outcome for _, outcome in provider.settled} == {"acknowledged"}
    assert len(provider.settled) == 3
