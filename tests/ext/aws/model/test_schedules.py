"""Schedules of outcomes, delays, faults and kills that hypothesis writes, and shortens."""

import asyncio
import logging

import hypothesis.strategies as st
import pytest
from hypothesis import given
from virtual_time import now

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.exceptions import RejectMessage, RetryMessage
from loafer_kit.routes import Route

#: Seconds in which every schedule must be done.
_LONG = 5_000

answers = st.sampled_from([True, False, "retry", "later", "reject", "raise", "nonsense"])
durations = st.sampled_from([0, 0, 0, 0.5, 5, 20, 45])
plans_of_messages = st.lists(
    st.lists(st.tuples(durations, answers), max_size=3), min_size=1, max_size=25
)
groups_of_messages = st.lists(st.sampled_from("abc"), min_size=25, max_size=25)
thresholds = st.sampled_from([None, None, 1, 3])
faults_of_requests = st.lists(
    st.sampled_from([None, None, None, "request", "answer", "entry", 2.0, 12.0, 40.0]), max_size=25
)


class Service:
    """A service over a model of a queue; its handlers do what the plans of the messages say."""

    def __init__(self, queue, provider, plans, **options):
        self.queue = queue
        self.provider = provider
        self.plans = [list(plan) for plan in plans]
        self.options = options
        self.running = set()
        self.processed = set()  # by this process: a killed one knows nothing any more
        self.events = []  # (number, "started" | "ended", answer)

    async def handle(self, message, metadata):
        number = int(message["Body"])
        assert number not in self.running, "started again while it was running"
        assert number not in self.processed, "handled again by the process that had handled it"
        assert not self.queue.stored(message["Body"]).deleted, "handled after its delete"
        self.running.add(number)
        self.events.append((number, "started", None))
        seconds, answer = self.plans[number].pop(0) if self.plans[number] else (0, True)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.running.discard(number)
        self.events.append((number, "ended", answer))
        if answer is True:
            self.processed.add(number)
        return _carry_out(answer)

    async def run(self, seconds=_LONG, *, killed=False):
        """Run for so long, or until the queue is empty; then drain.

        From a killed service the queue hears nothing any more.
        """
        self.processed.clear()
        route = Route(self.provider, self.handle, breaker_recovery=30, **self.options)
        route.flow.breaker._clock = now
        dispatcher = LoaferDispatcher([route])
        task = asyncio.create_task(dispatcher.dispatch_providers())
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self.queue.left() and loop.time() < until:
            await asyncio.sleep(min(0.5, until - loop.time()))
            assert not task.done(), task.exception()
        if killed:
            self.queue.faults = lambda action: "request"
        dispatcher.stop()
        await asyncio.wait_for(task, 120)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        self.queue.faults = None

    def check_all_done(self):
        assert not self.queue.left()


def _carry_out(answer):
    match answer:
        case "retry":
            raise RetryMessage
        case "later":
            return RetryMessage(delay=7)
        case "reject":
            raise RejectMessage("no")
        case "raise":
            raise ValueError
        case "nonsense":
            return []
    return answer


@pytest.fixture
def make_service(model_queue, make_provider):
    """Makes a service and its queue, with one message for each plan; call it in the loop."""

    def make(plans, groups=None, faults=(), **options):
        queue = model_queue(fifo=groups is not None)
        for number in range(len(plans)):
            queue.put(str(number), group=groups[number] if groups else None)
        left = list(faults)
        queue.faults = lambda action: left.pop(0) if left else None
        return Service(queue, make_provider(queue, {"WaitTimeSeconds": 1}), plans, **options)

    return make


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """Failures are expected here; hundreds of thousands of log lines are not."""
    caplog.set_level(logging.CRITICAL, "loafer_kit")


def test_every_message_is_handled_and_deleted_whatever_happens(in_virtual_time, make_service):
    """A standard queue: answers, delays, lost requests and lost answers in any order."""

    @given(
        plans_of_messages,
        faults_of_requests,
        st.integers(1, 12),
        st.sampled_from([None, 0, 3]),
        thresholds,
    )
    def check(plans, faults, concurrency, prefetch, threshold):
        async def main():
            options = {"concurrency": concurrency, "prefetch": prefetch}
            service = make_service(plans, faults=faults, breaker_threshold=threshold, **options)
            await service.run()
            service.check_all_done()

        in_virtual_time(main)

    check()


