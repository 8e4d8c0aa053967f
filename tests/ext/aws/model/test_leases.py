"""The table of leases, by a clock that the test moves; the heartbeat's requests, in virtual time."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit import outcomes
from loafer_kit.ext.aws.leases import Heartbeat, LeaseTable, RecentIds
from loafer_kit.ext.aws.requests.transport import Queue
from loafer_kit.ext.aws.watchdog import VisibilityLock


def delivery(message_id, handle="h1"):
    return {"MessageId": message_id, "ReceiptHandle": handle, "Body": "{}"}


@pytest.fixture
def table():
    return LeaseTable(30, extend=True)


def test_new_messages_are_handed_on(table):
    """What was not in hand before is to be handled, in its order."""
    messages = [delivery("a"), delivery("b")]
    assert table.accept(messages, 0.0) == (messages, [])
    assert len(table) == 2


def test_redelivery_of_a_message_in_hand_replaces_its_handle(table):
    """A message that is being handled is not started again; the newer handle counts."""
    (message,), _ = table.accept([delivery("a", "old")], 0.0)
    assert table.accept([delivery("a", "new")], 31.0) == ([], [])
    lease = table.take(message)
    assert lease.receipt_handle == "new"
    assert lease.deadline == 61.0


def test_duplicate_within_one_answer_is_handed_on_once(table):
    """The same message twice in one answer is one message with the second handle."""
    messages, _ = table.accept([delivery("a", "first"), delivery("a", "second")], 0.0)
    assert len(messages) == 1
    assert table.take(messages[0]).receipt_handle == "second"


def test_processed_message_is_deleted_not_run_again(table):
    """What was processed and comes back is to be deleted by its newer handle."""
    (message,), _ = table.accept([delivery("a", "old")], 0.0)
    table.take(message)
    table.processed.add("a")
    messages, processed = table.accept([delivery("a", "new")], 40.0)
    assert messages == []
    assert [lease.receipt_handle for lease in processed] == ["new"]


def test_no_extension_before_half_the_time(table):
    """Work shorter than half the visibility timeout costs no call."""
    (message,), _ = table.accept([delivery("a")], 0.0)
    assert table.next_look() >= 15.0
    assert table.due(14.9) == ([], [])
    table.take(message)
    assert table.next_look() is None


def test_leases_past_half_their_time_are_extended_together(table):
    """One look serves all that are past half their time, no other."""
    for second in range(4):
        table.accept([delivery(f"m{second}")], float(second))
    due, lost = table.due(17.0)
    assert [lease.message_id for lease in due] == ["m0", "m1", "m2"]
    assert lost == []


def test_extended_lease_waits_its_turn_again(table):
    """An extension starts the visibility timeout anew."""
    table.accept([delivery("a")], 0.0)
    (lease,), _ = table.due(18.0)
    table.extended(lease, 18.0, table.extension(lease, 18.0))
    assert lease.deadline == 48.0
    assert table.due(32.0) == ([], [])


def test_lease_past_its_deadline_is_lost(table):
    """A missed deadline is a lost lease, reported once."""
    (message,), _ = table.accept([delivery("a")], 0.0)
    due, lost = table.due(30.0)
    assert due == []
    assert [lease.message for lease in lost] == [message]
    assert table.due(31.0) == ([], [])


def test_redelivery_of_a_lost_message_makes_it_ours_again(table):
    """A handler that goes on after its lease was lost gets its message back, not a second run."""
    (message,), _ = table.accept([delivery("a")], 0.0)
    table.due(30.0)
    assert table.accept([delivery("a", "new")], 35.0) == ([], [])
    assert not table.get(message).lost


def test_another_thread_extends_what_is_past_half_of_its_time(table):
    """In hand or being deleted; neither what is fresh nor what is over, and nothing is changed."""
    messages, _ = table.accept([delivery("a"), delivery("b")], 0.0)
    table.accept([delivery("fresh")], 10.0)
    deleting = table.take(messages[1])
    assert table.in_thread([deleting], 14.0) == []
    extensions = table.in_thread([deleting], 16.0)
    assert [(lease.message_id, seconds) for lease, seconds in extensions] == [("a", 30), ("b", 30)]
    assert table.in_thread([deleting], 16.0) == extensions
    assert [lease.message_id for lease, _ in table.in_thread([deleting], 35.0)] == ["fresh"]
    assert LeaseTable(30, extend=False).in_thread([deleting], 16.0) == []


def test_an_extension_does_not_shorten_a_later_one(table):
    """The answer to the loop's request comes after the watchdog has extended the lease."""
    table.accept([delivery("a")], 0.0)
    (lease,), _ = table.due(18.0)
    lease.deadline = 70.0
    table.extended(lease, 18.0, 30)
    assert lease.deadline == 70.0
    assert table.due(50.0) == ([lease], [])


