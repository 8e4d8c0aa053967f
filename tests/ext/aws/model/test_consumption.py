"""A queue's messages from receive to settlement, in virtual time against the model."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from loafer_kit import outcomes
from loafer_kit.exceptions import TransientProviderError
from loafer_kit.outcomes import DeadLetter, Retry


@pytest.fixture
def consuming(make_provider):
    """`async with consuming(queue, **settings) as (provider, lost)`."""

    @asynccontextmanager
    async def consume(queue, options=None, **settings):
        provider = make_provider(queue, options, **settings)
        lost = []
        await provider.start(lost.append)
        try:
            yield provider, lost
        finally:
            provider.stop()
            await provider.flush()
            await provider.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    return consume


def bodies(messages):
    return [message["Body"] for message in messages]


class Faults:
    """The named fault for the first `times` requests of an action."""

    def __init__(self, action, fault, times):
        self._action, self._fault, self.times = action, fault, times

    def __call__(self, action):
        if action != self._action or not self.times:
            return None
        self.times -= 1
        return self._fault


# Deletions


def test_deletions_leave_ten_at_a_time(in_virtual_time, model_queue, consuming):
    """Twenty acknowledged messages cost two receives and two batch deletes: 0.2 each."""
    queue = model_queue()
    queue.put(*map(str, range(20)))

    async def main():
        async with consuming(queue) as (provider, _):
            for _ in range(2):
                for message in await provider.fetch(10):
                    await provider.settle(message, outcomes.ACKNOWLEDGE)
        assert queue.left() == []
        assert queue.count("ReceiveMessage") + queue.count("DeleteMessageBatch") == 4
        entries = [entry["Id"] for entry in queue.requests[-1][1]]
        assert entries == [str(position) for position in range(10)]

    in_virtual_time(main)


@pytest.mark.parametrize("fault", ["request", "answer", "entry"])
def test_failed_deletion_is_repeated_within_the_lease(
    in_virtual_time, model_queue, consuming, fault
):
    """Lost requests, lost answers and entries that fail without our fault are sent again."""
    queue = model_queue(faults=Faults("DeleteMessageBatch", fault, 4))
    queue.put("a", "b", "c")

    async def main():
        async with consuming(queue) as (provider, _):
            for message in await provider.fetch(10):
                await provider.settle(message, outcomes.ACKNOWLEDGE)
            await asyncio.sleep(29)
            assert queue.left() == []

    in_virtual_time(main)


def test_a_deletion_is_repeated_until_shortly_before_the_end_of_its_lease(
    in_virtual_time, model_queue, consuming
):
    """The longest pause between two attempts is five seconds."""

    def fail(action):
        late = asyncio.get_running_loop().time() > 24
        return "request" if action == "DeleteMessageBatch" and not late else None

    queue = model_queue(faults=fail)
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            (message,) = await provider.fetch(10)
            await provider.settle(message, outcomes.ACKNOWLEDGE)
            await asyncio.sleep(29.9)
            assert queue.left() == []

    in_virtual_time(main)


def test_what_could_not_be_deleted_is_deleted_when_it_comes_back(
    in_virtual_time, model_queue, consuming, caplog
):
    """A processed message whose deletion was given up is not run again."""
    queue = model_queue(faults=Faults("DeleteMessageBatch", "request", 1_000))
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            (message,) = await provider.fetch(10)
            await provider.settle(message, outcomes.ACKNOWLEDGE)
            await asyncio.sleep(60)
            assert "deletion.given_up" in caplog.text
            queue.faults.times = 0
            assert await provider.fetch(10) == []
            await provider.flush()
            assert queue.left() == []

    in_virtual_time(main)


def test_flush_gives_up_in_time(in_virtual_time, model_queue, consuming):
    """A queue that cannot be reached does not keep the process from ending."""
    queue = model_queue(faults=Faults("DeleteMessageBatch", "request", 1_000))
    queue.put("a")

    async def main():
        async with consuming(queue, visibility_timeout=43_200) as (provider, _):
            (message,) = await provider.fetch(10)
            await provider.settle(message, outcomes.ACKNOWLEDGE)
            started = queue.now
            await provider.flush()
            assert queue.now - started < 30

    in_virtual_time(main)


def test_deletion_after_the_deadline_is_tried_and_logged(
    in_virtual_time, model_queue, consuming, caplog
):
    """Somebody else has the message already: the log says that it may be handled twice."""
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue, heartbeat=False, cancel_on_lost_lease=False) as (provider, _):
            (message,) = await provider.fetch(10)
            queue.stored("a").handle = "another consumer's"
            await provider.settle(message, outcomes.ACKNOWLEDGE)
            await provider.flush()
        assert "deletion.lost" in caplog.text
        assert "message_id=id-1" in caplog.text

    in_virtual_time(main)


class Deletions:
    """Makes the deletions slow (`seconds` each), or refuses them until `until`."""

    def __init__(self, seconds=None, until=0.0):
        self._seconds, self._until = seconds, until

    def __call__(self, action):
        if action != "DeleteMessageBatch":
            return None
        return "request" if asyncio.get_running_loop().time() < self._until else self._seconds


@pytest.mark.parametrize(
    ("queue_options", "within"),
    [
        ({"latency": 0.001}, 1),
        ({"latency": 0.01}, 1),
        ({"latency": 0.1}, 6),
        ({"faults": Deletions(seconds=1.0)}, 5),
        ({"faults": Deletions(until=10.0)}, 17),
    ],
    ids=["1 ms", "10 ms", "100 ms", "deletions of 1 s", "no deletions for 10 s"],
)
def test_receives_keep_the_pace_of_deletions(
    in_virtual_time, model_queue, consuming, queue_options, within
):
    """A consumer that counts `unsettled` is as fast as the slower side, and holds little."""
    messages, receivers, most = 2_000, 8, 1_000
    queue = model_queue(**queue_options)
    queue.put(*map(str, range(messages)))

    async def main():
        received, unsettled, tasks = [], [], []

        async def receive(provider, settled):
            while len(received) < messages:
                while provider.unsettled >= most:
                    settled.clear()
                    await settled.wait()
                for message in await provider.fetch(10):
                    received.append(message["Body"])
                    await provider.settle(message, outcomes.ACKNOWLEDGE)
                unsettled.append(provider.unsettled)
                tasks.append(len(asyncio.all_tasks()))

        options = {"WaitTimeSeconds": 0}
        async with consuming(queue, options, max_receivers=receivers) as (provider, _):
            settled = asyncio.Event()
            provider.on_settled = settled.set
            await asyncio.gather(*(receive(provider, settled) for _ in range(receivers)))
            await asyncio.sleep(0.3)
            await provider.flush()
            assert queue.now <= within
            assert provider.unsettled == 0
        assert queue.left() == []
        assert sorted(map(int, received)) == list(range(messages))
        assert max(unsettled) <= most + 10 * receivers
        assert max(tasks) <= 100

    in_virtual_time(main)


@pytest.mark.parametrize(("fault", "times"), [(5.0, 1), ("request", 1_000)])
def test_dead_letters_under_way_are_unsettled(
    in_virtual_time, model_queue, consuming, fault, times
):
    """A dead letter counts until it is sent or given up."""
    queue = model_queue(faults=Faults("SendMessageBatch", fault, times))
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            told = []
            provider.on_settled = lambda: told.append(provider.unsettled)
            (message,) = await provider.fetch(10)
            await provider.settle(message, DeadLetter("no"))
            assert provider.unsettled == 1
            await asyncio.sleep(30)
            assert told[0] == 0

    in_virtual_time(main)


# Visibility


@pytest.mark.parametrize(("delay", "seconds"), [(0, 0), (7, 7), (0.2, 1), (10**6, 43_190)])
def test_retry_hides_the_message_for_its_delay(
    in_virtual_time, model_queue, consuming, delay, seconds
):
    """The delay is rounded up to whole seconds and kept within what SQS takes."""
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            (message,) = await provider.fetch(10)
            await provider.settle(message, Retry(delay))
            await provider.flush()
            ((entry,),) = [
                entries
                for name, entries in queue.requests
                if name == "ChangeMessageVisibilityBatch"
            ]
            assert seconds - 1 <= entry["VisibilityTimeout"] <= seconds

    in_virtual_time(main)


def test_retry_without_delay_backs_off_by_the_receive_count(
    in_virtual_time, model_queue, consuming
):
    """The delay is drawn from a range that doubles with every receive, up to the cap."""
    queue = model_queue()
    queue.put("a")
    seen = []

    async def main():
        async with consuming(queue, retry_delay=4, retry_delay_cap=60) as (provider, _):
            for _ in range(12):
                (message,) = await provider.fetch(10)
                await provider.settle(message, Retry())
                await provider.flush()
                seen.append(queue.requests[-1][1][0]["VisibilityTimeout"])
                await asyncio.sleep(61)

    in_virtual_time(main)
    assert len(seen) == 12
    assert all(delay <= min(60, 4 * 2**attempt) for attempt, delay in enumerate(seen))
    assert max(seen[4:]) > 4


def test_the_back_off_counts_failures_where_they_are_known(in_virtual_time, model_queue, consuming):
    """Receives that were given back unstarted do not delay the first retry."""
    queue = model_queue()
    queue.put("a")
    queue.stored("a").receive_count = 50

    async def main():
        async with consuming(queue, retry_delay=4, retry_delay_cap=900) as (provider, _):
            for failures in (1, 2) * 20:
                (message,) = await provider.fetch(10)
                await provider.settle(message, Retry(failures=failures))
                await provider.flush()
                delay = queue.requests[-1][1][0]["VisibilityTimeout"]
                assert delay <= 4 * failures
                await asyncio.sleep(9)

    in_virtual_time(main)


def test_changes_leave_in_batches_and_in_order_on_fifo(in_virtual_time, model_queue, consuming):
    """Released messages share requests; on a FIFO queue one request follows the other."""
    queue = model_queue(fifo=True)
    queue.put(*map(str, range(10)), group="g")
    queue.put(*map(str, range(10, 15)), group="h")

    async def main():
        async with consuming(queue) as (provider, _):
            messages = list(await provider.fetch(10)) + list(await provider.fetch(10))
            for message in reversed(messages):
                await provider.settle(message, outcomes.RELEASE)
            await provider.flush()
            assert queue.count("ChangeMessageVisibilityBatch") == 2
            assert queue.in_flight() == []
            assert bodies(await provider.fetch(10)) == list(map(str, range(10)))

    in_virtual_time(main)


def test_old_release_does_not_touch_a_message_that_is_in_hand_again(
    in_virtual_time, model_queue, consuming
):
    """A release that failed and is repeated is dropped when the message has come back."""
    queue = model_queue(faults=Faults("ChangeMessageVisibilityBatch", "answer", 1))
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            (message,) = await provider.fetch(10)
            await provider.settle(message, outcomes.RELEASE)
            (again,) = await provider.fetch(10)
            await provider.flush()
            assert queue.count("ChangeMessageVisibilityBatch") == 1
            assert queue.in_flight() == [queue.stored("a")]
            await provider.settle(again, outcomes.ACKNOWLEDGE)
        assert queue.left() == []

    in_virtual_time(main)


# Leases


def test_short_work_costs_no_heartbeat(in_virtual_time, model_queue, consuming):
    """Messages settled within half the visibility timeout are never extended."""
    queue = model_queue()

    async def main():
        async with consuming(queue) as (provider, _):
            for number in range(30):
                queue.put(str(number))
                (message,) = await provider.fetch(10)
                await asyncio.sleep(14)
                await provider.settle(message, outcomes.ACKNOWLEDGE)
        assert queue.count("ChangeMessageVisibilityBatch") == 0
        assert queue.left() == []

    in_virtual_time(main)


def test_long_work_is_kept_hidden_in_batches(in_virtual_time, model_queue, consuming):
    """Twenty messages worked on for ten minutes stay ours, at two requests per half timeout."""
    queue = model_queue()
    queue.put(*map(str, range(20)))

    async def main():
        async with consuming(queue) as (provider, lost):
            messages = [*await provider.fetch(10), *await provider.fetch(10)]
            await asyncio.sleep(600)
            assert lost == []
            assert len(queue.in_flight()) == 20
            for message in messages:
                await provider.settle(message, outcomes.ACKNOWLEDGE)
        assert queue.left() == []
        assert all(stored.receive_count == 1 for stored in queue.messages)
        assert queue.count("ChangeMessageVisibilityBatch") <= 2 * 600 / 15

    in_virtual_time(main)


def test_heartbeat_survives_failures(in_virtual_time, model_queue, consuming, caplog):
    """A failed extension is tried again before the lease is over."""
    queue = model_queue(faults=Faults("ChangeMessageVisibilityBatch", "request", 5))
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, lost):
            (message,) = await provider.fetch(10)
            await asyncio.sleep(100)
            assert lost == []
            assert "heartbeat.delayed" in caplog.text
            await provider.settle(message, outcomes.ACKNOWLEDGE)

    in_virtual_time(main)


def test_lost_lease_is_reported_and_nothing_is_deleted(
    in_virtual_time, model_queue, consuming, caplog
):
    """Another consumer has the message: the engine is told, a late answer deletes nothing."""
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, lost):
            (message,) = await provider.fetch(10)
            queue.stored("a").handle = "another consumer's"
            await asyncio.sleep(20)
            assert lost == [message]
            assert "message.lost queue=orders message_id=id-1" in caplog.text
            await provider.settle(message, outcomes.ACKNOWLEDGE)
            await provider.flush()
            assert queue.count("DeleteMessageBatch") == 0

    in_virtual_time(main)


def test_missed_deadline_is_a_lost_lease(in_virtual_time, model_queue, consuming):
    """Without a heartbeat the handler is cancelled when the visibility timeout is over."""
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue, heartbeat=False) as (provider, lost):
            messages = await provider.fetch(10)
            await asyncio.sleep(29.5)
            assert lost == []
            await asyncio.sleep(1)
            assert lost == messages

    in_virtual_time(main)


@pytest.mark.parametrize("cancel", [True, False])
def test_a_lease_that_is_over_does_not_start_a_handler(
    in_virtual_time, model_queue, consuming, caplog, cancel
):
    """The provider no longer holds the message, whatever `cancel_on_lost_lease` is; it is new
    when it comes back.
    """
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue, heartbeat=False, cancel_on_lost_lease=cancel) as (provider, _):
            (message,) = await provider.fetch(10)
            assert provider.holds(message)
            await asyncio.sleep(29.5)
            assert provider.holds(message)
            await asyncio.sleep(1)
            assert not provider.holds(message)
            assert not provider.holds(message)
            (again,) = await provider.fetch(10)
            assert not provider.holds(message)
            assert provider.holds(again)
            await provider.settle(message, outcomes.ACKNOWLEDGE)
            await provider.flush()
            assert queue.count("DeleteMessageBatch") == 0
            await provider.settle(again, outcomes.RELEASE)

    in_virtual_time(main)
    assert "message.lost" in caplog.text


def test_handler_may_go_on_without_its_lease(in_virtual_time, model_queue, consuming):
    """With `cancel_on_lost_lease=False` the engine hears nothing, and a redelivery is not run."""
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue, heartbeat=False, cancel_on_lost_lease=False) as (
            provider,
            lost,
        ):
            (message,) = await provider.fetch(10)
            await asyncio.sleep(31)
            assert await provider.fetch(10) == []
            await asyncio.sleep(31)
            await provider.settle(message, outcomes.ACKNOWLEDGE)
            assert lost == []
            assert await provider.fetch(10) == []
            await provider.flush()
            assert queue.left() == []

    in_virtual_time(main)


def test_lease_is_not_extended_for_ever(in_virtual_time, model_queue, consuming, caplog):
    """A handler that hangs keeps its message for `max_processing_time`, no longer."""
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue, max_processing_time=100) as (provider, lost):
            messages = await provider.fetch(10)
            await asyncio.sleep(99)
            assert lost == []
            await asyncio.sleep(2)
            assert lost == messages
            assert queue.in_flight() == []

    in_virtual_time(main)


def test_heartbeat_goes_on_while_handlers_drain(in_virtual_time, model_queue, consuming):
    """`stop` ends no lease: only `close` does."""
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, lost):
            (message,) = await provider.fetch(10)
            provider.stop()
            await provider.flush()
            await asyncio.sleep(120)
            assert lost == []
            await provider.settle(message, outcomes.ACKNOWLEDGE)
        assert queue.stored("a").receive_count == 1

    in_virtual_time(main)


@pytest.mark.parametrize(("before", "after"), [(60, 2), (30, 0), (2, 60)])
def test_queue_that_changes_its_visibility_timeout_changes_no_lease(
    in_virtual_time, model_queue, consuming, before, after
):
    """Receives name the timeout that the leases count with: the message stays hidden."""
    queue = model_queue(visibility_timeout=before)
    queue.put("a", "b")

    async def main():
        async with consuming(queue, {"WaitTimeSeconds": 0}) as (provider, lost):
            queue.visibility_timeout = after
            messages = await provider.fetch(10)
            for _ in range(200):
                assert await provider.fetch(10) == []
                await asyncio.sleep(0.5)
            assert lost == []
            for message in messages:
                await provider.settle(message, outcomes.ACKNOWLEDGE)
        assert [stored.receive_count for stored in queue.messages] == [1, 1]
        assert queue.left() == []

    in_virtual_time(main)


def test_queue_whose_visibility_timeout_is_zero_gets_the_default(
    in_virtual_time, model_queue, consuming, caplog
):
    """Each receive names 30 s, and a warning says so."""
    queue = model_queue(visibility_timeout=0)
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, lost):
            (message,) = await provider.fetch(10)
            await asyncio.sleep(100)
            assert lost == []
            await provider.settle(message, outcomes.ACKNOWLEDGE)
        assert queue.stored("a").receive_count == 1
        assert "its visibility timeout is 0 s: receives set 30 s instead" in caplog.text

    in_virtual_time(main)


# FIFO


def test_group_deletions_leave_when_the_group_is_done(in_virtual_time, model_queue, consuming):
    """SQS blocks a group until its messages are deleted, so the linger is cut short."""
    queue = model_queue(fifo=True)
    queue.put("1", "2", group="g")

    async def main():
        async with consuming(queue, linger=5) as (provider, _):
            first, second = await provider.fetch(10)
            await provider.settle(first, outcomes.ACKNOWLEDGE)
            await asyncio.sleep(1)
            assert len(queue.left()) == 2
            await provider.settle(second, outcomes.ACKNOWLEDGE)
            await asyncio.sleep(0.1)
            assert queue.left() == []
            assert queue.count("DeleteMessageBatch") == 1

    in_virtual_time(main)


@pytest.mark.parametrize("fault", ["request", "answer", 9.0])
def test_deletions_of_a_group_leave_in_its_order(in_virtual_time, model_queue, consuming, fault):
    """While one is under way or repeated, later ones of its group wait; other groups do not."""
    queue = model_queue(fifo=True, faults=Faults("DeleteMessageBatch", fault, 3))
    queue.put("1", "2", "3", group="g")
    queue.put("other", group="h")

    async def main():
        async with consuming(queue, linger=0) as (provider, _):
            first, second, third, other = await provider.fetch(10)
            for message in (first, second, third):
                await provider.settle(message, outcomes.ACKNOWLEDGE)
                await asyncio.sleep(0.02)
            if fault == "request":
                queue.faults.times = 2
            await provider.settle(other, outcomes.ACKNOWLEDGE)
            while queue.left():
                left = [stored.body for stored in queue.left() if stored.group == "g"]
                assert left in (["1", "2", "3"], ["2", "3"], [])
                await asyncio.sleep(0.01)
        requests = [len(entries) for name, entries in queue.requests if "Delete" in name]
        assert max(requests) == 2

    in_virtual_time(main)


def test_a_group_with_a_deletion_that_was_given_up_comes_again_in_its_order(
    in_virtual_time, model_queue, consuming, caplog
):
    """No later message of the same receive is deleted before it: all come back, and are deleted."""
    queue = model_queue(fifo=True, faults=Faults("DeleteMessageBatch", "request", 1_000))
    queue.put("1", "2", group="g")

    async def main():
        async with consuming(queue, {"WaitTimeSeconds": 1}) as (provider, _):
            first, second = await provider.fetch(10)
            await provider.settle(first, outcomes.ACKNOWLEDGE)
            await asyncio.sleep(50)
            queue.faults.times = 0
            await provider.settle(second, outcomes.ACKNOWLEDGE)
            await provider.flush()
            assert [stored.body for stored in queue.left()] == ["1", "2"]
            while queue.left():
                assert await provider.fetch(10) == []
                await provider.flush()
                assert [stored.body for stored in queue.left()] in (["1", "2"], [])
        assert caplog.text.count("deletion.given_up") == 2

    in_virtual_time(main)


def test_failed_receive_is_repeated_with_its_attempt_id(in_virtual_time, model_queue, consuming):
    """SQS then gives again what it had handed out; a receive that succeeded has a new id."""
    queue = model_queue(fifo=True, faults=Faults("ReceiveMessage", "answer", 1))

    async def main():
        async with consuming(queue, {"WaitTimeSeconds": 0}) as (provider, _):
            with pytest.raises(TransientProviderError):
                await provider.fetch(7)
            await provider.fetch(10)
            await provider.fetch(10)
        parameters = [entries[0] for name, entries in queue.requests if name == "ReceiveMessage"]
        ids = [entry["ReceiveRequestAttemptId"] for entry in parameters]
        assert ids[0] == ids[1] != ids[2]
        assert [entry["MaxNumberOfMessages"] for entry in parameters] == [7, 7, 10]

    in_virtual_time(main)


def sizes_of_receives(queue):
    return [
        entries[0]["MaxNumberOfMessages"]
        for name, entries in queue.requests
        if name == "ReceiveMessage"
    ]


def test_receives_bring_one_message_until_the_failed_one_is_gone(
    in_virtual_time, model_queue, consuming
):
    """After its last receive SQS moves it: from then on receives bring ten again."""
    queue = model_queue(fifo=True, max_receive_count=3)
    queue.put("a", group="g")

    async def main():
        options = {"dead_letter_exhausted": False, "heartbeat": False}
        async with consuming(queue, {"WaitTimeSeconds": 0}, **options) as (provider, _):
            for _ in range(3):
                (message,) = await provider.fetch(10)
                await provider.settle(message, outcomes.LEAVE)
                await asyncio.sleep(31)
            await provider.fetch(10)
        assert sizes_of_receives(queue) == [10, 1, 1, 10]

    in_virtual_time(main)


def test_receives_bring_one_message_as_long_as_the_failed_one_is_in_hand_again(
    in_virtual_time, model_queue, consuming
):
    """It may fail at any time, however long its handler takes."""
    queue = model_queue(fifo=True, max_receive_count=5)
    queue.put("a", group="g")

    async def main():
        async with consuming(queue, {"WaitTimeSeconds": 0}) as (provider, _):
            (message,) = await provider.fetch(10)
            await provider.settle(message, outcomes.LEAVE)
            await asyncio.sleep(31)
            (message,) = await provider.fetch(10)
            await asyncio.sleep(200)
            await provider.fetch(10)
            await provider.settle(message, outcomes.ACKNOWLEDGE)
        assert sizes_of_receives(queue) == [10, 1, 1]

    in_virtual_time(main)


def test_order_key_is_the_group_on_fifo_queues_only(in_virtual_time, model_queue, consuming):
    """Groups of a standard queue (fair queues) carry no order."""

    async def main():
        for fifo, expected in ((True, "g"), (False, None)):
            queue = model_queue(fifo=fifo)
            queue.put("1", group="g")
            async with consuming(queue) as (provider, _):
                (message,) = await provider.fetch(10)
                assert provider.order_key(message) == expected
                await provider.settle(message, outcomes.ACKNOWLEDGE)

    in_virtual_time(main)


def test_flushing_ends_in_time_though_every_request_hangs(in_virtual_time, model_queue, consuming):
    """Requests that go one after another, as on a FIFO queue, do not add up their timeouts."""
    queue = model_queue(fifo=True)
    for number in range(80):
        queue.put(str(number), group=str(number))

    async def main():
        async with consuming(queue, visibility_timeout=43_200) as (provider, _):
            messages = [message for _ in range(8) for message in await provider.fetch(10)]
            assert len(messages) == 80
            queue.faults, queue.latency = Faults("ChangeMessageVisibilityBatch", "request", 100), 20
            for message in messages:
                await provider.settle(message, outcomes.RELEASE)
            started = queue.now
            await provider.flush()
            assert queue.now - started < 25

    in_virtual_time(main)


# Dead letters


def test_rejected_message_is_deleted_after_the_send(in_virtual_time, model_queue, consuming):
    """The dead letter is sent first, however often that takes, and only then the original goes."""
    queue = model_queue(faults=Faults("SendMessageBatch", "request", 3))
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            (message,) = await provider.fetch(10)
            await provider.settle(message, DeadLetter("no such customer"))
            await provider.flush()
        (entry,) = queue.sent
        assert entry["MessageBody"] == "a"
        assert entry["MessageAttributes"]["DeadLetterReason"]["StringValue"] == "no such customer"
        names = [name for name, _ in queue.requests]
        assert names.index("SendMessageBatch") < names.index("DeleteMessageBatch")
        assert queue.left() == []

    in_virtual_time(main)


@pytest.mark.parametrize("fault", ["request", "entry"])
def test_message_stays_when_its_dead_letter_is_not_taken(
    in_virtual_time, model_queue, consuming, caplog, fault
):
    """A dead-letter queue that is out of reach, or refuses the letter, costs no message."""
    queue = model_queue(faults=Faults("SendMessageBatch", fault, 1_000))
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            (message,) = await provider.fetch(10)
            await provider.settle(message, DeadLetter("no"))
            await provider.flush()
        assert len(queue.left()) == 1
        assert "message.not_dead_lettered" in caplog.text

    in_virtual_time(main)


def test_message_that_was_spoilt_is_left_rather_than_held(
    in_virtual_time, model_queue, consuming, caplog
):
    """A translator that took the body out of the raw message leaves no dead letter to send."""
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            (message,) = await provider.fetch(10)
            del message["Body"]
            await provider.settle(message, DeadLetter("no"))
            await asyncio.sleep(100)
            assert queue.in_flight() == []
        assert "message.not_dead_lettered" in caplog.text

    in_virtual_time(main)


def test_dead_letter_that_is_not_taken_does_not_hold_up_the_end(
    in_virtual_time, model_queue, consuming
):
    """Flushing ends in time; the message is still on its queue."""
    queue = model_queue(faults=Faults("SendMessageBatch", "request", 1_000))
    queue.put("a")

    async def main():
        async with consuming(queue, visibility_timeout=43_200) as (provider, _):
            (message,) = await provider.fetch(10)
            await provider.settle(message, DeadLetter("no"))
            started = queue.now
            await provider.flush()
            assert queue.now - started < 15
        assert len(queue.left()) == 1

    in_virtual_time(main)


def test_without_a_dead_letter_queue_the_message_is_left_and_logged_once(
    in_virtual_time, model_queue, consuming, caplog
):
    """A message that is rejected again and again does not fill the log."""
    queue = model_queue(attributes={"RedrivePolicy": ""})
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            for _ in range(3):
                (message,) = await provider.fetch(10)
                await provider.settle(message, DeadLetter("no"))
                await asyncio.sleep(31)
        assert queue.stored("a").receive_count == 3
        assert caplog.text.count("message.rejected_in_vain") == 1

    in_virtual_time(main)


# In-flight limit


def test_full_queue_that_falls_silent_is_reported(in_virtual_time, model_queue, consuming, caplog):
    """A busy queue that falls silent because too many messages are in flight is logged."""
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            (message,) = await provider.fetch(10)
            queue.attributes["ApproximateNumberOfMessagesNotVisible"] = "120000"
            while queue.now < 350:
                await provider.fetch(10)
            assert caplog.text.count("queue.full queue=orders") == 2
            queue.attributes["ApproximateNumberOfMessagesNotVisible"] = "7"
            while queue.now < 2_000:
                await provider.fetch(10)
            assert caplog.text.count("queue.full") == 2
            assert queue.count("GetQueueAttributes") == 4
            await provider.settle(message, outcomes.ACKNOWLEDGE)

    in_virtual_time(main)


def test_idle_queue_costs_three_requests_a_minute(in_virtual_time, model_queue, consuming):
    """One long poll after the other, and nothing else."""
    queue = model_queue()

    async def main():
        async with consuming(queue) as (provider, _):
            queue.requests.clear()
            while queue.now < 600:
                await provider.fetch(10)
        assert len(queue.requests) <= 30

    in_virtual_time(main)


def test_requests_are_counted_by_action(in_virtual_time, model_queue, consuming):
    """Counts, failures and durations of a queue's requests are at hand."""
    queue = model_queue(faults=Faults("DeleteMessageBatch", "request", 1))
    queue.put("a")

    async def main():
        async with consuming(queue) as (provider, _):
            (message,) = await provider.fetch(10)
            await provider.settle(message, outcomes.ACKNOWLEDGE)
            await provider.flush()
            deletions = provider.statistics["DeleteMessageBatch"]
            assert (deletions.requests, deletions.failures) == (2, 1)
            assert provider.statistics["ReceiveMessage"].requests == 1

    in_virtual_time(main)


def test_log_lines_name_queue_and_message(in_virtual_time, model_queue, consuming, caplog):
    """Every line about a message carries both as `extra` too."""
    caplog.set_level(logging.WARNING)
    queue = model_queue()
    queue.put("a")

    async def main():
        async with consuming(queue, heartbeat=False) as (provider, _):
            await provider.fetch(10)
            await asyncio.sleep(31)

    in_virtual_time(main)
    (record,) = [
        record for record in caplog.records if record.getMessage().startswith("message.lost")
    ]
    assert (record.queue, record.message_id) == ("orders", "id-1")