def test_the_order_of_a_group_holds_whatever_happens(in_virtual_time, make_service):
    """A FIFO queue: a message starts only when all before it in its group are done with."""

    @given(plans_of_messages, groups_of_messages, faults_of_requests, st.integers(1, 8), thresholds)
    def check(plans, groups, faults, concurrency, threshold):
        async def main():
            options = {"concurrency": concurrency, "breaker_threshold": threshold}
            service = make_service(plans, groups, faults, **options)
            await service.run()
            service.check_all_done()
            return service.events

        done = set()
        for number, event, answer in in_virtual_time(main):
            if event == "started":
                before = {n for n in range(number) if groups[n] == groups[number]}
                assert before <= done, f"{number} started before {before - done}"
            elif answer in {True, "reject"}:
                done.add(number)

    check()


def test_after_a_drain_nothing_stays_in_flight(in_virtual_time, make_service):
    """Stopped at any moment: what is not done with is visible, or will be when its handler said."""

    @given(plans_of_messages, st.floats(0, 60), st.booleans(), thresholds)
    def check(plans, seconds, fifo, threshold):
        async def main():
            options = {"concurrency": 4, "breaker_threshold": threshold}
            service = make_service(plans, "g" * len(plans) if fifo else None, **options)
            await service.run(seconds)
            answered = {
                n for n, event, answer in service.events if event == "ended" and answer is not True
            }
            assert {int(message.body) for message in service.queue.in_flight()} <= answered
            await service.run()
            service.check_all_done()

        in_virtual_time(main)

    check()


def test_killing_the_process_loses_nothing(in_virtual_time, make_service):
    """Killed at any moment, any number of times: another process goes on."""

    @given(plans_of_messages, st.lists(st.floats(0, 40), min_size=1, max_size=3), st.booleans())
    def check(plans, kills, fifo):
        async def main():
            service = make_service(plans, "g" * len(plans) if fifo else None, concurrency=4)
            for seconds in kills:
                await service.run(seconds, killed=True)
            await service.run()
            service.check_all_done()

        in_virtual_time(main)

    check()


def test_deletions_keep_the_order_of_a_group_whatever_happens(in_virtual_time, make_service):
    """Deletions that fail, and kills: no message is on the queue when a later one is deleted.

    A request that is carried out for a part of its messages only is left out.
    """
    faults_of_deletions = st.lists(
        st.sampled_from([None, "request", "request", "answer", 2.0, 12.0, 40.0]), max_size=40
    )
    durations_of_messages = st.lists(st.sampled_from([0.3, 0.5, 5, 20]), min_size=2, max_size=20)
    two_groups = st.lists(st.sampled_from("ab"), min_size=20, max_size=20)

    def watch(queue):
        """Return a list of what is deleted too early."""
        carry_out, hand_out = queue._delete, queue._hand_out
        owners, early = {}, []

        def receive(stored, parameters):
            received = hand_out(stored, parameters)
            owners[received["ReceiptHandle"]] = stored
            return received

        def delete(entry):
            failure = carry_out(entry)
            if failure is None:
                deleted = owners[entry["ReceiptHandle"]]
                batch = next(entries for _, entries in reversed(queue.requests) if entry in entries)
                together = [owners[other["ReceiptHandle"]] for other in batch]
                early.extend(
                    (stored.body, deleted.body)
                    for stored in queue.messages[: queue.messages.index(deleted)]
                    if not stored.deleted and stored.group == deleted.group
                    if stored not in together
                )
            return failure

        queue._delete, queue._hand_out = delete, receive
        return early

    @given(
        durations_of_messages,
        two_groups,
        faults_of_deletions,
        st.lists(st.floats(0, 60), max_size=3),
    )
    def check(durations, groups, faults, kills):
        async def main():
            plans = [[(seconds, True)] for seconds in durations]
            service = make_service(plans, groups, concurrency=4)
            early = watch(service.queue)
            left = list(faults)

            def fail(action):
                return left.pop(0) if left and action == "DeleteMessageBatch" else None

            for seconds in kills:
                service.queue.faults = fail
                await service.run(seconds, killed=True)
            service.queue.faults = fail
            await service.run()
            service.check_all_done()
            assert early == []

        in_virtual_time(main)

    check()
