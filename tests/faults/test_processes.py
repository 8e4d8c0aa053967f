"""Real processes, killed and signalled at every moment: no message is lost."""

import signal
import textwrap
import time

import pytest
from programs import Program

from loafer_kit.local.servers import child_environment

pytestmark = pytest.mark.slow

SERVICE = """
    import asyncio, sys
    from loafer_kit.ext.aws.routes import SQSRoute
    from loafer_kit.managers import LoaferManager

    queue, seconds, concurrency = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])

    async def handler(message, metadata):
        print("started", message, flush=True)
        await asyncio.sleep(seconds)
        print("finished", message, flush=True)
        return True

    options = {"options": {"WaitTimeSeconds": 1}}
    route = SQSRoute(queue, options, handler=handler, concurrency=concurrency)
    manager = LoaferManager([route])

    @manager.startup
    async def ready(manager):
        print("starting", flush=True)

    manager.run()
"""


class Process:
    """A service in a process of its own, and the lines it printed."""

    def __init__(self, folder, url, queue, seconds=0.0, script=SERVICE, *, concurrency=10):
        self._output = folder / f"output-{time.monotonic_ns()}"
        self._errors = self._output.with_suffix(".errors")
        with self._output.open("w") as output, self._errors.open("w") as errors:
            self.process = Program(
                *("-c", textwrap.dedent(script), queue, seconds, concurrency),
                env=child_environment(url),
                stdout=output,
                stderr=errors,
            )

    @property
    def errors(self):
        return self._errors.read_text()

    def bodies(self, event):
        """Return the bodies of the messages that this happened to, in order."""
        lines = self._output.read_text().splitlines()
        return [line.partition(" ")[2] for line in lines if line.startswith(event)]

    def wait_for(self, event):
        deadline = time.monotonic() + 60
        while not self.bodies(event):
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < deadline, self.errors
            time.sleep(0.02)

    def end(self, number):
        """Send a signal and wait for the end; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def start(tmp_path, server, queue):
    """Start services on the queue; those that still run at the end are killed."""
    started = []

    def start(seconds=0.0, queue=queue, **options):
        started.append(Process(tmp_path, server, queue, seconds, **options))
        return started[-1]

    yield start
    for process in started:
        process.process.kill()
        process.process.wait()


def until_empty(queues, queue, seconds=30):
    deadline = time.monotonic() + seconds
    while queues.counts(queue).total:
        assert time.monotonic() < deadline, queues.counts(queue)
        time.sleep(0.1)


def test_sigterm_in_the_middle_of_ten_slow_messages(start, queues, queue):
    """All ten finish and are deleted, none is handled twice, nothing stays in flight."""
    for number in range(10):
        queues.send(queue, number)
    process = start(1.5)
    process.wait_for("started")
    assert process.end(signal.SIGTERM) == 0, process.errors
    started = process.bodies("started")
    assert sorted(process.bodies("finished")) == sorted(started)
    assert len(started) == len(set(started))
    counts = queues.counts(queue)
    assert counts.in_flight == 0
    assert counts.visible == 10 - len(started)


def test_kill_9_in_the_middle_of_slow_messages(start, queues, queue):
    """What the dead process had in hand becomes visible again; another process handles it."""
    for number in range(10):
        queues.send(queue, number)
    first = start(30)
    first.wait_for("started")
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    second = start()
    until_empty(queues, queue)
    assert second.end(signal.SIGTERM) == 0, second.errors
    assert sorted(second.bodies("finished")) == sorted(str(number) for number in range(10))


def test_idle_workers_get_their_share_of_slow_messages(start, queues, queue):
    """No worker fetches more than it can start soon."""
    workers = [start(0.4, concurrency=1) for _ in range(3)]
    for worker in workers:
        worker.wait_for("starting")
    for number in range(12):
        queues.send(queue, number)
    until_empty(queues, queue)
    for worker in workers:
        assert worker.end(signal.SIGTERM) == 0, worker.errors
        assert len(worker.bodies("finished")) >= 2
    finished = [body for worker in workers for body in worker.bodies("finished")]
    assert sorted(finished) == sorted(str(number) for number in range(12))


@pytest.mark.parametrize("phase", ["starting", "started", "finished"])
def test_sigterm_in_every_phase(start, queues, queue, phase):
    """While it starts up, while a handler runs, while results are settled: nothing in flight."""
    for number in range(5):
        queues.send(queue, number)
    process = start(0.1)
    process.wait_for(phase)
    assert process.end(signal.SIGTERM) == 0, process.errors
    counts = queues.counts(queue)
    assert counts.in_flight == 0
    finished = process.bodies("finished")
    assert len(finished) == len(set(finished))
    assert counts.visible == 5 - len(finished)


def test_sigterm_on_an_idle_queue(start, queues, queue):
    """The open poll returns; a message sent afterwards stays visible for the next process."""
    process = start()
    process.wait_for("starting")
    queues.send(queue, 1)
    process.wait_for("finished")
    assert process.end(signal.SIGTERM) == 0, process.errors
    queues.send(queue, 2)
    assert queues.counts(queue).visible == 1
    assert queues.counts(queue).in_flight == 0


def test_a_queue_that_does_not_exist_ends_the_process_with_one_line(start):
    """Exit code 1, no traceback, and what to do."""
    process = start(queue="no-such-queue")
    assert process.process.wait(60) == 1
    assert "Queue 'no-such-queue' does not exist" in process.errors
    assert "Traceback" not in process.errors
    assert len(process.errors.strip().split("\n")) == 1
