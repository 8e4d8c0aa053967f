"""Processes whose event loop is blocked, or that are stopped, for longer than a lease lasts."""

import signal
import time
import uuid

import pytest
from faults.test_processes import Process, until_empty

from loafer_kit.local import LocalQueue

#: Handlers of messages below 100 block the event loop.
SERVICE = """
    import asyncio, sys, time
    from loafer_kit.ext.aws.routes import SQSRoute
    from loafer_kit.managers import LoaferManager

    queue, seconds = sys.argv[1], float(sys.argv[2])

    async def blocks(message, metadata):
        print("started", message, flush=True)
        if message < 100:
            time.sleep(seconds)
        else:
            await asyncio.sleep(seconds)
        print("finished", message, flush=True)
        return True

    route = SQSRoute(queue, {"options": {"WaitTimeSeconds": 5}}, handler=blocks, concurrency=10)
    LoaferManager([route]).run()
"""


@pytest.fixture
def make_queue(queues):
    """Makes a queue with a visibility timeout."""
    made = []

    def make(seconds, suffix=""):
        name = f"faults-{uuid.uuid4().hex[:8]}{suffix}"
        queues.create(LocalQueue(name, visibility_timeout=seconds))
        made.append(name)
        return name

    yield make
    queues.delete(*made)


@pytest.fixture
def start(tmp_path, server):
    """Start services on a queue; those that still run at the end are killed."""
    started = []

    def start(queue, seconds):
        started.append(Process(tmp_path, server, queue, seconds, SERVICE))
        return started[-1]

    yield start
    for process in started:
        process.process.kill()
        process.process.wait()


def bodies(processes, event="started"):
    return sorted(int(body) for process in processes for body in process.bodies(event))


def test_ten_handlers_that_block_a_second_each(start, make_queue, queues):
    """Together they block for twice the visibility timeout: no message is handled twice."""
    queue = make_queue(5)
    for number in range(20):
        queues.send(queue, number)
    processes = [start(queue, 1.0), start(queue, 1.0)]
    until_empty(queues, queue, 90)
    assert bodies(processes) == list(range(20)), [process.errors for process in processes]
    errors = "".join(process.errors for process in processes)
    assert "loop.blocked" in errors
    assert "blocked in blocks (<string>:" in errors


def test_one_handler_that_blocks_for_longer_than_its_lease(start, make_queue, queues):
    """It keeps its message, and the messages that were acknowledged before it keep theirs."""
    queue = make_queue(5)
    for number in (100, 101, 1):
        queues.send(queue, number)
    processes = [start(queue, 8.0), start(queue, 8.0)]
    until_empty(queues, queue, 90)
    assert bodies(processes) == [1, 100, 101], [process.errors for process in processes]


def test_an_acknowledged_message_whose_deletion_waits_for_the_loop(start, make_queue, queues):
    """A deletion that the next handler holds up for longer than the lease is not too late."""
    queue = make_queue(2)
    processes = [start(queue, 4.0)]
    queues.send(queue, 1)
    queues.send(queue, 2)
    processes[0].wait_for("started")
    processes.append(start(queue, 4.0))
    until_empty(queues, queue, 90)
    assert bodies(processes) == [1, 2], [process.errors for process in processes]


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_a_process_that_was_stopped_starts_nothing_on_a_lease_that_is_over(
    start, make_queue, queues, suffix
):
    """What it had fetched before it stopped is handled by another process, and only there."""
    queue = make_queue(2, suffix)
    group = {"group": "g"} if suffix else {}
    for number in range(12):
        queues.send(queue, number, **group)
    stopped = start(queue, 0.5)
    stopped.wait_for("finished")
    stopped.process.send_signal(signal.SIGSTOP)
    before = set(bodies([stopped]))
    other = start(queue, 0.0)
    until_handled(other, set(range(12)) - before)
    stopped.process.send_signal(signal.SIGCONT)
    until_empty(queues, queue, 60)
    until_logged(stopped, "message.lost")
    assert set(bodies([stopped])) - before == set(), stopped.errors
    assert stopped.end(signal.SIGTERM) == 0, stopped.errors


def test_an_answer_that_waited_for_a_stopped_process_is_as_old_as_the_stop(
    start, make_queue, queues
):
    """The server handed the message to the open poll of a stopped process: its lease is over."""
    queue = make_queue(2)
    stopped = start(queue, 0.0)
    queues.send(queue, 101)
    stopped.wait_for("finished")
    until_empty(queues, queue)
    stopped.process.send_signal(signal.SIGSTOP)
    queues.send(queue, 102)
    other = start(queue, 0.0)
    until_handled(other, 1)
    until_empty(queues, queue)
    assert other.end(signal.SIGTERM) == 0, other.errors
    stopped.process.send_signal(signal.SIGCONT)
    queues.send(queue, 103)
    until_handled(stopped, 2)
    assert bodies([stopped]) == [101, 103], stopped.errors


def until_logged(process, event):
    """Wait for a line in the log of a process."""
    deadline = time.monotonic() + 60
    while event not in process.errors:
        assert time.monotonic() < deadline, process.errors
        time.sleep(0.05)


def until_handled(process, wanted):
    """Wait for a number of messages, or for these; some may be handled that were finished before."""
    deadline = time.monotonic() + 60
    while True:
        finished = set(bodies([process], "finished"))
        if wanted <= finished if isinstance(wanted, set) else len(finished) >= wanted:
            return
        assert time.monotonic() < deadline, process.errors
        time.sleep(0.05)
