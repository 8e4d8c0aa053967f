"""How responses change the number of parallel fetches."""

import asyncio

import pytest
from virtual_time import run

from loafer_kit.engine.fetchers import Fetcher, PollScaler, fetch_limit
from loafer_kit.exceptions import TransientProviderError
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


def observe(receivers, received, limit=10, *, idle=True):
    receivers.observe(received, limit, 10, slots_idle=idle)
    return receivers.wanted


def test_full_responses_raise_it_to_the_maximum():
    """One more for each full response that found idle slots."""
    receivers = PollScaler(3)
    assert [observe(receivers, 10) for _ in range(4)] == [2, 3, 3, 3]


def test_partial_responses_lower_it_and_empty_ones_drop_it_to_one():
    """The queue is nearly empty, then empty."""
    receivers = PollScaler(8)
    for _ in range(5):
        observe(receivers, 10)
    assert observe(receivers, 4) == 5
    assert observe(receivers, 0) == 1


def test_long_handlers_never_influence_it():
    """A full response while no slot idles asks for nothing; a small fetch says nothing."""
    receivers = PollScaler(8)
    assert observe(receivers, 10, idle=False) == 1
    observe(receivers, 10)
    assert observe(receivers, 2, limit=2) == 2
    assert observe(receivers, 1, limit=2) == 2


def test_a_failed_fetch_drops_it_to_one():
    """One fetch is enough to find out when the source is back."""
    receivers = PollScaler(8)
    observe(receivers, 10)
    receivers.failed()
    assert receivers.wanted == 1


@pytest.mark.parametrize(
    ("in_hand", "limit"),
    [
        (0, 10),  # all slots idle: a full fetch
        (10, 10),  # a full one fits beside what runs
        (11, 0),  # nine would fit, but no slot idles: wait until ten fit
        (20, 0),  # no room
    ],
)
def test_full_fetches_are_preferred(in_hand, limit):
    """Ten slots and ten held ready: single messages are never asked for while slots are busy."""
    assert fetch_limit(in_hand=in_hand, handled_at_once=10, room=20, batch_size=10) == limit


@pytest.mark.parametrize(("in_hand", "limit"), [(0, 3), (2, 1), (3, 0)])
def test_a_smaller_fetch_fills_a_slot_that_would_idle(in_hand, limit):
    """Three slots and nothing held ready: no convoy behind one slow message."""
    assert fetch_limit(in_hand=in_hand, handled_at_once=3, room=3, batch_size=10) == limit


def test_a_source_that_fails_has_one_fetch_open():
    """Those that back off are no reason to open more."""

    class Failing(InMemoryProvider):
        async def fetch(self, limit):
            raise TransientProviderError("busy")

    async def main():
        fetcher = Fetcher(
            Route(Failing(), lambda message, metadata: True),
            arrived=lambda messages: None,
            failed=lambda error: None,
            slots_idle=lambda: True,
        )
        fetcher.scaler.wanted = 5
        fetcher.start(10)
        await asyncio.sleep(1)
        assert fetcher.scaler.wanted == 1
        await fetcher.finish()

    run(main)
