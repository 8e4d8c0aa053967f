"""InMemoryProvider: deliveries and recorded outcomes."""

import asyncio

import pytest

from loafer_kit.exceptions import RejectMessage, RetryMessage, SourceExhausted
from loafer_kit.managers import LoaferManager
from loafer_kit.outcomes import ACKNOWLEDGE, LEAVE, RELEASE, DeadLetter, Retry
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


def run(provider, handler):
    LoaferManager([Route(provider, handler)]).run()


def test_a_service_ends_when_every_message_is_settled():
    """The messages are handled as they are, and what became of each is at hand."""

    async def handler(message, metadata):
        if message == "never":
            raise RejectMessage("no use")
        return message != "not now"

    provider = InMemoryProvider(["one", "one", "not now", "never"])
    run(provider, handler)
    assert provider.acknowledged == ["one", "one"]
    assert provider.left == ["not now"]
    assert provider.dead_letters == [("never", "no use")]
    assert provider.remaining == 0


def test_a_retried_message_comes_back():
    """A retry is a further delivery; the receive count tells which one it is."""
    counts = []
    provider = InMemoryProvider(["again"])

    async def handler(message, metadata):
        counts.append(provider.describe(message)["receive_count"])
        if len(counts) < 3:
            raise RetryMessage(delay=0.001)
        return True

    run(provider, handler)
    assert counts == [1, 2, 3]
    assert provider.acknowledged == ["again"]


def test_a_left_message_comes_back_after_the_visibility_timeout():
    """With a visibility timeout, a message that is left comes back."""
    answers = [False, True]
    provider = InMemoryProvider(["again"], visibility_timeout=0.001)

    async def handler(message, metadata):
        return answers.pop(0)

    run(provider, handler)
    assert (provider.acknowledged, provider.left) == (["again"], [])


async def test_a_fetch_brings_no_more_than_its_limit():
    """The rest waits for the next fetch, in order."""
    provider = InMemoryProvider(range(12))
    assert await provider.fetch(3) == [0, 1, 2]
    assert await provider.fetch_messages() == list(range(3, 12))
    assert provider.remaining == 12


async def test_what_is_given_back_comes_first():
    """Messages given back last first are in their old order."""
    provider = InMemoryProvider(["a", "b", "c"])
    for message in reversed(await provider.fetch(2)):
        await provider.settle(message, RELEASE)
    assert await provider.fetch(10) == ["a", "b", "c"]


async def test_the_source_is_not_exhausted_while_a_message_is_in_flight():
    """A fetch waits: the message may come back."""
    provider = InMemoryProvider(["a"])
    await provider.fetch(1)
    waiting = asyncio.create_task(provider.fetch(1))
    await asyncio.sleep(0)
    await provider.settle("a", Retry(0))
    assert await waiting == ["a"]
    await provider.settle("a", ACKNOWLEDGE)
    with pytest.raises(SourceExhausted):
        await provider.fetch(1)


async def test_an_endless_provider_waits_for_more_until_it_is_stopped():
    """A fetch is woken by a message, and by the stop."""
    provider = InMemoryProvider(endless=True)
    waiting = asyncio.create_task(provider.fetch(1))
    await asyncio.sleep(0)
    provider.put("late")
    assert await waiting == ["late"]
    waiting = asyncio.create_task(provider.fetch(1))
    await asyncio.sleep(0)
    provider.stop()
    assert await waiting == []


@pytest.mark.parametrize("outcome", [ACKNOWLEDGE, LEAVE, DeadLetter("no"), Retry(0)])
async def test_settling_a_message_that_is_not_in_flight_changes_nothing(outcome):
    """A second settlement is ignored, as SQS ignores a stale receipt handle."""
    provider = InMemoryProvider(["a"])
    await provider.fetch(1)
    await provider.confirm_message("a")
    await provider.settle("a", outcome)
    assert (provider.acknowledged, provider.left, provider.dead_letters) == (["a"], [], [])
    assert provider.remaining == 0
    assert provider.describe("a") == {}
