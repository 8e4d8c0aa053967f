"""What the log says about a message is what happened to it."""

import asyncio
import logging

import pytest

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.exceptions import RejectMessage, RetryMessage
from loafer_kit.routes import Route


@pytest.fixture
def logged(in_virtual_time, make_provider, caplog):
    """Runs a service on a queue for so long; returns the log's lines about message id-1."""

    def run(queue, handler, seconds, **settings):
        async def main():
            provider = make_provider(queue, {"WaitTimeSeconds": 1}, **settings)
            dispatcher = LoaferDispatcher([Route(provider, handler, "orders")])
            running = asyncio.create_task(dispatcher.dispatch_providers())
            await asyncio.sleep(seconds)
            dispatcher.stop()
            await running

        caplog.set_level(logging.DEBUG, "loafer_kit")
        in_virtual_time(main)
        messages = [record.getMessage() for record in caplog.records]
        return [m for m in messages if "id-1" in m and not m.startswith("message.body")]

    return run


def events(lines):
    return [line.partition(" ")[0] for line in lines]


async def accept(message, metadata):
    return True


async def reject(message, metadata):
    raise RejectMessage("no")


async def retry(message, metadata):
    raise RetryMessage(delay=100)


def test_a_deleted_message(model_queue, logged):
    """Acknowledged is the decision, done the deletion."""
    queue = model_queue()
    queue.put("a")
    lines = logged(queue, accept, 2)
    assert events(lines) == ["message.handled", "deletion.done"]
    assert "outcome='acknowledged'" in lines[0]
    assert lines[1] == "deletion.done queue=orders message_ids=id-1"


def test_a_message_whose_deletion_was_given_up(model_queue, logged):
    """The deletion is not said to be done."""
    queue = model_queue(faults=lambda a: "request" if a == "DeleteMessageBatch" else None)
    queue.put("a")
    lines = logged(queue, accept, 29.9)
    assert events(lines)[:2] == ["message.handled", "deletion.given_up"]
    assert "deletion.done" not in events(lines)
    assert "SQS will deliver it again" in lines[1]


def test_a_deletion_that_was_carried_out_in_part(model_queue, logged):
    """Each message is named once, when it was deleted."""
    failures = iter(["entry"])
    queue = model_queue(
        faults=lambda a: next(failures, None) if a == "DeleteMessageBatch" else None
    )
    queue.put("a", "b")
    lines = logged(queue, accept, 10)
    assert lines[-1] == "deletion.done queue=orders message_ids=id-1"
    assert events(lines) == ["message.handled", "deletion.done"]


def test_a_rejected_message_without_a_dead_letter_queue(model_queue, logged):
    """It was rejected and left: no line says that it is a dead letter."""
    queue = model_queue(attributes={"RedrivePolicy": ""})
    queue.put("a")
    lines = logged(queue, reject, 2)
    assert events(lines) == ["message.handled", "message.rejected_in_vain"]
    assert "outcome='rejected'" in lines[0]
    assert "dead-lettered" not in "".join(lines)


@pytest.mark.parametrize("taken", [True, False])
def test_a_rejected_message_with_a_dead_letter_queue(model_queue, logged, taken):
    """A second line says whether its dead letter was sent."""
    queue = model_queue(
        faults=lambda a: "request" if a == "SendMessageBatch" and not taken else None
    )
    queue.put("a")
    lines = logged(queue, reject, 28)
    assert "outcome='rejected'" in lines[0]
    assert events(lines)[1:] == (
        ["message.dead_lettered", "deletion.done"] if taken else ["message.not_dead_lettered"]
    )


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_retried_message(model_queue, logged, carried_out):
    """It is to be retried after its delay, once the change of its visibility is done."""
    change = "ChangeMessageVisibilityBatch"
    queue = model_queue(faults=lambda a: "request" if a == change and not carried_out else None)
    queue.put("a")
    lines = logged(queue, retry, 29.9)
    assert "outcome='to be retried after 100 s'" in lines[0]
    assert events(lines)[1] == (
        "visibility_change.done" if carried_out else "visibility_change.given_up"
    )


def test_a_message_that_was_lost_while_its_handler_ran(model_queue, logged):
    """It was acknowledged too late: its deletion is not sent, and a line says so."""

    queue = model_queue()
    queue.put("a")

    async def slow(message, metadata):
        await asyncio.sleep(20)
        queue.stored("a").handle = "another consumer's"
        queue.stored("a").visible_at = 1_000.0
        await asyncio.sleep(20)
        return True

    lines = logged(queue, slow, 41, heartbeat=False, cancel_on_lost_lease=False)
    assert events(lines) == ["message.lost", "message.handled", "deletion.lost"]
    assert "it was not sent" in lines[-1]
