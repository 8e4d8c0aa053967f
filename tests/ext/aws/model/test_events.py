"""What observers are told about the messages of a queue is what SQS has made of them."""

import asyncio

import pytest

from loafer_kit import LoaferManager
from loafer_kit.events import Observer
from loafer_kit.exceptions import RejectMessage, RetryMessage
from loafer_kit.routes import Route


class Diary(Observer):
    def __init__(self):
        self.events = []

    def settled(self, route, messages, result, seconds):
        assert seconds >= 0
        self.events += [("settled", message["MessageId"], result) for message in messages]

    def lost(self, route, message):
        self.events.append(("lost", message["MessageId"]))

    def heartbeat_sent(self, route, messages, error):
        ids = [message["MessageId"] for message in messages]
        self.events.append(("heartbeat_sent", *ids, error and str(error)))


@pytest.fixture
def told(in_virtual_time, make_provider):
    """Runs a service on a queue for so long; returns what its observer was told."""

    def run(queue, handler, seconds, **settings):
        diary = Diary()

        async def main():
            provider = make_provider(queue, {"WaitTimeSeconds": 1}, **settings)
            manager = LoaferManager([Route(provider, handler, "orders")])
            manager.observe(diary)
            running = asyncio.create_task(manager.serve())
            await asyncio.sleep(seconds)
            running.cancel()
            await asyncio.wait([running])

        in_virtual_time(main)
        return diary.events

    return run


async def accept(message, metadata):
    return True


async def fail(message, metadata):
    return False


async def reject(message, metadata):
    raise RejectMessage("no")


async def retry(message, metadata):
    raise RetryMessage(delay=100)


@pytest.mark.parametrize(
    ("handler", "refused", "result"),
    [
        (accept, None, "acknowledged"),
        (accept, "DeleteMessageBatch", "given up"),
        (fail, None, "left"),
        (reject, None, "dead-lettered"),
        (reject, "SendMessageBatch", "given up"),
        (retry, None, "put back"),
        (retry, "ChangeMessageVisibilityBatch", "given up"),
    ],
)
def test_each_message_is_settled_once_as_sqs_has_it(model_queue, told, handler, refused, result):
    """When the request was answered, or when it was given up."""
    queue = model_queue(faults=lambda action: "request" if action == refused else None)
    queue.put("a", "b")

    events = told(queue, handler, 29.9, heartbeat=False)[:2]  # then they are delivered again

    assert sorted(events) == [("settled", "id-1", result), ("settled", "id-2", result)]


def test_a_rejected_message_without_a_dead_letter_queue_is_left(model_queue, told):
    queue = model_queue(attributes={"RedrivePolicy": ""})
    queue.put("a")

    assert told(queue, reject, 2) == [("settled", "id-1", "left")]


def test_a_deletion_that_is_done_in_part_is_told_in_part(model_queue, told):
    """Each message once, when it was deleted."""
    failures = iter(["entry"])
    queue = model_queue(
        faults=lambda a: next(failures, None) if a == "DeleteMessageBatch" else None
    )
    queue.put("a", "b")

    events = told(queue, accept, 10)

    assert events == [("settled", "id-2", "acknowledged"), ("settled", "id-1", "acknowledged")]


@pytest.mark.parametrize("end", [31, 200])
def test_the_second_deletion_of_a_processed_message_is_not_told(model_queue, told, end):
    """Its first one was given up, and the message arrived again; whether this one succeeds or not."""
    queue = model_queue(
        faults=lambda a: "request" if a == "DeleteMessageBatch" and queue.now < end else None
    )
    queue.put("a")

    events = told(queue, accept, 85)

    assert bool(queue.left()) == (end > 100)
    assert events == [("settled", "id-1", "given up")]


@pytest.mark.parametrize("cancel", [True, False])
def test_a_lost_lease_is_told_once(model_queue, told, cancel):
    """Whether its handler is cancelled or not."""

    async def slow(message, metadata):
        await asyncio.sleep(20)
        queue.stored("a").handle = "another consumer's"
        queue.stored("a").visible_at = 1_000.0
        await asyncio.sleep(20)
        return True

    queue = model_queue()
    queue.put("a")

    events = told(queue, slow, 41, heartbeat=False, cancel_on_lost_lease=cancel)

    assert events == [("lost", "id-1")] + ([] if cancel else [("settled", "id-1", "given up")])


def test_heartbeats_are_told(model_queue, told):
    """With the error of one that failed."""
    failures = iter(["request"])
    queue = model_queue(
        faults=lambda a: next(failures, None) if a.startswith("ChangeMessage") else None
    )
    queue.put("a")

    async def slow(message, metadata):
        await asyncio.sleep(30)
        return True

    failed, sent, *rest = told(queue, slow, 35)

    assert failed[:2] == sent[:2] == ("heartbeat_sent", "id-1")
    assert "connection reset" in failed[2]
    assert sent[2] is None
    assert rest[-1] == ("settled", "id-1", "acknowledged")
