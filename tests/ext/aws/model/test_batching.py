"""When a batch leaves."""

import asyncio

import pytest

from loafer_kit.ext.aws.batching import Batcher


class Sent:
    """Where batches go, each with the time at which it left."""

    def __init__(self, takes=0.0):
        self.batches = []
        self._takes = takes

    async def __call__(self, batch):
        loop = asyncio.get_running_loop()
        self.batches.append((round(loop.time(), 3), list(batch)))
        await asyncio.sleep(self._takes)


def test_ten_leave_at_once(in_virtual_time):
    """A full batch waits for nothing."""

    async def main():
        sent = Sent()
        batcher = Batcher(sent, 5.0)
        for number in range(25):
            batcher.add(number, 100.0)
        await asyncio.sleep(0.001)
        assert sent.batches == [(0.0, list(range(10))), (0.0, list(range(10, 20)))]

    in_virtual_time(main)


def test_fewer_wait_for_the_linger_of_the_first(in_virtual_time):
    """What does not fill a batch leaves together when the first has waited long enough."""

    async def main():
        sent = Sent()
        batcher = Batcher(sent, 0.2)
        batcher.add("a", 100.0)
        await asyncio.sleep(0.15)
        batcher.add("b", 100.0)
        await asyncio.sleep(1)
        batcher.add("c", 100.0)
        await asyncio.sleep(1)
        assert sent.batches == [(0.2, ["a", "b"]), (1.35, ["c"])]

    in_virtual_time(main)


def test_an_old_timer_does_not_cut_the_next_linger_short(in_virtual_time):
    """After a full batch has left, the next item waits for its own linger."""

    async def main():
        sent = Sent()
        batcher = Batcher(sent, 0.2)
        for number in range(10):
            batcher.add(number, 100.0)
        await asyncio.sleep(0.15)
        batcher.add("late", 100.0)
        await asyncio.sleep(1)
        assert sent.batches[1:] == [(0.35, ["late"])]

    in_virtual_time(main)


def test_earliest_deadline_ends_the_linger(in_virtual_time):
    """An item that cannot wait takes the others along."""

    async def main():
        sent = Sent()
        batcher = Batcher(sent, 5.0)
        batcher.add("a", 100.0)
        batcher.add("urgent", 0.1)
        await asyncio.sleep(1)
        batcher.add("too late", 0.5)
        await asyncio.sleep(0.001)
        assert sent.batches == [(0.1, ["a", "urgent"]), (1.0, ["too late"])]

    in_virtual_time(main)


def test_hurry_ends_the_linger(in_virtual_time):
    """`hurry` lets what is waiting leave sooner."""

    async def main():
        sent = Sent()
        batcher = Batcher(sent, 5.0)
        batcher.hurry(0.01)
        batcher.add("a", 100.0)
        batcher.hurry(0.01)
        await asyncio.sleep(1)
        assert sent.batches == [(0.01, ["a"])]

    in_virtual_time(main)


@pytest.mark.parametrize("parallel", [1, 3])
def test_requests_at_once_are_bounded(in_virtual_time, parallel):
    """No more requests are under way than allowed, and everything leaves in the end."""

    async def main():
        sent = Sent(takes=1.0)
        batcher = Batcher(sent, 0.1, parallel=parallel)
        for number in range(65):
            batcher.add(number, 100.0)
        await asyncio.sleep(0.5)
        assert len(sent.batches) == parallel
        await batcher.flush()
        assert [item for _, batch in sent.batches for item in batch] == list(range(65))

    in_virtual_time(main)


def test_adding_too_fast_waits(in_virtual_time):
    """Above a thousand waiting items `caught_up` waits until there is room."""

    async def main():
        batcher = Batcher(Sent(takes=1.0), 0.1, parallel=1)
        for number in range(1_020):
            batcher.add(number, 1e9)
        assert batcher.is_behind
        await batcher.caught_up()
        assert not batcher.is_behind
        await batcher.close()

    in_virtual_time(main)


def test_flush_waits_for_what_is_under_way(in_virtual_time):
    """`flush` returns when the last request has ended, and at once when there is none."""

    async def main():
        loop = asyncio.get_running_loop()
        sent = Sent(takes=2.0)
        batcher = Batcher(sent, 5.0)
        await batcher.flush()
        assert loop.time() == 0.0
        batcher.add("a", 100.0)
        await batcher.flush()
        assert loop.time() == 2.0

    in_virtual_time(main)


def test_a_bug_in_sending_is_logged(in_virtual_time, caplog):
    """An exception out of `send` ends neither the batcher nor `flush`."""

    async def send(batch):
        raise RuntimeError("bug")

    async def main():
        batcher = Batcher(send, 0.1)
        batcher.add("a", 100.0)
        await batcher.flush()

    in_virtual_time(main)
    assert "batch.failed" in caplog.text


def test_close_leaves_nothing_behind(in_virtual_time):
    """After `close` no task and no timer of the batcher is left."""

    async def main():
        sent = Sent(takes=1e6)
        batcher = Batcher(sent, 0.1, parallel=1)
        for number in range(15):
            batcher.add(number, 100.0)
        await asyncio.sleep(0)
        await batcher.close()
        await asyncio.sleep(10)
        assert len(sent.batches) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_virtual_time(main)
