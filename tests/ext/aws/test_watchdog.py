"""The watchdog, on real event loops that are really blocked."""

import asyncio
import logging
import threading
import time

import pytest
import uvloop
from virtual_time import run as run_in_virtual_time

from loafer_kit.ext.aws.watchdog import VisibilityLock, Watchdog, lease_clock, watchdog


class Leases:
    """What the watchdog keeps: it notes when it is asked to."""

    def __init__(self, timeout=1.0, failure=None):
        self.timeout = timeout
        self._failure = failure
        self.extended = threading.Event()
        self.threads = set()

    def extend_in_thread(self):
        self.threads.add(threading.current_thread())
        self.extended.set()
        if self._failure:
            raise self._failure


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine function on asyncio's loop and on uvloop's."""

    def run(main):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return run


def block_until(event, seconds=10):
    assert event.wait(seconds)


def test_a_blocked_loop_has_its_leases_extended(run):
    """In another thread, again and again, even if that fails; a loop that runs needs none."""

    async def main():
        leases, failing = Leases(), Leases(failure=OSError("no network"))
        dog = watchdog()
        dog.add(failing.extend_in_thread, failing.timeout)
        dog.add(leases.extend_in_thread, leases.timeout)
        await asyncio.sleep(0.5)
        assert not leases.extended.is_set()
        for _ in range(2):
            block_until(leases.extended)
            leases.extended.clear()
        assert threading.current_thread() not in leases.threads
        dog.remove(failing.extend_in_thread)
        dog.remove(leases.extend_in_thread)
        (thread,) = leases.threads
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
        assert watchdog() is not dog

    run(main)


def test_a_block_is_reported_with_its_length_and_its_place(run, caplog):
    """One line per block of more than a second, which names the function that was called."""

    def wait_for_a_database(event):
        event.wait(1.6)

    async def handler():
        wait_for_a_database(threading.Event())

    async def main():
        leases = Leases(timeout=30)
        dog = watchdog()
        dog.add(leases.extend_in_thread, leases.timeout)
        await asyncio.sleep(0.3)
        await asyncio.create_task(handler())
        await asyncio.sleep(0.5)
        dog.remove(leases.extend_in_thread)

    caplog.set_level(logging.WARNING)
    run(main)
    (record,) = [r for r in caplog.records if r.getMessage().startswith("loop.blocked")]
    assert 1.5 < record.duration < 5
    (place,) = record.places
    assert "handler" in place
    assert "threading.py" in place


def test_short_blocks_are_not_reported(run, caplog):
    """Half a second is not worth a line."""

    async def main():
        leases = Leases(timeout=30)
        dog = watchdog()
        dog.add(leases.extend_in_thread, leases.timeout)
        for _ in range(3):
            threading.Event().wait(0.4)
            await asyncio.sleep(0.2)
        dog.remove(leases.extend_in_thread)

    run(main)
    assert "loop.blocked" not in caplog.text


def test_the_clock_goes_on_within_a_callback(run):
    """uvloop's own does not: the time of a check is not that of the loop's last round."""

    async def main():
        clock = lease_clock(asyncio.get_running_loop())
        before = clock()
        threading.Event().wait(0.05)
        assert 0.05 <= clock() - before < 5
        assert abs(clock() - time.monotonic()) < 1

    run(main)


def test_leases_of_an_answer_that_waited_count_from_the_block(run):
    """Answers to requests from before a block, shortly after it; others count from when they came."""

    async def main():
        leases = Leases()
        dog = watchdog()
        dog.add(leases.extend_in_thread, leases.timeout)
        await asyncio.sleep(0.2)
        asked_at = dog.clock()
        threading.Event().wait(0.5)
        now = dog.clock()
        assert asked_at - 0.2 < dog.received_at(asked_at, now) <= asked_at
        assert dog.received_at(now + 0.001, now + 0.002) == now + 0.002
        assert dog.received_at(asked_at, now + 1.5) == now + 1.5
        dog.remove(leases.extend_in_thread)

    run(main)


def test_the_loop_changes_nothing_while_the_thread_does(run):
    """A change waits for the thread's; the thread waits for none."""

    async def main():
        lock = VisibilityLock()
        entered, leave = threading.Event(), threading.Event()
        order = []

        def extend():
            with lock.in_thread():
                entered.set()
                leave.wait(10)
                order.append("thread")

        async def change():
            async with lock:
                order.append("loop")

        thread = asyncio.create_task(asyncio.to_thread(extend))
        await asyncio.to_thread(entered.wait, 10)
        changes = [asyncio.create_task(change()) for _ in range(2)]
        cancelled = asyncio.create_task(change())
        await asyncio.sleep(0.05)
        cancelled.cancel()
        changes[0].cancel()
        await asyncio.wait([cancelled, changes[0]])
        assert order == []
        leave.set()
        await asyncio.wait_for(asyncio.gather(thread, changes[1]), 10)
        assert order == ["thread", "loop"]

    run(main)


def test_a_loop_with_a_clock_of_its_own_is_not_watched():
    """Virtual time cannot be compared with a thread's."""

    async def main():
        dog = Watchdog()
        dog.add(Leases().extend_in_thread, 1.0)
        assert dog.received_at(0.0, 100.0) == 100.0
        assert not [t for t in threading.enumerate() if t.name == "loafer_kit watchdog"]

    run_in_virtual_time(main)
