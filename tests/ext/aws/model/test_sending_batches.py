"""When a batch leaves."""

import asyncio
from contextvars import ContextVar

import pytest
import uvloop

from loafer_kit.ext.aws.sending import Batcher


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


def test_a_batch_has_the_context_of_none_of_its_items(in_virtual_time):
    """It was collected from many handlers: their spans and log fields are not its own."""
    current = ContextVar("current", default="nobody")
    seen = []

    async def send(batch):
        seen.append(current.get())

    async def add(batcher, *items):
        current.set("a handler")
        for item in items:
            batcher.add(item, 100.0)

    async def main():
        batcher = Batcher(send, 0.2)
        await asyncio.create_task(add(batcher, "a"))  # leaves by the timer
        await asyncio.sleep(1)
        await asyncio.create_task(add(batcher, *range(10)))  # leaves at once
        await asyncio.sleep(1)

    in_virtual_time(main)
    assert seen == ["nobody", "nobody"]


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


def test_pending_counts_what_waits_for_a_request_to_end(in_virtual_time):
    """Items that only wait for others to share a request are not counted."""

    async def main():
        ended = []
        batcher = Batcher(
            Sent(takes=1.0), 0.1, parallel=2, ended=lambda: ended.append(batcher.pending)
        )
        for number in range(19):
            batcher.add(number, 1e9)
        assert batcher.pending == 10
        for number in range(19, 33):
            batcher.add(number, 1e9)
        assert batcher.pending == 33
        await batcher.flush()
        assert ended == [23, 13, 3, 0]
        assert batcher.pending == 0

    in_virtual_time(main)


def test_each_item_costs_the_same_however_many_wait(in_virtual_time):
    """No step of a request's end depends on how many items wait: nothing waits in a task."""

    async def main():
        sent = Sent(takes=0.01)
        batcher = Batcher(sent, 0.1, parallel=4)
        for number in range(5_000):
            batcher.add(number, 1e9)
        assert len(asyncio.all_tasks()) <= 1 + 4
        await batcher.flush()
        assert [item for _, batch in sent.batches for item in batch] == list(range(5_000))

    in_virtual_time(main)


def by_letter(item):
    return item[0]


def test_items_of_a_key_leave_in_their_order(in_virtual_time):
    """While a request carries items of a key, later ones wait; other keys do not."""

    async def main():
        sent = Sent(takes=5.0)
        batcher = Batcher(sent, 0.1, key=by_letter)
        batcher.add("a1", 1e9)
        batcher.add("a2", 1e9)
        await asyncio.sleep(1)
        batcher.add("a3", 1e9)
        batcher.add("b1", 1e9)
        await asyncio.sleep(1)
        batcher.add("a4", 1e9)
        assert batcher.pending == 5
        await batcher.flush()
        assert sent.batches == [(0.1, ["a1", "a2"]), (1.1, ["b1"]), (5.1, ["a3", "a4"])]
        assert batcher.pending == 0

    in_virtual_time(main)


def test_a_key_that_fills_more_than_one_request_stays_in_order(in_virtual_time):
    """What does not fit into a request waits until it has ended."""

    async def main():
        sent = Sent(takes=1.0)
        batcher = Batcher(sent, 0.1, parallel=1, key=by_letter)
        batcher.add("x", 1e9)
        await asyncio.sleep(0.5)
        items = [f"{letter}{number}" for number in range(12) for letter in "ab"]
        for item in items:
            batcher.add(item, 1e9)
        batcher._parallel = 3
        await batcher.flush()
        for letter in "ab":
            left = [item for _, batch in sent.batches for item in batch if item[0] == letter]
            assert left == [item for item in items if item[0] == letter]
        for time, batch in sent.batches:
            at_once = [other for at, other in sent.batches if at == time and other != batch]
            assert not {item[0] for item in batch} & {item[0] for b in at_once for item in b}

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


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("linger", [0.0, 0.0001, 0.0004, 0.002])
def test_short_lingers_on_real_loops(new_loop, linger):
    """uvloop's handles for delays below a millisecond do not know when they are due."""

    async def main():
        sent = Sent()
        batcher = Batcher(sent, linger)
        for number in range(30):
            batcher.add(number, 1e9)
            batcher.hurry(0.0002)
            batcher.add(-number, asyncio.get_running_loop().time() + 0.0001)
            await asyncio.sleep(0.001)
        await batcher.flush()
        assert sum(len(batch) for _, batch in sent.batches) == 60

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.wait_for(main(), 10))


def test_items_are_those_whose_requests_have_not_ended(in_virtual_time):
    """They wait for others, are under way, or wait behind one of their key."""

    async def main():
        batcher = Batcher(Sent(takes=5.0), 1.0, key=lambda item: item[0])
        batcher.add("a1", 100.0)
        await asyncio.sleep(2)
        batcher.add("a2", 100.0)
        batcher.add("b1", 100.0)
        assert sorted(batcher.items()) == ["a1", "a2", "b1"]
        await batcher.flush()
        assert batcher.items() == []

    in_virtual_time(main)
