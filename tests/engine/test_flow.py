"""Pace, rate limit and circuit breaker: on a clock that the test sets, then in running routes.

The routes run in virtual time: a route that nothing would ever wake again is an error of the loop.
"""

import asyncio
import contextlib
import logging

import pytest
from virtual_time import now, run

from loafer_kit import outcomes
from loafer_kit.config import RouteOptions
from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.engine.flow import CircuitBreaker, Flow, Pace, RateLimit
from loafer_kit.exceptions import SourceExhausted
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_rate_limit_spaces_starts_evenly():
    """At two a second the second start waits half a second."""
    clock = Clock()
    limit = RateLimit(2, clock)
    assert limit.take() == 0
    assert limit.take() == pytest.approx(0.5)
    clock.now += 0.5
    assert limit.take() == 0


def test_the_rate_limit_saves_up_no_more_than_a_tenth_of_a_second():
    """After a quiet hour at 100 a second, at most ten may start at once."""
    clock = Clock()
    limit = RateLimit(100, clock)
    clock.now += 3600
    assert [limit.take() for _ in range(10)] == [0] * 10
    assert limit.take() > 0


def test_the_breaker_opens_after_failures_in_a_row():
    """A success in between starts the count again; a rejection is not a failure."""
    breaker = CircuitBreaker(3, clock=Clock())
    for outcome in (outcomes.LEAVE, outcomes.Retry(1), outcomes.ACKNOWLEDGE, outcomes.LEAVE):
        breaker.record(outcome, None)
    breaker.record(outcomes.DeadLetter("no"), None)
    assert not breaker.is_open
    for _ in range(3):
        breaker.record(outcomes.LEAVE, None)
    assert breaker.is_open
    assert breaker.wait() == 30


def test_a_named_exception_opens_the_breaker_at_once():
    """Whatever became of the message otherwise."""
    breaker = CircuitBreaker(None, (ConnectionError,), recovery=5, clock=Clock())
    breaker.record(outcomes.LEAVE, ValueError())
    assert not breaker.is_open
    breaker.record(outcomes.LEAVE, ConnectionRefusedError())
    assert breaker.is_open


def test_a_probe_closes_the_breaker_or_opens_it_again():
    """After the recovery time one message decides."""
    clock = Clock()
    breaker = CircuitBreaker(1, recovery=10, clock=clock)
    breaker.record(outcomes.LEAVE, None)
    clock.now += 10
    assert breaker.is_open
    assert breaker.wait() == 0
    breaker.record(outcomes.LEAVE, None)
    assert breaker.wait() == 10
    clock.now += 10
    breaker.record(outcomes.ACKNOWLEDGE, None)
    assert not breaker.is_open


def test_the_flow_tells_when_more_may_flow():
    """Resuming and a new rate limit are noticed at once."""
    changes = []
    flow = Flow(RouteOptions())
    flow.on_change = lambda: changes.append((flow.paused, flow.rate_limit))
    flow.pause()
    flow.resume()
    flow.rate_limit = 5
    flow.rate_limit = None
    assert changes == [(False, None), (False, 5), (False, None)]


def test_the_options_of_a_route_make_its_flow():
    """Every one that the flow has."""
    options = {"concurrency": 3, "rate_limit": 7, "breaker_threshold": 2, "breaker_recovery": 5.0}
    flow = Flow(RouteOptions(**options, breaker_exceptions=(OSError,)))
    breaker = flow.breaker
    assert (flow.concurrency, flow.rate_limit) == (3, 7)
    assert (breaker.threshold, breaker.exceptions, breaker.recovery) == (2, (OSError,), 5.0)


def test_a_rate_limit_is_greater_than_zero():
    """Zero would be a pause, which has its own name."""
    with pytest.raises(ValueError, match="pause"):
        Flow(RouteOptions()).rate_limit = 0


# A route whose breaker is open: what waits, what probes, and how it ends.

RECOVERY = 30


