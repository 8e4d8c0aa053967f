"""Requests that fail: nothing is lost, nothing deleted is handled again, the service stays up."""

import asyncio

import pytest
from faults import proxy as faults
from faults.service import check_nothing_handled_after_delete, route, running, until

from loafer_kit.exceptions import RejectMessage
from loafer_kit.local import LocalQueue

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


@pytest.fixture
def source(queues, queue):
    """A queue whose rejected messages go to `queue`."""
    name = f"{queue}-source"
    queues.create(LocalQueue(name, visibility_timeout=2, dead_letter_queue=queue))
    yield name
    queues.delete(name)


@pytest.mark.parametrize("transport", ["direct", "botocore"])
@pytest.mark.parametrize(
    "breaks",
    [
        faults.says(b""),
        faults.says(b"{}"),
        faults.says(b"<html>Welcome</html>"),
        faults.says(b"[]"),
        faults.entries_failed,
        faults.entries_refused,
    ],
    ids=["empty", "object", "html", "list", "failed", "refused"],
)
async def test_a_message_is_deleted_only_after_its_dead_letter_was_sent(
    proxy, queues, source, breaks, transport
):
    """Sends that SQS does not confirm are no sends: every letter arrives in the end."""
    for number in range(6):
        queues.send(source, number)

    async def reject(message, metadata):
        raise RejectMessage("no")

    proxy.inject(breaks, "SendMessageBatch", times=8)
    async with running(route(proxy, source, reject, transport=transport)):
        await until(lambda: queues.counts(source).total == 0, seconds=40)
    letters = [message["Body"] for message in queues.receive(source.removesuffix("-source"))]
    assert set(letters) == set("012345")
    assert all(fault.times == 0 for fault in proxy.faults)


@pytest.mark.parametrize("transport", ["direct", "botocore"])
@pytest.mark.parametrize("body", [b"", b"{}", b"<html>Welcome</html>"], ids=repr)
async def test_a_deletion_that_is_not_confirmed_is_repeated(proxy, queues, queue, body, transport):
    """The messages are handled once, and deleted in the end."""
    for number in range(6):
        queues.send(queue, number)
    proxy.inject(faults.says(body), "DeleteMessageBatch", times=2)
    async with running(route(proxy, queue, accept, transport=transport)):
        await until(lambda: queues.counts(queue).total == 0)
    assert [event for event, _ in proxy.events].count("handled") == 6


@pytest.mark.parametrize("transport", ["direct", "botocore"])
@pytest.mark.parametrize("action", ["GetQueueUrl", "GetQueueAttributes", "ReceiveMessage"])
async def test_a_gateway_that_answers_for_sqs_is_outlasted(proxy, queues, queue, action, transport):
    """At start and later: pages, redirects and empty answers do not end the service."""
    queues.send(queue, 1)
    for status, body in ((200, b""), (200, b"<html>Hello</html>"), (302, b""), (403, b"[1]")):
        proxy.inject(faults.says(body, status), action)
    async with running(route(proxy, queue, accept, transport=transport)):
        await until(lambda: queues.counts(queue).total == 0, seconds=40)
    assert all(fault.times == 0 for fault in proxy.faults)


@pytest.mark.parametrize("transport", ["direct", "botocore"])
async def test_a_full_message_is_dead_lettered_without_the_reason(proxy, queues, source, transport):
    """The reason makes the request too long; the others of the batch keep theirs."""
    queues.send(source, "x" * 5_000)
    for number in range(5):
        queues.send(source, number)

    async def reject(message, metadata):
        raise RejectMessage("no")

    proxy.inject(faults.refused_above(5_000), "SendMessageBatch", times=100)
    async with running(route(proxy, source, reject, transport=transport)):
        await until(lambda: queues.counts(source).total == 0)
    letters = queues.receive(source.removesuffix("-source"))
    with_reason = {letter["Body"] for letter in letters if letter.get("MessageAttributes")}
    assert with_reason == set("01234")
    assert {letter["Body"] for letter in letters} - with_reason == {"x" * 5_000}
