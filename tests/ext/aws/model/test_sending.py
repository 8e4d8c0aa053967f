"""How messages are collected, sent and repeated, in a loop in which waiting takes no time."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run

from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.ext.aws.producer import GivenUpError, RefusedError, TooLargeError
from loafer_kit.ext.aws.requests.errors import AccessDeniedError
from loafer_kit.ext.aws.sending import Room, Sender, size_of

FAILED = {"SenderFault": False, "Code": "InternalError", "Message": "try again"}
REFUSED = {"SenderFault": True, "Code": "InvalidMessageContents", "Message": "no"}


class Target:
    """A queue that stores the bodies of entries; `faults(entries)` says what goes wrong.

    It is an error to raise, or the failures of entries by their position. With "answer" it stores
    all of them and its answer is lost.
    """

    def __init__(self, faults=lambda entries: None, limit=1_048_576, takes=0.01):
        self.faults = faults
        self.limit = limit
        self.takes = takes
        self.stored = []
        self.requests = []

    async def __call__(self, entries):
        loop = asyncio.get_running_loop()
        self.requests.append((round(loop.time(), 3), [entry["MessageBody"] for entry in entries]))
        assert 1 <= len(entries) <= 10
        assert len({entry["Id"] for entry in entries}) == len(entries)
        assert sum(map(size_of, entries)) <= 1_048_576
        await asyncio.sleep(self.takes)
        if sum(map(size_of, entries)) > self.limit:
            raise TooLargeError("Queue 'orders': BatchRequestTooLong")
        fault = self.faults(entries)
        if isinstance(fault, Exception):
            raise fault
        failures = fault if isinstance(fault, dict) else {}
        good = [entry for n, entry in enumerate(entries) if n not in failures]
        for entry in good:
            self.store(entry)
        if fault == "answer":
            raise TransientProviderError("Queue 'orders': connection reset")
        return {
            "Successful": [{"Id": e["Id"], "MessageId": f"id of {e['MessageBody']}"} for e in good],
            "Failed": [{"Id": str(n), **failure} for n, failure in failures.items()],
        }

    def store(self, entry):
        self.stored.append(entry["MessageBody"])


def sender(target, **options):
    given = {"linger": 0.0, "attempts": 10, "buffer": 10**9, **options}
    return Sender(target, subject="Queue 'orders'", action="SendMessageBatch", **given)


async def send(sender, body, group=None):
    async with sender.turn(group):
        return await sender.send({"MessageBody": body})


async def send_all(sender, bodies):
    """Send bodies at the same time; return what comes of each."""
    return await asyncio.gather(*(send(sender, body) for body in bodies), return_exceptions=True)


def test_messages_of_one_moment_share_requests(in_virtual_time):
    """Ten at a time, and each sender gets the id of its own message."""

    async def main():
        target = Target()
        answers = await send_all(sender(target), [str(number) for number in range(23)])
        assert [len(bodies) for _, bodies in target.requests] == [10, 10, 3]
        assert [answer["MessageId"] for answer in answers] == [f"id of {n}" for n in range(23)]

    in_virtual_time(main)


def test_a_message_waits_for_others_as_long_as_the_linger(in_virtual_time):
    """What comes later than that is in the next request."""

    async def main():
        target = Target()
        at_work = sender(target, linger=0.2)
        first = asyncio.create_task(send(at_work, "a"))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(send(at_work, "b"))
        await asyncio.gather(first, second)
        await send(at_work, "c")
        assert [bodies for _, bodies in target.requests] == [["a", "b"], ["c"]]
        assert target.requests[0][0] == 0.2

    in_virtual_time(main)


def test_a_request_has_no_more_bytes_than_sqs_takes(in_virtual_time):
    """A message of the largest size goes alone; small ones fill what is left by others."""

    async def main():
        target = Target()
        bodies = ["a" * 600_000, "b" * 400_000, "c" * 100_000, "é" * 524_288, "d"]
        await send_all(sender(target), bodies)
        assert [[body[0] for body in batch] for _, batch in target.requests] == [
            ["a", "b"],
            ["c"],
            ["é"],
            ["d"],
        ]

    in_virtual_time(main)


def test_attributes_count():
    """Names, types and values; X-Ray's header does not."""
    entry = {
        "MessageBody": "é",
        "MessageAttributes": {
            "kind": {"DataType": "String", "StringValue": "ü"},
            "raw": {"DataType": "Binary", "BinaryValue": b"12345"},
        },
        "MessageSystemAttributes": {"AWSTraceHeader": {"StringValue": "Root=1"}},
    }
    assert size_of(entry) == 2 + (4 + 6 + 2) + (3 + 6 + 5)


def test_a_message_that_no_queue_takes_is_not_sent(in_virtual_time):
    """The error names the size, and the limit."""

    async def main():
        target = Target()
        with pytest.raises(TooLargeError, match=r"has 1,048,577 bytes.*takes 1,048,576"):
            await send(sender(target), "x" * 1_048_577)
        assert target.requests == []

    in_virtual_time(main)


