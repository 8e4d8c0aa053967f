"""Handlers that misbehave and leases that are lost, on real SQS servers."""

import asyncio
import threading
import uuid

import pytest
from faults import proxy as faults
from faults.service import (
    check_nothing_handled_after_delete,
    plain_route,
    route,
    running,
    until,
)

from loafer_kit.local import LocalQueue

pytestmark = pytest.mark.slow


@pytest.fixture
def fifo(queues):
    name = f"faults-{uuid.uuid4().hex[:8]}.fifo"
    queues.create(LocalQueue(name, visibility_timeout=2))
    yield name
    queues.delete(name)


@pytest.fixture
def with_dead_letters(queues):
    """A queue whose messages go to its dead-letter queue after three receives."""
    name = f"faults-{uuid.uuid4().hex[:8]}"
    queues.create(LocalQueue(name, None, f"{name}-dead", max_receive_count=3, visibility_timeout=1))
    yield name
    queues.delete(name, f"{name}-dead")


async def test_a_handler_that_raises_ends_in_the_dead_letter_queue(
    proxy, queues, with_dead_letters
):
    """It is handled as often as the redrive policy says, then moved by the server."""
    queues.send(with_dead_letters, 1)

    async def handler(message, metadata):
        raise ValueError(message)

    async with running(route(proxy, with_dead_letters, handler)):
        await until(lambda: queues.counts(f"{with_dead_letters}-dead").total == 1)
    assert [event for event, _ in proxy.events].count("handled") == 3
    assert queues.counts(with_dead_letters).total == 0


async def test_a_body_that_is_no_json_goes_to_the_dead_letter_queue_at_once(
    proxy, queues, with_dead_letters
):
    """No attempt can cure it, so it is not tried three times; the reason goes with it."""
    queues.send(with_dead_letters, "{no json")

    async def handler(message, metadata):
        return True

    async with running(route(proxy, with_dead_letters, handler)):
        await until(lambda: queues.counts(f"{with_dead_letters}-dead").total == 1)
    assert "handled" not in [event for event, _ in proxy.events]
    (letter,) = await asyncio.to_thread(queues.receive, f"{with_dead_letters}-dead")
    assert letter["Body"] == "{no json"
    assert "JSONDecodeError" in letter["MessageAttributes"]["DeadLetterReason"]["StringValue"]


async def test_a_handler_that_hangs_is_ended_by_its_time_limit(proxy, queues, queue):
    """The message comes back and is handled again; other messages never waited."""
    for number in range(5):
        queues.send(queue, number)
    hung = []

    async def handler(message, metadata):
        if message == 3 and not hung:
            hung.append(message)
            await asyncio.Event().wait()
        return True

    async with running(route(proxy, queue, handler, handler_timeout=0.5)):
        await until(lambda: queues.counts(queue).total == 0)
    assert [event for event, _ in proxy.events].count("handled") == 6
    check_nothing_handled_after_delete(proxy)


async def test_a_thread_that_hangs_keeps_its_message(proxy, queues, queue):
    """Its message stays hidden beyond the visibility timeout, and comes back when the thread ends."""
    queues.send(queue, 1)
    starts, end = [], threading.Event()

    def handler(message, metadata):
        starts.append(metadata["Attributes"]["ApproximateReceiveCount"])
        end.wait(30 if len(starts) == 1 else 0)
        return True

    limited = plain_route(proxy, queue, handler, handler_timeout=0.2)
    try:
        async with running(limited):
            await until(lambda: proxy.counts["ChangeMessageVisibilityBatch"] >= 3)
            assert starts == ["1"]
            end.set()
            await until(lambda: queues.counts(queue).total == 0)
    finally:
        end.set()
    assert starts == ["1", "2"]


async def test_a_handler_that_swallows_its_cancellation_keeps_its_message(proxy, queues, queue):
    """It ends in its own time; what it answers counts."""
    queues.send(queue, 1)

    async def handler(message, metadata):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
        return True

    async with running(route(proxy, queue, handler), grace_time=0.1):
        await until(lambda: ("handled" in [event for event, _ in proxy.events]))
    assert queues.counts(queue).total == 0


class Undecided:
    def __bool__(self):
        raise TypeError("neither true nor false")


@pytest.mark.parametrize(
    "answer", [[], object, "", Undecided()], ids=["[]", "class", "''", "undecided"]
)
async def test_nonsense_leaves_the_message(proxy, queues, queue, answer):
    """Whatever comes back, the message is left; the service goes on."""
    queues.send(queue, 1)
    queues.send(queue, 2)
    seen = []

    async def handler(message, metadata):
        seen.append(message)
        return answer if message == 1 and seen.count(1) == 1 else True

    async with running(route(proxy, queue, handler)):
        await until(lambda: queues.counts(queue).total == 0)
    assert seen.count(1) == 2


