"""SQSConsumer: an Application on a real queue."""

import asyncio
import logging
import os
import signal

import pytest

from loafer_kit import Abort, Application, LoaferManager
from loafer_kit.contrib.retry import Retry, RetryableException
from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws.consumers import SQSConsumer
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.testing import sqs_message

pytestmark = pytest.mark.slow


def make_app(queue, callback, settings=None, **keywords):
    """An application on a queue, whose handling is noted in `seen`."""
    app = Application("sqs", settings, callback=callback)
    app.consumer = SQSConsumer(app, queue, {"WaitTimeSeconds": 1}, **keywords)
    app.seen = []
    return app


def stop():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def queue(local_queues):
    """The name of a queue that holds three messages."""
    name = local_queues.fresh()
    for body in ("1", "2", "3"):
        local_queues.send(name, body)
    return name


async def note(app, message):
    """Handle a message; stop the application at the third."""
    app.seen.append(message["Body"])
    if len(app.seen) == 3:
        stop()


async def stop_at_once(app, message):
    """Stop the application, and be at work until it knows."""
    stop()
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("raised", [ValueError, SystemExit, asyncio.CancelledError])
def test_a_failure_without_error_callbacks_stays_in_its_queue(local_queues, raised):
    """It becomes visible again when its visibility timeout ends, and is handled again."""
    name = local_queues.fresh(visibility_timeout=1)
    local_queues.send(name, "1")

    async def fail_once(app, message):
        app.seen.append(message["Body"])
        if len(app.seen) == 1:
            raise raised
        stop()

    app = make_app(name, fail_once)
    app.run_forever()
    assert app.seen == ["1", "1"]
    assert local_queues.counts(name).total == 0


def test_a_failure_with_an_error_callback_is_acknowledged(local_queues):
    """Doozer's rule: the error callback has decided."""
    name = local_queues.fresh()
    local_queues.send(name, "1")

    async def fail(app, message):
        app.seen.append(message["Body"])
        raise ValueError

    app = make_app(name, fail)

    @app.error
    async def report(app, message, error):
        stop()

    app.run_forever()
    assert local_queues.counts(name).total == 0


def test_a_retry_gives_back_a_message_that_a_preprocessor_changed(local_queues):
    """The preprocessor's copy stands for the message that was received, and its lease ends."""
    name = local_queues.fresh(visibility_timeout=60)
    local_queues.send(name, "1")

    async def fail_once(app, message):
        app.seen.append(message["Body"])
        if len(app.seen) == 1:
            raise RetryableException
        stop()

    app = make_app(name, fail_once)
    app.settings["RETRY_CALLBACK"] = app.consumer.retry
    Retry(app)

    @app.message_preprocessor
    async def change(app, message):
        message["Body"] += "!"
        return message

    app.run_forever()
    assert app.seen == ["1!", "1!"]
    assert local_queues.counts(name).total == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_acknowledged_is_deleted(local_queues, queue, workers):
    """From a sent message to an empty queue; the consumer is all that an application changes."""
    app = make_app(queue, note)
    app.run_forever(num_workers=workers)
    assert sorted(app.seen) == ["1", "2", "3"]
    assert local_queues.counts(queue).total == 0


def test_what_was_not_handled_goes_back(local_queues, queue):
    """Messages that were received but not read are visible again at once."""

    make_app(queue, stop_at_once).run_forever()
    assert local_queues.counts(queue).visible == 2
    assert local_queues.counts(queue).total == 2


def test_a_crash_leaves_the_message(local_queues, queue):
    """A postprocessor that crashes: not acknowledged, so not deleted."""

    async def result(app, message):
        return [1]

    app = make_app(queue, result)

    @app.result_postprocessor
    async def crash(app, result):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        app.run_forever()
    assert local_queues.counts(queue).total == 3


def test_retry_counts_what_the_queue_counts(local_queues):
    """With `consumer.retry` as RETRY_CALLBACK a message becomes visible again."""
    queue = local_queues.fresh()
    local_queues.send(queue, "poison")

    async def fail(app, message):
        app.seen.append(message.get("_retry", {}).get("count", 0))
        raise RetryableException

    app = make_app(queue, fail, {"RETRY_THRESHOLD": 2})
    app.settings["RETRY_CALLBACK"] = app.consumer.retry
    Retry(app)

    @app.error
    async def give_up(app, message, error):
        stop()

    app.run_forever()
    assert app.seen == [0, 1, 2]
    assert local_queues.counts(queue).total == 0


def test_a_fifo_queue_keeps_order_with_several_workers(local_queues):
    """Messages of a group are handled one after another."""
    queue = f"{local_queues.fresh()}.fifo"
    local_queues.create(queue)
    for body in "123456":
        local_queues.send(queue, body, group="ab"[int(body) % 2])

    async def handle(app, message):
        await asyncio.sleep(0.01 * (7 - int(message["Body"])))
        app.seen.append(message["Body"])
        if len(app.seen) == 6:
            stop()

    app = make_app(queue, handle)
    app.run_forever(num_workers=4)
    for group in ("135", "246"):
        assert [body for body in app.seen if body in group] == list(group)


def test_log_lines_name_queue_and_message(queue, caplog):
    """As for a manager's routes."""

    with caplog.at_level(logging.INFO):
        make_app(queue, stop_at_once).run_forever()
    (record,) = [each for each in caplog.records if each.getMessage().startswith("message.handled")]
    assert record.queue == queue
    assert record.receive_count == 1


def test_a_queue_that_does_not_exist_ends_the_application(local_queues):
    """At the start, with the error that says what to do, and after teardown."""
    app = make_app("there-is-none", note)

    @app.teardown
    async def tear_down(app):
        app.seen.append("teardown")

    with pytest.raises(ProviderError, match="there-is-none"):
        app.run_forever()
    assert app.seen == ["teardown"]


async def test_abort_ends_a_read_that_was_stopped(local_queues):
    """An idle queue does not hold up the end."""
    app = make_app(local_queues.fresh(), note)
    await app.consumer._start(app)
    reading = asyncio.create_task(app.consumer.read())
    await asyncio.sleep(0)
    app.consumer.stop_reading()
    with pytest.raises(Abort, match=r"consumer\.stopped"):
        await reading
    await app.consumer._close(app)


def test_retry_on_a_manager_counts_anew_after_a_restart(local_queues):
    """The queue counts receives, which need not have been failures."""
    queue, dead = local_queues.fresh(), local_queues.fresh()
    local_queues.send(queue, '"poison"')
    attempts = []

    async def fail(message, metadata):
        attempts.append(int(metadata["Attributes"]["ApproximateReceiveCount"]))
        raise RetryableException("no use")

    for runs in (2, 1):
        route = SQSRoute(
            queue, {"options": {"WaitTimeSeconds": 1}}, handler=fail, dead_letter_queue=dead
        )
        manager = LoaferManager([route], settings={"RETRY_THRESHOLD": 2})
        Retry(manager)
        for _ in range(runs):
            manager.run(forever=False)
    assert attempts == [1, 2, 3]
    assert local_queues.counts(queue).total == 1
    assert local_queues.counts(dead).visible == 0


def test_the_first_delivery_is_known():
    """What RETRY_TIMEOUT on a manager counts from."""
    provider = SQSProvider("orders")
    message = sqs_message("text")
    milliseconds = int(message["Attributes"]["ApproximateFirstReceiveTimestamp"])
    assert provider.first_received(message) == milliseconds / 1000
    assert provider.first_received({"MessageId": "1"}) is None
