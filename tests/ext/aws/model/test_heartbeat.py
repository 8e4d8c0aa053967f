"""The heartbeat's requests: how large, when, and what they count from."""

import asyncio

import pytest

from loafer_kit import outcomes
from loafer_kit.ext.aws.heartbeat import Heartbeat
from loafer_kit.ext.aws.leases import LeaseTable
from loafer_kit.ext.aws.requests.transport import Queue
from loafer_kit.ext.aws.watchdog import VisibilityLock


class SlowChanges:
    """Makes changes of visibility slow, and notes when each arrives."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.times = []

    def __call__(self, action):
        if action != "ChangeMessageVisibilityBatch":
            return None
        self.times.append(asyncio.get_running_loop().time())
        return self.seconds


def test_an_extension_counts_from_its_request(in_virtual_time, model_queue, make_provider):
    """SQS may have carried it out at once, however long its answer takes."""
    queue = model_queue(faults=SlowChanges(10.0))
    queue.put("a")

    async def main():
        provider = make_provider(queue)
        await provider.start(lambda message: None)
        (message,) = await provider.fetch(10)
        await asyncio.sleep(45)
        await provider.settle(message, outcomes.ACKNOWLEDGE)
        await provider.flush()
        await provider.close()

    in_virtual_time(main)
    first, second = queue.faults.times
    assert first == pytest.approx(18, abs=0.5)
    assert second == pytest.approx(first + 18, abs=0.5)


def test_a_change_waits_for_an_extension_that_is_under_way(
    in_virtual_time, model_queue, make_provider
):
    """The extension would otherwise hide again what was just given back."""
    queue = model_queue(faults=SlowChanges(5.0))
    queue.put("a", "b")

    async def main():
        provider = make_provider(queue)
        await provider.start(lambda message: None)
        messages = await provider.fetch(10)
        await asyncio.sleep(19)
        for message in messages:
            await provider.settle(message, outcomes.RELEASE)
        await provider.flush()
        await provider.close()
        assert queue.in_flight() == []

    in_virtual_time(main)
    extension, release = queue.faults.times
    assert release >= extension + 5


class RecordingQueue:
    """A blocking queue whose requests take time on the clock that it shares with the heartbeat."""

    def __init__(self):
        self.now = 0.0
        self.sizes = []

    def change_visibility(self, timeouts):
        self.sizes.append(len(timeouts))
        self.now += 2
        return []


def test_the_thread_extends_ten_at_a_time_and_counts_from_each_request(in_virtual_time):
    """SQS refuses a batch of eleven; an extension never lasts longer than SQS has it."""
    requests = RecordingQueue()

    async def main():
        table = LeaseTable(30, extend=True)
        messages, _ = table.accept(
            [{"MessageId": str(n), "ReceiptHandle": str(n)} for n in range(21)], 0.0
        )
        heartbeat = Heartbeat(
            Queue("orders", "https://queue.example/1/orders", None),
            table,
            blocking_queue=requests,
            visibility_lock=VisibilityLock(),
            lost=lambda lease: None,
            undeleted=lambda: (),
            clock=lambda: requests.now,
            sent=lambda leases, error: None,
        )
        requests.now = 20.0
        heartbeat.extend_in_thread()
        await heartbeat.close()
        return [table.get(message).deadline for message in messages]

    deadlines = in_virtual_time(main)
    assert requests.sizes == [10, 10, 1]
    assert deadlines == [50.0] * 10 + [52.0] * 10 + [54.0]
