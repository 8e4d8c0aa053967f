"""What observers and the log are told about messages of a queue is what SQS has made of them."""

import asyncio
import logging

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
def told(in_virtual_time, make_provider, caplog):
    """Runs a service on a queue for so long; returns what its observer was told.

    `told.lines()` are the lines of the log about message id-1.
    """

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

        caplog.set_level(logging.DEBUG, "loafer_kit")
        in_virtual_time(main)
        return diary.events

    def lines():
        messages = [record.getMessage() for record in caplog.records]
        return [m for m in messages if "id-1" in m and not m.startswith("message.body")]

    run.lines = lines
    return run


def events_of(lines):
    return [line.partition(" ")[0] for line in lines]


async def accept(message, metadata):
    return True


async def fail(message, metadata):
    return False


async def reject(message, metadata):
    raise RejectMessage("no")


async def retry(message, metadata):
    raise RetryMessage(delay=100)


@pytest.mark.parametrize(
    ("handler", "refused", "expected"),  # the result, the outcome that is logged, further events
    [
        (accept, None, ("acknowledged", "acknowledged", "deletion.done")),
        (accept, "DeleteMessageBatch", ("given up", "acknowledged", "deletion.given_up")),
        (fail, None, ("left", "left")),
        (reject, None, ("dead-lettered", "rejected", "message.dead_lettered", "deletion.done")),
        (reject, "SendMessageBatch", ("given up", "rejected", "message.not_dead_lettered")),
        (retry, None, ("put back", "to be retried after 100 s", "visibility_change.done")),
        (
            retry,
            "ChangeMessageVisibilityBatch",
            ("given up", "to be retried after 100 s", "visibility_change.given_up"),
        ),
    ],
)
def test_each_message_is_settled_once_as_sqs_has_it(model_queue, told, handler, refused, expected):
    """When the request was answered, or given up; one line names the decision, the next the result."""
    result, outcome, *logged = expected
    queue = model_queue(faults=lambda action: "request" if action == refused else None)
    queue.put("a", "b")

    events = told(queue, handler, 29.9, heartbeat=False)[:2]  # then they are delivered again

    assert sorted(events) == [("settled", "id-1", result), ("settled", "id-2", result)]
    lines = told.lines()
    assert f"outcome={outcome!r}" in lines[0]
    assert events_of(lines)[: 1 + len(logged)] == ["message.handled", *logged]
    assert ("deletion.done" in events_of(lines)) == ("deletion.done" in logged)


def test_a_rejected_message_without_a_dead_letter_queue_is_left(model_queue, told):
    """No line says that it is a dead letter."""
    queue = model_queue(attributes={"RedrivePolicy": ""})
    queue.put("a")

    assert told(queue, reject, 2) == [("settled", "id-1", "left")]
    lines = told.lines()
    assert events_of(lines) == ["message.handled", "message.rejected_in_vain"]
    assert "outcome='rejected'" in lines[0]
    assert "dead-lettered" not in "".join(lines)


def test_a_deletion_that_is_done_in_part_is_told_in_part(model_queue, told):
    """Each message once, when it was deleted."""
    failures = iter(["entry"])
    queue = model_queue(
        faults=lambda a: next(failures, None) if a == "DeleteMessageBatch" else None
    )
    queue.put("a", "b")

    events = told(queue, accept, 10)

    assert events == [("settled", "id-2", "acknowledged"), ("settled", "id-1", "acknowledged")]
    assert told.lines()[-1] == "deletion.done queue=orders message_ids=id-1"
    assert events_of(told.lines()) == ["message.handled", "deletion.done"]


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
    if not cancel:
        lines = told.lines()
        assert events_of(lines) == ["message.lost", "message.handled", "deletion.lost"]
        assert "it was not sent" in lines[-1]


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
