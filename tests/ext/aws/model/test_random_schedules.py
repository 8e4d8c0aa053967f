"""The engine and an SQS queue through random outcomes, durations, faults, freezes and stops."""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from virtual_time import freeze

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.exceptions import DeleteMessage, RejectMessage, RetryMessage
from loafer_kit.routes import Route

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
