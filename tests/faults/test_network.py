"""Requests that fail: nothing is lost, nothing deleted is handled again, the service stays up."""

import asyncio

import pytest
from faults import proxy as faults
from faults.service import check_nothing_handled_after_delete, route, running, until

pytestmark = pytest.mark.slow

BREAKS = {
    "internal error": faults.internal_error,
    "unavailable": faults.unavailable,
    "throttled": faults.throttled,
    "malformed": faults.malformed,
    "reset before": faults.reset_before,
    "reset after": faults.reset_after,
    "reset midway": faults.reset_midway,
    "half closed": faults.half_closed,
    "slow": faults.slow(0.5),
}


async def accept(message, metadata):
    return True


@pytest.mark.parametrize("action", ["ReceiveMessage", "DeleteMessageBatch"])
@pytest.mark.parametrize("name", BREAKS)
async def test_a_request_that_fails_loses_nothing(proxy, queues, queue, name, action):
    """Two requests of one action fail; every message is handled and deleted all the same."""
    numbers = set(range(15))
    for number in numbers:
        queues.send(queue, number)
    handled = []

    async def handler(message, metadata):
        handled.append(message)
        return True

    proxy.inject(BREAKS[name], action, times=2)
    async with running(route(proxy, queue, handler)):
        await until(lambda: queues.counts(queue).total == 0)
    assert set(handled) == numbers
    assert all(fault.times == 0 for fault in proxy.faults)
    check_nothing_handled_after_delete(proxy)


async def test_a_server_that_restarts_is_found_again(proxy, queues, queue):
    """Connections are refused for a while; the service stays up and goes on by itself."""
    for number in range(5):
        queues.send(queue, number)
    handled = []

    async def handler(message, metadata):
        handled.append(message)
        return True

    async with running(route(proxy, queue, handler)):
        await until(lambda: len(handled) == 5)
        await proxy.refuse()
        await asyncio.sleep(0.5)
        queues.send(queue, 5)
        await proxy.listen()
        await until(lambda: queues.counts(queue).total == 0)
    assert set(handled) == set(range(6))
    check_nothing_handled_after_delete(proxy)


async def test_entries_that_fail_for_the_servers_reasons_are_deleted_later(proxy, queues, queue):
    """Per-entry failures without a sender's fault are repeated; nothing is handled twice."""
    for number in range(10):
        queues.send(queue, number)
    proxy.inject(faults.entries_failed, "DeleteMessageBatch", times=2)
    async with running(route(proxy, queue, accept)):
        await until(lambda: queues.counts(queue).total == 0)
    assert sorted(event for event, _ in proxy.events).count("handled") == 10


async def test_what_was_handled_but_not_deleted_is_deleted_when_it_comes_back(proxy, queues, queue):
    """Deletes fail for longer than the lease: the message comes back and is not run again."""
    queues.send(queue, 1)
    proxy.inject(faults.internal_error, "DeleteMessageBatch", times=6)
    async with running(route(proxy, queue, accept)):
        await until(lambda: queues.counts(queue).total == 0, seconds=30)
    assert [event for event, _ in proxy.events].count("handled") == 1


async def test_an_answer_that_never_arrives_returns_its_messages(proxy, queues, queue):
    """The server handed the messages out, we never heard: they become visible and are handled."""
    for number in range(3):
        queues.send(queue, number)
    proxy.inject(faults.reset_after, "ReceiveMessage")
    async with running(route(proxy, queue, accept)):
        await until(lambda: queues.counts(queue).total == 0)
    assert len({message for event, message in proxy.events if event == "handled"}) == 3
