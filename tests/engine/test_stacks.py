"""Handlers that take long say where they stand."""

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
