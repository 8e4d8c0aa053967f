"""Random schedules of outcomes, delays and faults against a model of the queue."""

import asyncio
import logging

import hypothesis.strategies as st
import pytest
from faults.model import JumpingLoop, ModelProvider, ModelQueue
from hypothesis import given

from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.exceptions import RejectMessage, RetryMessage
from loafer_kit.routes import Route

#: Seconds of model time in which every schedule must be done.
_LONG = 5_000

answers = st.sampled_from([True, False, "retry", "later", "reject", "raise", "nonsense"])
durations = st.sampled_from([0, 0, 0, 0.5, 5, 20, 45])
behaviours = st.lists(st.tuples(durations, answers), max_size=3)
faults = st.lists(
    st.sampled_from([None, None, None, "before", "after", "entries", 2.0, 12.0, 40.0]), max_size=25
)


class Service:
    """A service over the model, and what its handlers saw."""

    def __init__(self, model, plans, **options):
        self.model = model
        self.plans = {number: list(plan) for number, plan in enumerate(plans)}
        self.options = options
        self.running = set()
        self.processed = set()
        self.handled = []  # (number, "started" | "ended" | "cancelled", answer)

    async def handle(self, body, metadata):
        number = int(body["Body"])
        assert number not in self.running, "started again while it was running"
        assert number not in self.model.deleted, "handled after its delete"
        assert number not in self.processed, "handled again by the process that had handled it"
        self.running.add(number)
        self.handled.append((number, "started", None))
        seconds, answer = self.plans[number].pop(0) if self.plans[number] else (0, True)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.handled.append((number, "cancelled", None))
            raise
        finally:
            self.running.discard(number)
        self.handled.append((number, "ended", answer))
        if answer is True:
            self.processed.add(number)
        match answer:
            case "retry":
                raise RetryMessage
            case "later":
                return RetryMessage(delay=7)
            case "reject":
                raise RejectMessage("no")
            case "raise":
                raise ValueError(number)
            case "nonsense":
                return []
        return answer

    async def run(self, until, *, killed):
        """Run until the model's clock shows `until`, or everything is done with; then drain.

        From a killed service the queue hears nothing any more.
        """
        self.processed.clear()
        route = Route(ModelProvider(self.model), self.handle, **self.options)
        dispatcher = LoaferDispatcher([route])
        task = asyncio.create_task(dispatcher.dispatch_providers())
        loop = asyncio.get_running_loop()
        while self.model.messages and loop.time() < until:
            await asyncio.sleep(min(0.5, until - loop.time()))
            assert not task.done(), task.exception()
        self.model.cut_off = killed
        dispatcher.stop()
        await asyncio.wait_for(task, 120)
        self.model.cut_off = False
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left


def run(service, until=_LONG, start=0.0, *, killed=False):
    """Run a service on a clock of its own; return the time at the end."""
    loop = JumpingLoop(start)
    try:
        loop.run_until_complete(service.run(until, killed=killed))
        return loop.time()
    finally:
        loop.close()


def check_all_done(model, plans):
    """Nothing lost: every message is deleted, and those that were rejected are dead letters too."""
    assert not model.messages
    assert model.deleted == set(range(len(plans)))


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """Failures are expected here; hundreds of thousands of log lines are not."""
    caplog.set_level(logging.CRITICAL, "loafer_kit")


@given(
    plans=st.lists(behaviours, min_size=1, max_size=25),
    faults=faults,
    concurrency=st.integers(1, 12),
    prefetch=st.sampled_from([None, 0, 3]),
)
def test_every_message_is_handled_and_deleted_whatever_happens(
    plans, faults, concurrency, prefetch
):
    """A standard queue: answers, delays, lost requests and lost answers in any order."""
    model = ModelQueue(faults=list(faults))
    for number in range(len(plans)):
        model.put(number)
    service = Service(model, plans, concurrency=concurrency, prefetch=prefetch)
    run(service)
    check_all_done(model, plans)
    assert {number for number, what, _ in service.handled if what == "started"} == model.deleted


@given(
    plans=st.lists(behaviours, min_size=1, max_size=20),
    groups=st.lists(st.sampled_from("abc"), min_size=20, max_size=20),
    faults=faults,
    concurrency=st.integers(1, 8),
)
def test_the_order_of_a_group_holds_whatever_happens(plans, groups, faults, concurrency):
    """A FIFO queue: a message starts only when all before it in its group are done with."""
    model = ModelQueue(fifo=True, faults=list(faults))
    for number in range(len(plans)):
        model.put(number, groups[number])
    service = Service(model, plans, concurrency=concurrency)
    run(service)
    check_all_done(model, plans)
    done = set()
    for number, what, answer in service.handled:
        if what == "started":
            before = {n for n in range(number) if groups[n] == groups[number]}
            assert before <= done, f"{number} started before {before - done}"
        elif what == "ended" and answer in {True, "reject"}:
            done.add(number)


@given(
    plans=st.lists(behaviours, min_size=1, max_size=25),
    stop_at=st.floats(0, 60),
    fifo=st.booleans(),
)
def test_after_a_drain_nothing_stays_in_flight(plans, stop_at, fifo):
    """Stopped at any moment: what is not done with is visible, or will be when its handler said."""
    model = ModelQueue(fifo=fifo)
    for number in range(len(plans)):
        model.put(number, "g" if fifo else None)
    service = Service(model, plans, concurrency=4)
    ended = run(service, until=stop_at)
    answered = {
        number for number, what, answer in service.handled if what == "ended" and answer is not True
    }
    for message in model.messages.values():
        if message.visible_at > ended:
            assert message.number in answered
    run(service, start=ended)
    check_all_done(model, plans)


@given(
    plans=st.lists(behaviours, min_size=1, max_size=25),
    kills=st.lists(st.floats(0, 40), min_size=1, max_size=3),
    fifo=st.booleans(),
)
def test_killing_the_process_loses_nothing(plans, kills, fifo):
    """Killed without warning at any moment, any number of times: another process goes on."""
    model = ModelQueue(fifo=fifo)
    for number in range(len(plans)):
        model.put(number, "g" if fifo else None)
    service = Service(model, plans, concurrency=4)
    now = 0.0
    for kill in kills:
        now = run(service, until=now + kill, start=now, killed=True)
    run(service, until=now + _LONG, start=now)
    check_all_done(model, plans)
