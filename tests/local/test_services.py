"""The counts of a development run, and the table at its end."""

import pytest

from loafer_kit.local import LocalQueue
from loafer_kit.local.services import ATTEMPTS, Delivery, QueueSummary, Tally, summarise, table

PLAIN = LocalQueue("jobs")
WITH_DEAD_LETTERS = LocalQueue("jobs", dead_letter_queue="dead", max_receive_count=3)


def recorded(*outcomes, message_id="1"):
    tally = Tally()
    for count, outcome in enumerate(outcomes, 1):
        tally.record(Delivery("jobs", message_id, count, outcome))
    return tally


def test_deliveries_are_counted_by_their_outcome():
    """A message that was given back unfinished counts as neither."""
    outcomes = ("left", "to be retried after 1 s", "rejected", "to be given back", "acknowledged")
    tally = recorded(*outcomes)
    assert (tally.handled["jobs"], tally.failed["jobs"]) == (1, 3)


def test_a_message_is_given_up_after_its_last_attempt():
    """One failure before, it is not; with a dead-letter queue, it never is."""
    assert recorded(*["left"] * (ATTEMPTS - 1)).given_up(PLAIN) == 0
    assert recorded(*["left"] * ATTEMPTS).given_up(PLAIN) == 1
    assert recorded(*["left"] * ATTEMPTS).given_up(WITH_DEAD_LETTERS) == 0


def test_failures_of_several_messages_do_not_add_up():
    """Each has its own attempts."""
    tally = Tally()
    for number in range(ATTEMPTS):
        tally.record(Delivery("jobs", str(number), 1, "left"))
    assert tally.given_up(PLAIN) == 0


@pytest.mark.parametrize(
    ("queue", "outcomes", "expected"),
    [
        (PLAIN, ["left"], True),
        (PLAIN, ["rejected"], True),
        (PLAIN, ["to be retried after 9 s"], False),
        (PLAIN, ["to be given back"], False),
        (PLAIN, ["acknowledged"], False),
        (PLAIN, ["left"] * ATTEMPTS, False),
        (WITH_DEAD_LETTERS, ["left", "left"], True),
        (WITH_DEAD_LETTERS, ["left", "left", "left"], False),
        (WITH_DEAD_LETTERS, ["rejected"], False),
    ],
)
def test_only_a_message_that_is_left_is_delivered_again_at_once(queue, outcomes, expected):
    """A retry has its own delay, and the last delivery ends in the dead-letter queue."""
    tally = recorded(*outcomes)
    last = Delivery("jobs", "1", len(outcomes), outcomes[-1])
    assert tally.has_another_attempt(queue, last) is expected


def test_dead_letters_are_told_apart_by_source_and_reason(local_queues):
    """Queues may share a dead-letter queue; what SQS moves has neither source nor reason."""
    orders = LocalQueue("orders", dead_letter_queue="dead")
    bills = LocalQueue("bills", dead_letter_queue="dead")
    local_queues.create(orders, bills)
    for source, reason in (("orders", "no\nnumber"), ("orders", "no number"), ("bills", "late")):
        names = {"DeadLetterSourceQueue": source, "DeadLetterReason": reason}
        local_queues.send("dead", "x", attributes=names)
    local_queues.send("dead", "x")
    first, second = summarise([orders, bills], Tally(), local_queues)
    assert first.dead_letters == {"no number": 2, "moved by SQS, which gives no reason": 1}
    assert second.dead_letters == {"late": 1}


def test_a_queue_without_messages_has_an_empty_summary(local_queues):
    """Nothing is shown for a run without messages."""
    local_queues.create(WITH_DEAD_LETTERS)
    (summary,) = summarise([WITH_DEAD_LETTERS], Tally(), local_queues)
    assert summary.is_empty


def test_the_table_is_aligned_and_a_long_reason_cut():
    """Each reason has a line of its own."""
    letters = {"x" * 200: 2, "late": 1}
    summaries = [
        QueueSummary("orders", 12, 345_678_901, "dead", letters),
        QueueSummary("b", 1, 0, None, {}),
    ]
    assert table(summaries) == f"""\
queue   handled     failed  dead letters
orders       12  345678901  2 in dead: {"x" * 99}…
                            1 in dead: late
b             1          0"""
