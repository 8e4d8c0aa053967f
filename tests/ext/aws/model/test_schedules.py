"""Schedules of outcomes, delays, faults, freezes and kills: some hypothesis shortens, some are random."""

import asyncio
import logging
import random
from collections import defaultdict
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings
from virtual_time import freeze, now

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.exceptions import DeleteMessage, RejectMessage, RetryMessage
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


# Random schedules


GROUPS = "abc"
MESSAGES = 40


@dataclass
class Scenario:
    """What one seed decides, and what happened."""

    seed: int
    fifo: bool
    started: list = field(default_factory=list)
    running: set = field(default_factory=set)
    acknowledged: set = field(default_factory=set)
    #: By this run: a later one cannot know of deletions that failed.
    acknowledged_here: set = field(default_factory=set)
    #: Handled again if the dead-letter queue was out of reach.
    rejected: set = field(default_factory=set)
    wrong: list = field(default_factory=list)

    def __post_init__(self):
        self.chance = random.Random(self.seed)
        self.fault_rate = self.chance.choice([0, 0.05, 0.3, 0.9])
        self.faults_until = self.chance.uniform(0, 200)
        self.longest_work = self.chance.choice([0, 1, 20, 80])
        self.stop_after = self.chance.choice([[5], [60], [2_000], [5, 60, 2_000], [2, 2, 2, 5]])
        self.time_limit = self.chance.choice([None, 10])
        #: How often a handler hangs, and how often one blocks the loop, for so many seconds at most.
        self.hang_rate = self.chance.choice([0, 0.05]) if self.time_limit else 0
        self.freeze_rate = self.chance.choice([0, 0, 0.1])
        self.longest_freeze = self.chance.choice([1, 20, 100])
        self.failures_left = defaultdict(lambda: self.chance.randrange(4))

    def fault(self, action):
        if asyncio.get_running_loop().time() > self.faults_until:
            return None
        if action == "GetQueueAttributes" or self.chance.random() > self.fault_rate:
            return None
        return self.chance.choice(["request", "answer", "entry"])

    @property
    def done(self):
        return self.acknowledged | self.rejected

    async def handle(self, message, _):
        body = message["Body"]
        self._check(body)
        self.started.append(body)
        self.running.add(body)
        try:
            if self.chance.random() < self.freeze_rate:
                freeze(self.chance.random() * self.longest_freeze)
            if self.chance.random() < self.hang_rate:
                await asyncio.Event().wait()
            await asyncio.sleep(self.chance.random() * self.longest_work)
            return self._answer(body)
        finally:
            self.running.discard(body)

    def _check(self, body):
        if body in self.running:
            self.wrong.append(f"{body} ran twice at a time")
        if body in self.acknowledged_here:
            self.wrong.append(f"{body} ran after it was done")
        group, number = body.split("-")
        if self.fifo:
            before = {f"{group}-{earlier}" for earlier in range(int(number))}
            if skipped := before - self.done:
                self.wrong.append(f"{body} ran before {sorted(skipped)}")

    def _answer(self, body):
        if not self.failures_left[body]:
            self.acknowledged.add(body)
            self.acknowledged_here.add(body)
            return self.chance.choice([True, DeleteMessage()])
        self.failures_left[body] -= 1
        answer = self.chance.choice(["false", "raise", "retry", "delayed", "reject"])
        match answer:
            case "raise":
                raise ValueError(body)
            case "retry":
                raise RetryMessage
            case "delayed":
                return RetryMessage(delay=self.chance.randrange(40))
            case "reject":
                self.rejected.add(body)
                raise RejectMessage("no")
        return False


async def play(scenario, queue, make_provider):
    for _ in range(MESSAGES):
        group = scenario.chance.choice(GROUPS) if scenario.fifo else "a"
        position = sum(stored.body.startswith(group) for stored in queue.messages)
        queue.put(f"{group}-{position}", group=group)
    queue.faults = scenario.fault
    for seconds in scenario.stop_after:
        scenario.acknowledged_here.clear()
        provider = make_provider(queue, retry_delay=1, retry_delay_cap=30)
        route = Route(
            provider,
            scenario.handle,
            "orders",
            concurrency=scenario.chance.choice([1, 3, 20]),
            handler_timeout=scenario.time_limit,
        )
        dispatcher = LoaferDispatcher([route], grace_time=scenario.chance.choice([1, 100]))
        running = asyncio.create_task(dispatcher.dispatch_providers())
        await asyncio.wait([running], timeout=seconds)
        dispatcher.stop()
        await running
    left_running = {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}}
    await asyncio.sleep(100)
    return left_running


@pytest.mark.slow
@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_nothing_is_lost_and_nothing_runs_after_it_was_done(
    fifo, in_virtual_time, model_queue, make_provider
):
    """Each message is handled until it is done, and then never again by the same run.

    Whatever fails on the way: what is deleted was done, what is not is visible again after the
    end, no two handlers have one message, message groups keep their order, no task is left.
    """

    @settings(deadline=None, max_examples=max(5, settings().max_examples // 5))
    @example(seed=112)
    @example(seed=4035)
    @example(seed=3531747)
    @given(seed=st.integers(0, 2**32))
    def check(seed):
        scenario = Scenario(seed, fifo)

        async def main():
            queue = model_queue(fifo=fifo)
            left_running = await play(scenario, queue, make_provider)
            return queue, left_running, queue.in_flight()

        queue, left_running, in_flight = in_virtual_time(main)
        assert scenario.wrong == []
        assert left_running == set()
        assert in_flight == []
        deleted = {stored.body for stored in queue.messages if stored.deleted}
        assert deleted <= scenario.done
        assert set(scenario.started) >= deleted
        if 2_000 in scenario.stop_after and scenario.longest_work < 10 and not scenario.freeze_rate:
            assert scenario.done == {stored.body for stored in queue.messages}

    check()