def test_a_queue_that_takes_less_is_found_out(in_virtual_time):
    """A batch that it refuses is sent message by message; later ones are smaller."""

    async def main():
        target = Target(limit=1_000)
        at_work = sender(target)
        answers = await send_all(at_work, [letter * 300 for letter in "abcdef"])
        assert [answer["MessageId"][-1] for answer in answers] == list("abcdef")
        target.requests.clear()
        answers = await send_all(at_work, [letter * 300 for letter in "abcdef"])
        assert [len(bodies) for _, bodies in target.requests] == [3, 3]
        [small, large] = await send_all(at_work, ["s", "l" * 1_001])
        assert small["MessageId"] == "id of s"
        assert isinstance(large, TooLargeError)

    in_virtual_time(main)


def test_only_the_entries_that_failed_are_sent_again(in_virtual_time):
    """The others are told at once that SQS has them."""

    async def main():
        target = Target(lambda entries: {1: FAILED} if len(target.requests) == 1 else None)
        done = []

        async def one(body):
            await send(at_work, body)
            done.append(body)

        at_work = sender(target)
        await asyncio.gather(*map(one, "abc"))
        assert [bodies for _, bodies in target.requests] == [["a", "b", "c"], ["b"]]
        assert done == ["a", "c", "b"]

    in_virtual_time(main)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Successful": []},
        {"Successful": [{"Id": "0"}]},
        {"Successful": [{"Id": "0", "MessageId": "x", "MD5OfMessageBody": "0"}]},
    ],
    ids=repr,
)
def test_what_the_answer_does_not_confirm_was_not_sent(in_virtual_time, answer):
    """Each id is demanded, with a message id and the digest of what was sent."""

    async def main():
        requests = []

        async def ask(entries):
            requests.append(entries)
            return answer

        with pytest.raises(GivenUpError, match="does not confirm"):
            await send(sender(ask, attempts=3), "body")
        assert len(requests) == 3

    in_virtual_time(main)


@pytest.mark.parametrize(
    "refusal", [{1: REFUSED}, RefusedError("Queue 'orders': no"), TypeError("no")]
)
def test_a_message_that_is_refused_fails_alone(in_virtual_time, refusal):
    """SQS may refuse its entry, or the whole request for its sake; a value may have no encoding."""

    def faults(entries):
        return (
            refusal
            if any(entry["MessageBody"] == "bad" for entry in entries)
            and (len(entries) > 1 or not isinstance(refusal, dict))
            else None
        )

    async def main():
        a, bad, b = await send_all(sender(Target(faults)), ["a", "bad", "b"])
        assert (a["MessageId"], b["MessageId"]) == ("id of a", "id of b")
        assert isinstance(bad, type(refusal) if isinstance(refusal, Exception) else RefusedError)

    in_virtual_time(main)


def test_what_no_message_is_to_blame_for_is_asked_once(in_virtual_time):
    """A denial meets every message: it is not asked again for each."""

    async def main():
        target = Target(lambda entries: AccessDeniedError("Queue 'orders': access denied"))
        answers = await send_all(sender(target), "abc")
        assert all(isinstance(answer, AccessDeniedError) for answer in answers)
        assert len(target.requests) == 1

    in_virtual_time(main)


def test_throttling_is_repeated_whoever_is_blamed(in_virtual_time):
    """An entry that SQS throttles is not wrong, even where SQS calls it the sender's fault."""

    async def main():
        throttled = {"SenderFault": True, "Code": "ThrottlingException", "Message": "slow down"}
        target = Target(lambda entries: {0: throttled} if len(target.requests) < 3 else None)
        assert await send(sender(target), "a")
        assert len(target.requests) == 3

    in_virtual_time(main)


def test_attempts_and_deadline_bound_the_repeats(in_virtual_time):
    """The error says how often it was tried; the message may be on the queue all the same."""

    async def main():
        target = Target(lambda entries: "answer")
        with pytest.raises(GivenUpError, match=r"connection reset; given up after attempt 4"):
            await send(sender(target, attempts=4), "a")
        assert target.stored == ["a"] * 4
        began = asyncio.get_running_loop().time()
        with pytest.raises(GivenUpError):
            await sender(target, attempts=1_000).send({"MessageBody": "b"}, lambda: began + 20)
        assert began + 10 < asyncio.get_running_loop().time() <= began + 20

    in_virtual_time(main)


def test_a_pause_is_as_long_as_the_source_says(in_virtual_time):
    """A Retry-After is kept to."""

    async def main():
        busy = TransientProviderError("busy", retry_after=30.0)
        target = Target(lambda entries: busy if len(target.requests) == 1 else None)
        await send(sender(target), "a")
        assert target.requests[1][0] >= 30

    in_virtual_time(main)