class Source(InMemoryProvider):
    """Notes the limit of each fetch; some of its messages can be lost."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.limits = []

    async def start(self, lost):
        await super().start(lost)
        self.lost = lost

    async def fetch(self, limit):
        self.limits.append(limit)
        return await super().fetch(limit)

    @property
    def waiting(self):
        return [entry.message for entry in self._ready]

    def received(self):
        """How often each message that is not settled was received."""
        return {entry.receive_count for entry in (*self._ready, *self._in_flight)}


class Downstream:
    """What handlers need: it fails for some messages, and takes its time for some."""

    def __init__(self, fails=(), takes=None):
        self.fails = set(fails)
        self.takes = takes or {}
        self.starts = []

    async def handle(self, content, metadata):
        self.starts.append((now(), content))
        first = content[0] if isinstance(content, list) else content
        await asyncio.sleep(self.takes.get(first, 0))
        return first not in self.fails


def route(source, downstream, **options):
    """A route that opens its breaker at the first failure, and holds ten messages ready."""
    route = Route(source, downstream.handle, **{"prefetch": 10, **options})
    route.flow.breaker = CircuitBreaker(1, recovery=RECOVERY, clock=now)
    return route


@contextlib.asynccontextmanager
async def running(*routes, **options):
    """Run routes; they are stopped at the end of the block, and must then end."""
    dispatcher = LoaferDispatcher(routes, **options)
    task = asyncio.create_task(dispatcher.dispatch_providers())
    try:
        yield
    finally:
        dispatcher.stop()
        await asyncio.wait_for(task, 10)


def at(time, *messages):
    return [(time, message) for message in messages]


def test_what_was_fetched_waits_and_goes_back_in_the_end():
    """Neither is it started, nor is more fetched, while the breaker is open."""

    async def main():
        source, downstream = Source(range(30), endless=True), Downstream(fails=range(30))
        async with running(route(source, downstream, concurrency=1)):
            await asyncio.sleep(RECOVERY - 1)
            assert downstream.starts == at(0, 0)
            assert source.limits == [10]
        assert source.left == [0]
        assert source.waiting == list(range(1, 30))
        assert source.received() == {0, 1}

    run(main)


def test_single_messages_probe_until_one_succeeds():
    """One each recovery time, from what waits; then the rest goes on at once."""

    async def main():
        source, downstream = Source(range(10)), Downstream(fails=range(5))
        await LoaferDispatcher([route(source, downstream, concurrency=3)]).dispatch_providers()
        assert downstream.starts == [
            *at(0, 0, 1, 2),
            *at(30, 3),
            *at(60, 4),
            *at(90, 5, 6, 7, 8, 9),
        ]

    run(main)


def test_nothing_is_started_or_fetched_beside_a_probe():
    """Even if it takes long and messages arrive meanwhile."""

    async def main():
        source = Source(range(6), endless=True, wait_time=3)
        downstream = Downstream(fails=range(3), takes={3: 4 * RECOVERY})
        async with running(route(source, downstream, concurrency=3)):
            await asyncio.sleep(RECOVERY + 1)
            source.put(6)
            await asyncio.sleep(RECOVERY)
            fetches = len(source.limits)
            await asyncio.sleep(RECOVERY)
            assert len(source.limits) == fetches
            await asyncio.sleep(2 * RECOVERY)
        assert downstream.starts == [*at(0, 0, 1, 2), *at(30, 3), *at(150, 4, 5, 6)]

    run(main)


def test_a_probe_is_fetched_where_nothing_waits():
    """By a fetch for one message; while there is none, fetch follows fetch."""

    async def main():
        source = Source([0], endless=True, wait_time=20)
        downstream = Downstream(fails=[0])
        async with running(route(source, downstream, prefetch=0)):
            await asyncio.sleep(RECOVERY + 50)
            for message in range(1, 6):
                source.put(message)
            await asyncio.sleep(1)
            assert downstream.starts == [*at(0, 0), *at(80, 1, 2, 3, 4, 5)]
            assert source.limits[:5] == [10, 9, 1, 1, 1]  # the second was open when it opened

    run(main)


def test_handlers_that_run_when_it_opens_go_on_and_count():
    """The success of one closes the breaker, and what waits goes on at once."""

    async def main():
        source, downstream = Source(range(6)), Downstream(fails=[0], takes={1: 5})
        await LoaferDispatcher([route(source, downstream, concurrency=2)]).dispatch_providers()
        assert downstream.starts == [*at(0, 0, 1), *at(5, 2, 3, 4, 5)]
        assert source.acknowledged == [1, 2, 3, 4, 5]

    run(main)


def test_a_handler_that_hangs_holds_up_no_probe():
    """Neither one from before the breaker opened, nor a probe from an earlier time."""

    async def main():
        source = Source(range(8), endless=True)
        downstream = Downstream(fails=[1, 2, 4, 5], takes={0: 40, 3: 1000})
        async with running(route(source, downstream, concurrency=3), grace_time=0):
            await asyncio.sleep(90)
        assert downstream.starts == [
            *at(0, 0, 1, 2),
            *at(30, 3),  # beside 0, whose success closes the breaker
            *at(40, 4, 5),  # beside 3, the probe that hangs; they open it again
            *at(70, 6, 7),
        ]

    run(main)


def test_a_batch_handler_probes_with_one_message():
    """Which waits for no others."""

    async def main():
        source, downstream = Source(range(10)), Downstream(fails=[0, 4])
        handled = route(source, downstream, concurrency=1, batch_handler_size=4)
        await LoaferDispatcher([handled]).dispatch_providers()
        assert downstream.starts == [*at(0, [0, 1, 2, 3]), *at(30, [4]), *at(60, [5], [6, 7, 8, 9])]

    run(main)


def test_one_iteration_gives_back_what_an_open_breaker_holds_up(caplog):
    """It ends at once; the next one waits for the recovery time and fetches one message."""
    caplog.set_level(logging.INFO, "loafer_kit")

    async def main():
        source, downstream = Source(range(10)), Downstream(fails=[0, 1])
        dispatcher = LoaferDispatcher([route(source, downstream, concurrency=1)])
        await dispatcher.dispatch_providers(forever=False)
        assert (now(), source.waiting) == (0, list(range(1, 10)))
        assert "messages.released route=default count=9" in caplog.text
        await dispatcher.dispatch_providers(forever=False)
        await dispatcher.dispatch_providers(forever=False)
        assert downstream.starts == [*at(0, 0), *at(30, 1), *at(60, 2)]
        assert source.limits == [10, 1, 1]
        await dispatcher.dispatch_providers(forever=False)
        assert source.remaining == 0

    run(main)


def test_a_source_that_is_exhausted_waits_for_the_probes():
    """What it brought is handled before the route ends."""

    class Exhausted(Source):
        async def fetch(self, limit):
            if not self._ready:
                raise SourceExhausted
            return await super().fetch(limit)

    async def main():
        source, downstream = Exhausted(range(4)), Downstream(fails=[0, 1])
        handled = route(source, downstream, concurrency=1, prefetch=100)
        await LoaferDispatcher([handled]).dispatch_providers()
        assert downstream.starts == [*at(0, 0), *at(30, 1), *at(60, 2, 3)]

    run(main)


def test_other_routes_use_the_slots_of_one_that_waits():
    """Its probe takes its turn among them."""

    async def main():
        source, other = Source(range(3)), Source(range(100, 107))
        downstream = Downstream(fails=[0], takes=dict.fromkeys(range(100, 107), 7))
        routes = [route(source, downstream), route(other, downstream)]
        await LoaferDispatcher(routes, max_jobs=1).dispatch_providers()
        starts = [start for start in downstream.starts if start[1] < 100]
        assert starts == [*at(0, 0), *at(42, 1), *at(49, 2)]
        assert [message for _, message in downstream.starts if message >= 100] == [*range(100, 107)]

    run(main)


def test_the_order_of_a_key_holds():
    """What waits behind a failed message goes back; the next probe is of another key."""

    class Groups(Source):
        def order_key(self, message):
            return message[0]

    async def main():
        source = Groups(["a0", "a1", "b0", "a2", "b1", "c0"])
        downstream = Downstream(fails=["a0"])
        await LoaferDispatcher([route(source, downstream, concurrency=1)]).dispatch_providers()
        assert downstream.starts == [*at(0, "a0"), *at(30, "b0", "c0", "b1", "a1", "a2")]
        assert source.left == ["a0"]

    run(main)


def test_a_pause_outlasts_the_recovery_time():
    """A route that is resumed probes at once."""

    async def main():
        source, downstream = Source(range(3)), Downstream(fails=[0])
        paused = route(source, downstream, concurrency=1)
        async with running(paused):
            await asyncio.sleep(10)
            paused.flow.pause()
            await asyncio.sleep(40)
            paused.flow.resume()
            await asyncio.sleep(1)
            assert downstream.starts == [*at(0, 0), *at(50, 1, 2)]

    run(main)


def test_messages_that_are_lost_while_they_wait_do_not_probe():
    """The next one does, or where none is left, one that is fetched."""

    async def main():
        source, downstream = Source(range(10), endless=True), Downstream(fails=[0, 2])
        async with running(route(source, downstream, concurrency=1)):
            await asyncio.sleep(1)
            source.lost(1)
            await asyncio.sleep(RECOVERY)
            for message in range(3, 10):
                source.lost(message)
            source.put(10)
            await asyncio.sleep(RECOVERY)
        assert downstream.starts == [*at(0, 0), *at(30, 2), *at(60, 10)]
        assert source.limits[:2] == [10, 1]

    run(main)


@pytest.mark.parametrize("seconds", [0, 5])
def test_a_probe_that_is_lost_has_failed(seconds):
    """Nothing is settled, and the next one follows after the recovery time."""

    async def main():
        source, downstream = Source(range(3), endless=True), Downstream(fails=[0], takes={1: 10})
        async with running(route(source, downstream, concurrency=1)):
            await asyncio.sleep(RECOVERY + seconds)
            source.lost(1)
            await asyncio.sleep(2 * RECOVERY)
        assert [start for start in downstream.starts if start[1] != 1] == [
            *at(0, 0),
            *at(2 * RECOVERY + seconds, 2),
        ]

    run(main)


def test_the_log_says_when_the_breaker_opens_and_closes(caplog):
    """Once each, even after several failed probes."""
    caplog.set_level(logging.INFO, "loafer_kit")

    async def main():
        source, downstream = Source(range(5)), Downstream(fails=[0, 1, 2])
        handled = route(source, downstream, name="orders", concurrency=1)
        await LoaferDispatcher([handled]).dispatch_providers()

    run(main)
    assert [line for line in caplog.messages if line.startswith("breaker.")] == [
        "breaker.opened route=orders probe_in=30s",
        "breaker.closed route=orders",
    ]


def test_a_success_between_failures_starts_the_count_anew():
    """Only failures in a row open the breaker."""
    breaker = CircuitBreaker(threshold=3)
    for outcome in [
        outcomes.LEAVE,
        outcomes.LEAVE,
        outcomes.ACKNOWLEDGE,
        outcomes.LEAVE,
        outcomes.LEAVE,
    ]:
        breaker.record(outcome, None)
    assert not breaker.is_open
    breaker.record(outcomes.LEAVE, None)
    assert breaker.is_open


def paced(handled_at_once, durations, every):
    """Return the pace after handlers of these durations, one of which ends every few seconds."""
    pace = Pace(handled_at_once)
    for number, duration in enumerate(durations):
        pace.ended(1, duration, number * every)
    return pace


def test_nothing_is_held_ready_before_a_handler_has_ended():
    """The first fetch brings what can start at once."""
    assert Pace(10).prefetch == 0


@pytest.mark.parametrize(
    ("handled_at_once", "duration", "prefetch"), [(1, 1.0, 1), (1, 60.0, 0), (10, 2.0, 5)]
)
def test_slow_handlers_hold_a_second_of_messages_ready(handled_at_once, duration, prefetch):
    """What all slots together start within a second."""
    pace = paced(handled_at_once, [duration] * 20, duration / handled_at_once)
    assert pace.prefetch == prefetch


def test_handlers_that_burn_the_cpu_are_counted():
    """A hundred slots of 10 ms each start 100 a second if only one of them gets on at a time."""
    assert paced(100, [0.01] * 200, 0.01).prefetch == pytest.approx(200, rel=0.2)


def test_quick_handlers_hold_no_more_ready_than_memory_allows():
    """However quick they are, and if they take no time at all."""
    assert paced(10, [0.0] * 100_000, 0.00001).prefetch == 1_000


def test_a_queue_that_was_idle_is_as_quick_as_before():
    """The time without messages does not count."""
    pace = paced(10, [0.001] * 1_000, 0.001)
    before = pace.prefetch
    pace.ended(1, 0.001, 3_600)
    assert pace.prefetch == before > 100


def test_handlers_that_become_slow_are_noticed():
    """Within a few dozen of them."""
    pace = paced(10, [0.001] * 1_000, 0.001)
    for number in range(50):
        pace.ended(1, 10.0, 1 + number)
    assert pace.prefetch <= 1
