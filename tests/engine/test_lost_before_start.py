"""Messages that another consumer may have when their handler is about to start."""

import asyncio

import pytest

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


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