def test_a_hurry_ends_linger_and_repeats(in_virtual_time):
    """When the service stops, nothing waits for others, and ten seconds are left for repeats."""

    async def main():
        target = Target()
        at_work = sender(target, linger=50.0, attempts=1_000)
        waiting = asyncio.create_task(send(at_work, "a"))
        await asyncio.sleep(0)
        at_work.hurry()
        await waiting
        assert target.requests == [(0.0, ["a"])]
        target.faults = lambda entries: "answer"
        with pytest.raises(GivenUpError):
            await at_work.send({"MessageBody": "b"})
        assert asyncio.get_running_loop().time() <= 10

    in_virtual_time(main)


def test_memory_is_bounded(in_virtual_time):
    """More than the buffer waits, in its order; a message that is larger than the buffer goes alone."""

    async def main():
        target = Target(takes=1.0)
        at_work = sender(target, buffer=5_000)
        await send_all(at_work, [*("a" * 1_000 for _ in range(4)), "b" * 100_000, "c"])
        assert [(when, [body[0] for body in batch]) for when, batch in target.requests] == [
            (0.0, ["a", "a"]),
            (1.0, ["a", "a"]),
            (2.0, ["b"]),
            (3.0, ["c"]),
        ]

    in_virtual_time(main)


@pytest.mark.parametrize("granted", [False, True])
def test_a_sender_that_gives_up_waiting_holds_up_nobody(in_virtual_time, granted):
    """Whether it is cancelled before there is room for it, or at the moment when there is."""

    async def main():
        room = Room(10)
        await room.take(8)
        large, small = (asyncio.create_task(room.take(size)) for size in (9, 2))
        await asyncio.sleep(0)
        if granted:
            room.give_back(8)
        large.cancel()
        await asyncio.wait([large])
        await small
        if not granted:
            room.give_back(8)
        await room.take(8)

    in_virtual_time(main)


def test_a_cancelled_send_is_not_sent_any_more(in_virtual_time):
    """It has not left yet; the others of its request leave."""

    async def main():
        target = Target()
        at_work = sender(target, linger=1.0)
        a, b = (asyncio.create_task(send(at_work, body)) for body in "ab")
        await asyncio.sleep(0.5)
        a.cancel()
        await b
        assert target.stored == ["b"]

    in_virtual_time(main)


def test_a_failed_message_stops_the_later_ones_of_its_group_only(in_virtual_time):
    """Others pass it; when it is given up, the next of its group is sent."""

    async def main():
        def faults(entries):
            return {n: FAILED for n, entry in enumerate(entries) if entry["MessageBody"] == "a1"}

        target = Target(faults)
        at_work = sender(target, attempts=3)
        bodies = ["a1", "a2", "b1", "b2"]
        answers = await asyncio.gather(
            *(send(at_work, body, body[0]) for body in bodies), return_exceptions=True
        )
        assert isinstance(answers[0], GivenUpError)
        assert target.stored == ["b1", "b2", "a2"]

    in_virtual_time(main)


class Fifo(Target):
    """A FIFO queue: each request has one message of a group; what it has already, it stores once."""

    async def __call__(self, entries):
        groups = [entry["MessageBody"][0] for entry in entries]
        assert len(set(groups)) == len(groups)
        return await super().__call__(entries)

    def store(self, entry):
        if entry["MessageBody"] not in self.stored:
            super().store(entry)


@given(
    seed=st.integers(0, 10**9),
    sizes=st.lists(st.integers(1, 700_000), min_size=1, max_size=60),
    trouble=st.floats(0, 0.6),
    limit=st.sampled_from([100_000, 262_144, 1_048_576]),
    options=st.fixed_dictionaries(
        {
            "linger": st.sampled_from([0.0, 0.005, 1.0]),
            "buffer": st.sampled_from([1, 500_000, 10**9]),
        }
    ),
)
def test_each_message_is_stored_or_reported_in_the_order_of_its_group(
    seed, sizes, trouble, limit, options
):
    """Whatever fails; the target checks that no request exceeds a quota."""

    async def main():
        chance = random.Random(seed)

        def faults(entries):
            if chance.random() > trouble:
                return None
            return chance.choice(
                [
                    "answer",
                    TransientProviderError("reset"),
                    RefusedError("no") if len(entries) > 1 else None,
                    {n: FAILED for n in range(len(entries)) if chance.random() < 0.5},
                    {n: REFUSED for n in range(len(entries)) if chance.random() < 0.1},
                ]
            )

        target = Fifo(faults, limit)
        at_work = sender(target, attempts=4, **options)
        bodies = [f"{chance.choice('abc')}{n:03}" + "x" * size for n, size in enumerate(sizes)]

        async def one(body):
            await asyncio.sleep(int(body[1:4]) * 0.003)
            await send(at_work, body, body[0])

        answers = await asyncio.gather(*map(one, bodies), return_exceptions=True)
        for body, answer in zip(bodies, answers, strict=True):
            assert body in target.stored or isinstance(answer, ProviderError)
        stored = [body[:4] for body in target.stored]
        for group in "abc":
            assert [b for b in stored if b[0] == group] == sorted(
                b for b in stored if b[0] == group
            )

    run(main)