def test_processing_time_caps_the_extensions():
    """After `max_processing_time` a lease is extended no more, not even after a redelivery."""
    table = LeaseTable(30, extend=True, longest=40)
    table.accept([delivery("a")], 0.0)
    (lease,), _ = table.due(18.0)
    seconds = table.extension(lease, 18.0)
    assert seconds == 22
    table.extended(lease, 18.0, seconds)
    assert table.due(39.9) == ([], [])
    assert table.due(40.0) == ([], [lease])
    table.accept([delivery("a", "new")], 41.0)
    assert table.extension(lease, 56.0) == 0


def test_sqs_hides_a_message_for_twelve_hours_at_the_most(table):
    """The sum of all extensions stays within twelve hours from the receive."""
    table.accept([delivery("a")], 0.0)
    (lease,) = table._leases.values()
    assert table.extension(lease, 43_180.0) == 10
    assert table.extension(lease, 43_201.0) == 0
    assert lease.visibility_left(43_201.0) == 0


def test_without_extensions_a_lease_ends_at_its_deadline():
    """With the heartbeat off nothing is extended, and what runs out is lost."""
    table = LeaseTable(30, extend=False)
    table.accept([delivery("a")], 0.0)
    assert table.next_look() == 30.0
    assert table.due(29.0) == ([], [])
    due, lost = table.due(30.0)
    assert (due, len(lost)) == ([], 1)


def test_message_that_is_not_in_hand_has_no_lease(table):
    """An equal message of another delivery is not the one in hand."""
    table.accept([delivery("a")], 0.0)
    assert table.get(delivery("a")) is None
    assert table.take(delivery("b")) is None


def test_recent_ids_are_bounded():
    """The newest ids are remembered, and never more than twice the capacity."""
    recent = RecentIds(10)
    for number in range(1_000):
        recent.add(str(number))
    assert all(str(number) in recent for number in range(990, 1_000))
    assert sum(str(number) in recent for number in range(1_000)) <= 20


@given(seed=st.integers(0, 2**32), timeout=st.integers(2, 60), extend=st.booleans())
def test_no_lease_is_forgotten(seed, timeout, extend):
    """Whatever happens in whatever order: a look at the named time finds every lease in time.

    Every lease in hand is, at the next look, either not past its deadline or reported as lost.
    """
    chance = random.Random(seed)
    table = LeaseTable(timeout, extend=extend, longest=chance.choice([None, timeout * 3]))
    now, in_hand = 0.0, {}
    for _ in range(60):
        look = table.next_look()
        arrive = now + chance.random() * timeout / 3
        if look is not None and look <= arrive:
            now = max(now, look)
            due, lost = table.due(now)
            assert due or lost
            for lease in lost:
                assert lease.deadline <= now
                assert lease.deadline > now - 0.001 - timeout * 0.1
                table.take(lease.message)
                del in_hand[lease.message_id]
            for lease in due:
                assert lease.deadline - now <= timeout / 2 + 0.001
                seconds = table.extension(lease, now)
                if seconds:
                    table.extended(lease, now, seconds)
                else:
                    table.end(lease)
            continue
        now = arrive
        message_id = str(chance.randrange(12))
        messages, _ = table.accept([delivery(message_id, str(now))], now)
        for message in messages:
            in_hand[message_id] = message
        if in_hand and chance.random() < 0.5:
            settled = chance.choice(sorted(in_hand))
            assert table.take(in_hand.pop(settled)).message_id == settled
    assert len(table) == len(in_hand)


# The heartbeat


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

    def close(self):
        """Nothing is open."""


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
