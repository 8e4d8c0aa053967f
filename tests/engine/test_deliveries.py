"""Deliveries: one message and a batch are decided alike."""

import asyncio

import pytest

from loafer_kit import outcomes
from loafer_kit.engine.deliveries import Deliveries, FailureCounts
from loafer_kit.exceptions import FatalError, RejectMessage, RetryMessage
from loafer_kit.outcomes import Delivery
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

ERROR = ValueError("bad")


class Translator:
    """Raises the message if it is an exception."""

    def translate(self, message):
        if isinstance(message, Exception):
            raise message
        return {"content": message}


def route(handler, translator=None, **options):
    return Route(InMemoryProvider(), handler, "r", translator or Translator(), **options)


async def accept(content, metadata):
    return True


@pytest.mark.parametrize(
    ("raised", "delivery"),
    [
        (RetryMessage(delay=3), Delivery(outcomes.Retry(3))),
        (RejectMessage("no"), Delivery(outcomes.DeadLetter("no"))),
        (ERROR, Delivery(outcomes.LEAVE, ERROR)),
    ],
)
async def test_a_handler_that_raises_decides_for_its_messages(raised, delivery):
    """A request is carried out; any other exception is kept with the outcome."""

    async def handler(content, metadata):
        raise raised

    assert await Deliveries(route(handler)).deliver("m") == delivery
    batch = route(handler, batch_handler_size=2)
    assert await Deliveries(batch).deliver_batch(["m", "n"]) == [delivery, delivery]


@pytest.mark.parametrize(
    ("raised", "delivery"),
    [
        (RetryMessage(delay=3), Delivery(outcomes.Retry(3))),
        (ERROR, Delivery(outcomes.DeadLetter("ValueError: bad"), ERROR)),
    ],
)
async def test_a_translator_that_raises_decides_for_one_message(raised, delivery):
    """The handler of a batch gets the other messages."""
    assert await Deliveries(route(accept)).deliver(raised) == delivery
    batch = route(accept, batch_handler_size=3)
    assert await Deliveries(batch).deliver_batch(["m", raised, "n"]) == [
        Delivery(outcomes.ACKNOWLEDGE),
        delivery,
        Delivery(outcomes.ACKNOWLEDGE),
    ]


async def test_a_fatal_error_gets_out():
    """From the handler or the translator, of one message or a batch."""

    async def handler(content, metadata):
        raise FatalError("stop")

    for given, message in ((handler, "m"), (accept, FatalError("stop"))):
        with pytest.raises(FatalError, match="stop"):
            await Deliveries(route(given)).deliver(message)
        with pytest.raises(FatalError, match="stop"):
            await Deliveries(route(given, batch_handler_size=1)).deliver_batch([message])


# Failures


class Identified(InMemoryProvider):
    """Messages are their own ids."""

    def describe(self, message):
        return {"message_id": message, "receive_count": 9}


async def test_the_policy_gets_the_failures_of_the_message():
    """They are counted for each message and forgotten at its success; deliveries do not count."""
    counted, answers = [], {}

    async def handler(content, metadata):
        answer = answers.get(content, ValueError("bad"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def policy(error, facts):
        counted.append((facts["message_id"], facts["failures"]))
        return outcomes.Retry()

    identified = Route(Identified(), handler)
    single = Deliveries(identified, policy)
    for message in ("a", "b", "a", "a"):
        delivery = await single.deliver(message)
    assert counted == [("a", 1), ("b", 1), ("a", 2), ("a", 3)]
    assert delivery.outcome.failures == 3
    answers["a"] = True
    await single.deliver("a")
    del answers["a"]
    await single.deliver("a")
    assert counted[-1] == ("a", 1)
    answers["b"] = False
    await single.deliver("b")
    del answers["b"]
    await single.deliver("b")
    assert counted[-1] == ("b", 3)

    async def handler_of_batches(contents, metadata):
        raise ValueError("bad")

    batch = Deliveries(Route(Identified(), handler_of_batches, batch_handler_size=2), policy)
    await batch.deliver_batch(["a", "b"])
    await batch.deliver_batch(["b", "a"])
    assert counted[-4:] == [("a", 1), ("b", 1), ("b", 2), ("a", 2)]


async def test_the_oldest_failures_are_forgotten():
    """The memory of a service that runs for months stays bounded."""
    failures = FailureCounts(most=2)
    provider = Route(Identified(), accept)
    for message in ("a", "b", "a", "c"):
        failures.counted(provider, message, outcomes.Delivery(outcomes.LEAVE))
    assert [failures.next({"message_id": message}) for message in "abc"] == [3, 1, 2]


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (False, "the handler returned False"),
        (None, "the handler returned None"),
        ([], "the handler returned an empty list"),
        (RetryMessage(), "the handler asked for a retry"),
        (RetryMessage("bank is closed"), "bank is closed"),
        (ValueError("bad"), "ValueError: bad"),
        (UnprintableError(), "UnprintableError (its text cannot be shown)"),
    ],
)
async def test_a_failure_has_a_reason(answer, reason):
    """For the dead letter, if it was the last delivery of the message."""

    async def handler(content, metadata):
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert (await Deliveries(route(handler)).deliver("m")).outcome.reason == reason


class SideBySide:
    """An async translator; each message waits until all of them are being translated."""

    def __init__(self, parties):
        self._barrier = asyncio.Barrier(parties)

    async def translate(self, message):
        async with asyncio.timeout(5):
            await self._barrier.wait()
        if isinstance(message, BaseException):
            raise message
        return {"content": message, "metadata": {}}


async def test_an_async_translator_is_awaited():
    """Its content is decoded and handled like any other."""
    seen = []

    async def handler(content, metadata):
        seen.append(content)
        return True

    delivery = await Deliveries(route(handler, SideBySide(1))).deliver("m")

    assert (delivery.outcome, seen) == (outcomes.ACKNOWLEDGE, ["m"])


async def test_a_batch_is_translated_side_by_side():
    """A message that cannot be translated fails alone, even by a `SystemExit`."""
    seen = []

    async def handler(contents, metadata):
        seen.extend(contents)
        return True

    messages = ["a", ValueError("bad"), SystemExit(3), RejectMessage("no"), "b"]
    batch = route(handler, SideBySide(5), batch_handler_size=5)
    deliveries = await Deliveries(batch).deliver_batch(messages)

    assert [str(delivery.outcome) for delivery in deliveries] == [
        "acknowledged",
        "rejected",
        "rejected",
        "rejected",
        "acknowledged",
    ]
    assert seen == ["a", "b"]


@pytest.mark.parametrize("size", [None, 1])
async def test_a_translation_can_be_cancelled(size):
    """As when the service stops: that is no failure of the message."""
    batch = route(accept, SideBySide(2), batch_handler_size=size)
    work = (
        Deliveries(batch).deliver("m") if size is None else Deliveries(batch).deliver_batch(["m"])
    )
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