async def test_work_longer_than_the_visibility_timeout_is_handled_once(proxy, queues, queue):
    """The lease is extended while the handler runs."""
    queues.send(queue, 1)

    async def handler(message, metadata):
        await asyncio.sleep(5)
        return True

    async with running(route(proxy, queue, handler)):
        await until(lambda: queues.counts(queue).total == 0)
    assert [event for event, _ in proxy.events].count("handled") == 1
    assert proxy.counts["ChangeMessageVisibilityBatch"] >= 2


async def test_messages_behind_an_open_breaker_are_received_once(proxy, queues, queue, caplog):
    """They wait for longer than the visibility timeout; what is down costs one message its receive."""
    for number in range(5):
        queues.send(queue, number)
    receives, up = {}, asyncio.Event()

    async def handler(message, metadata):
        count = int(metadata["Attributes"]["ApproximateReceiveCount"])
        receives.setdefault(message, []).append(count)
        return up.is_set()

    options = {"concurrency": 1, "breaker_threshold": 1, "breaker_recovery": 4}
    limited = route(proxy, queue, handler, **options)
    async with running(limited):
        await until(lambda: limited.flow.breaker.is_open)
        fetches = proxy.counts["ReceiveMessage"]
        await asyncio.sleep(3.5)
        assert proxy.counts["ReceiveMessage"] == fetches
        assert len(receives) == 1
        up.set()
        await until(lambda: queues.counts(queue).total == 0)
    assert sorted(receives.values()) == [[1], [1], [1], [1], [1, 2]]
    assert "message.lost" not in caplog.text
    check_nothing_handled_after_delete(proxy)


async def test_a_lost_lease_cancels_the_handler_and_deletes_nothing(proxy, queues, queue, caplog):
    """Extensions fail for longer than the lease: the message is handled again, later."""
    queues.send(queue, 1)
    cancelled = []

    async def handler(message, metadata):
        if cancelled:
            return True
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(message)
            raise

    proxy.inject(faults.unavailable, "ChangeMessageVisibilityBatch", times=100)
    # With one slot and nothing held ready no fetch is open that could renew the lease.
    async with running(route(proxy, queue, handler, concurrency=1, prefetch=0)):
        await until(lambda: bool(cancelled))
        proxy.faults.clear()
        await until(lambda: queues.counts(queue).total == 0)
    assert "message.lost" in caplog.text
    check_nothing_handled_after_delete(proxy)


async def test_the_order_of_a_group_holds_over_failures(proxy, moto, queues, fifo):
    """Of each group nothing is handled before the message before it was; groups run beside."""
    if proxy.upstream != moto:
        pytest.skip(
            "LocalStack unblocks a group when any of its messages becomes visible; SQS does not"
        )
    for number in range(6):
        for group in "ab":
            queues.send(fifo, f'"{group}{number}"', group=group)
    failed, handled = set(), []

    async def handler(message, metadata):
        if message in {"a1", "b3"} and message not in failed:
            failed.add(message)
            return False
        handled.append(message)
        return True

    async with running(route(proxy, fifo, handler)):
        await until(lambda: queues.counts(fifo).total == 0, seconds=40)
    for group in "ab":
        assert [m for m in handled if m[0] == group] == [f"{group}{n}" for n in range(6)]


async def test_the_order_of_a_group_holds_over_lost_answers(proxy, moto, queues, fifo):
    """A receive whose answer is lost is repeated under its attempt id."""
    if proxy.upstream == moto:
        pytest.skip("moto knows no attempt ids, and gives the last of an expired group first")
    for number in range(5):
        queues.send(fifo, number, group="g")
    handled = []

    async def handler(message, metadata):
        handled.append(message)
        return True

    proxy.inject(faults.reset_after, "ReceiveMessage")
    async with running(route(proxy, fifo, handler)):
        await until(lambda: queues.counts(fifo).total == 0, seconds=40)
    assert handled == list(range(5))


async def test_many_copies_of_one_message_are_each_handled(proxy, queues, queue):
    """Equal bodies are different messages."""
    for _ in range(12):
        queues.send(queue, '"same"')

    async def handler(message, metadata):
        return True

    async with running(route(proxy, queue, handler)):
        await until(lambda: queues.counts(queue).total == 0)
    handled = [message for event, message in proxy.events if event == "handled"]
    assert len(handled) == len(set(handled)) == 12
