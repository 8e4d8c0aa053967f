"""Deliveries: one message and a batch are decided alike."""

import pytest

from loafer_kit import outcomes
from loafer_kit.engine.deliveries import Delivery, FailureCounts, deliver, deliver_batch
from loafer_kit.exceptions import FatalError, RejectMessage, RetryMessage
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

ERROR = ValueError("bad")


class Translator:
    """Raises the message if it is an exception."""

    def translate(self, message):
        if isinstance(message, Exception):
            raise message
        return {"content": message}


def route(handler, **options):
    return Route(InMemoryProvider(), handler, message_translator=Translator(), **options)


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

    assert await deliver(route(handler), "m") == delivery
    batch = route(handler, batch_handler_size=2)
    assert await deliver_batch(batch, ["m", "n"]) == [delivery, delivery]


@pytest.mark.parametrize(
    ("raised", "delivery"),
    [
        (RetryMessage(delay=3), Delivery(outcomes.Retry(3))),
        (ERROR, Delivery(outcomes.DeadLetter("ValueError: bad"), ERROR)),
    ],
)
async def test_a_translator_that_raises_decides_for_one_message(raised, delivery):
    """The handler of a batch gets the other messages."""
    assert await deliver(route(accept), raised) == delivery
    batch = route(accept, batch_handler_size=3)
    assert await deliver_batch(batch, ["m", raised, "n"]) == [
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
            await deliver(route(given), message)
        with pytest.raises(FatalError, match="stop"):
            await deliver_batch(route(given, batch_handler_size=1), [message])


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
    failures = FailureCounts()
    for message in ("a", "b", "a", "a"):
        delivery = await deliver(identified, message, policy, failures)
    assert counted == [("a", 1), ("b", 1), ("a", 2), ("a", 3)]
    assert delivery.outcome.failures == 3
    answers["a"] = True
    await deliver(identified, "a", policy, failures)
    del answers["a"]
    await deliver(identified, "a", policy, failures)
    assert counted[-1] == ("a", 1)
    answers["b"] = False
    await deliver(identified, "b", policy, failures)
    del answers["b"]

    async def handler_of_batches(contents, metadata):
        raise ValueError("bad")

    batch = Route(Identified(), handler_of_batches, batch_handler_size=2)
    await deliver_batch(batch, ["a", "b"], policy, failures)
    assert counted[-2:] == [("a", 2), ("b", 3)]


async def test_the_oldest_failures_are_forgotten():
    """The memory of a service that runs for months stays bounded."""
    failures = FailureCounts(most=2)
    provider = Route(Identified(), accept)
    for message in ("a", "b", "a", "c"):
        failures.record(provider, message, outcomes.LEAVE)
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
        (RetryMessage("the printer is busy"), "the printer is busy"),
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

    assert (await deliver(route(handler), "m")).outcome.reason == reason
