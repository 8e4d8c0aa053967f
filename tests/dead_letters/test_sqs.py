"""SQS: which dead-letter queues there are, and visits that return letters as they were."""

import asyncio
import json

import pytest
from moto.sqs.responses import SQSResponse

from loafer_kit.dead_letters import letters
from loafer_kit.dead_letters import sqs as module
from loafer_kit.dead_letters.letters import Choice
from loafer_kit.exceptions import ConfigurationError, ProviderError


async def look(visit, queue="orders-dead", choice=None):
    async with visit(queue) as opened:
        return [letter.body async for letter in opened.letters(choice)], opened.remark


async def test_every_letter_is_seen_and_returned(visit, mail):
    """Also more than one receive brings; receive counts have risen by one."""
    for number in range(12):
        mail.reject(str(number))
    bodies, remark = await look(visit)
    assert (sorted(bodies, key=int), remark) == ([str(n) for n in range(12)], None)
    assert mail.queues.counts("orders-dead").visible == 12
    counts = [
        m["Attributes"]["ApproximateReceiveCount"] for m in mail.queues.receive("orders-dead")
    ]
    assert counts == ["2"] * 10


async def test_a_group_keeps_its_order(visit, mail, monkeypatch, steps):
    """The last letter is returned first: on SQS, a consumer may receive between two requests."""
    change, returned = SQSResponse.change_message_visibility_batch, []

    def watched(self):
        returned.extend(entry["ReceiptHandle"] for entry in json.loads(self.body)["Entries"])
        return change(self)

    monkeypatch.setattr(SQSResponse, "change_message_visibility_batch", watched)
    for number in range(4):
        mail.reject(str(number), source="steps.fifo", to="steps-dead.fifo", group="g")
    async with visit("steps-dead.fifo") as opened:
        letters = [letter async for letter in opened.letters()]
    assert [letter.body for letter in letters] == ["0", "1", "2", "3"]
    assert returned == [letter.message["ReceiptHandle"] for letter in reversed(letters)]
    assert (await look(visit, "steps-dead.fifo"))[0] == ["0", "1", "2", "3"]


async def test_a_group_in_hand_hides_its_later_letters(visit, mail, steps):
    """It is said that not everything was seen."""
    for number in range(12):
        mail.reject(str(number), source="steps.fifo", to="steps-dead.fifo", group="g")
    bodies, remark = await look(visit, "steps-dead.fifo")
    if len(bodies) < 12:  # as SQS does; the embedded server may deliver them all
        assert f"about {12 - len(bodies)} more are there" in remark


async def test_a_limit_receives_no_more_than_it_needs(visit, mail):
    """The receive counts of other letters do not rise."""
    for number in range(5):
        mail.reject(str(number))
    assert len((await look(visit, choice=Choice(limit=2)))[0]) == 2
    counts = [
        m["Attributes"]["ApproximateReceiveCount"] for m in mail.queues.receive("orders-dead")
    ]
    assert sorted(counts) == ["1", "1", "1", "2", "2"]


async def test_letters_of_another_consumer_are_mentioned(visit, mail):
    """They may be those of a command that was killed."""
    mail.reject("1")
    mail.queues.receive("orders-dead")
    bodies, remark = await look(visit)
    assert (bodies, "about 1 are in flight" in remark) == ([], True)


async def test_an_empty_answer_is_not_believed(visit, mail, monkeypatch):
    """SQS counts a letter, so it is asked again; and what does not come is mentioned."""
    mail.reject("1")
    receive, answers = SQSResponse.receive_message, ["{}", "{}"]

    def empty_at_first(self):
        return (200, {"status": 200}, answers.pop()) if answers else receive(self)

    monkeypatch.setattr(SQSResponse, "receive_message", empty_at_first)
    assert (await look(visit))[0] == ["1"]
    answers += ["{}"] * 9
    assert "about 1 more are there and were not received" in (await look(visit))[1]


async def test_a_letter_that_is_twice_in_an_answer_is_one(visit, mail, monkeypatch):
    """SQS delivers at least once; each letter is sent back once."""
    mail.reject("1")
    receive = SQSResponse.receive_message

    def doubled(self):
        answer = receive(self)
        answer.result.update(Messages=answer.result.get("Messages", []) * 2)
        return answer

    monkeypatch.setattr(SQSResponse, "receive_message", doubled)
    assert (await look(visit))[0] == ["1"]


async def test_a_queue_that_moves_its_own_letters_is_not_looked_at(visit, mail):
    """A receive would push a letter over the limit of the queue."""
    for _ in range(3):
        mail.queues.send("orders", "1")
        with pytest.raises(ConfigurationError, match="orders moves its messages to orders-dead"):
            await look(visit, "orders")
    assert (mail.queues.counts("orders").visible, mail.queues.counts("orders-dead").total) == (3, 0)


async def test_an_error_returns_what_is_in_hand(visit, mail):
    """As does the end of the caller."""
    mail.reject("1")

    async def fail():
        async with visit() as opened:
            async for _ in opened.letters():
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert mail.queues.counts("orders-dead").visible == 1


async def test_a_letter_is_held_for_as_long_as_the_visit_lasts(visit, mail, monkeypatch):
    """The hold is extended before it is over."""
    monkeypatch.setattr(module, "HOLD", 2)
    extended = asyncio.Event()
    loop = asyncio.get_running_loop()
    change = SQSResponse.change_message_visibility_batch

    def watched(self):
        loop.call_soon_threadsafe(extended.set)
        return change(self)

    monkeypatch.setattr(SQSResponse, "change_message_visibility_batch", watched)
    mail.reject("1")
    async with visit() as opened:
        (letter,) = [letter async for letter in opened.letters()]
        first = opened._handles[letter.id][1]
        async with asyncio.timeout(30):
            while opened._handles[letter.id][1] == first:
                extended.clear()
                await extended.wait()
        assert opened.holds(letter)


async def test_a_letter_that_another_consumer_took_is_not_held(visit, mail, monkeypatch):
    """Its receipt handle is no longer valid when the hold is to be extended."""
    monkeypatch.setattr(module, "HOLD", 1)
    mail.reject("1")
    gone = {"Id": "0", "SenderFault": True, "Code": "ReceiptHandleIsInvalid", "Message": "gone"}
    answer = (200, {"status": 200}, json.dumps({"Failed": [gone]}))
    monkeypatch.setattr(SQSResponse, "change_message_visibility_batch", lambda self: answer)
    async with visit() as opened:
        (letter,) = [letter async for letter in opened.letters()]
        async with asyncio.timeout(30):
            while opened.holds(letter):  # noqa: ASYNC110 - it ends at a moment, by no event
                await asyncio.sleep(0.05)


async def test_a_missing_queue_is_one_line(sqs):
    """It names the queue."""
    with pytest.raises(ProviderError, match="Queue 'nowhere' does not exist") as caught:
        await sqs.queue("nowhere")
    assert "\n" not in str(caught.value)


async def summaries(sqs, *names, **options):
    return [
        summary
        async for summary in letters.summaries(sqs, {name: name for name in names}, **options)
    ]


async def test_a_summary_counts_letters_by_reason(sqs, mail):
    """Reasons that differ in their numbers only are one; a letter that SQS moved has none."""
    for number in (41, 42):
        mail.reject("x", f"ValueError: order {number}")
    mail.queues.send("orders-dead", "moved")
    (found,) = await summaries(sqs, "orders-dead")
    assert (found.queue, found.visible, found.in_flight, found.seen) == ("orders-dead", 3, 0, 3)
    assert found.sources == ("orders",)
    assert sorted(found.reasons.values()) == [1, 2]
    assert found.reasons[None] == 1
    assert found.oldest is not None
    assert mail.queues.counts("orders-dead").visible == 3


async def test_a_summary_looks_at_some_letters(sqs, mail):
    """A deep queue would take long."""
    for number in range(5):
        mail.reject(str(number))
    (found,) = await summaries(sqs, "orders-dead", look_at=2)
    assert (found.visible, found.seen) == (5, 2)
    (found,) = await summaries(sqs, "orders-dead", look_at=0)
    assert (found.seen, found.oldest) == (0, None)


async def test_a_queue_with_a_problem_does_not_hide_the_others(sqs, mail):
    """It may be missing, or move its own messages."""
    missing, own, good = await summaries(sqs, "nowhere", "orders", "orders-dead")
    assert "does not exist" in missing.problem
    assert "moves its messages" in own.problem
    assert good.problem is None


async def test_the_queues_of_a_service_lead_to_their_dead_letter_queues(sqs, mail, steps):
    """By their redrive policies."""
    found = await sqs.dead_letter_queues(["orders", "steps.fifo"])
    assert [arn.rpartition(":")[2] for arn in found] == ["orders-dead", "steps-dead.fifo"]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("", ["orders-dead", "steps-dead.fifo"]),
        ("ord", ["orders-dead"]),
        ("steps-d", ["steps-dead.fifo"]),
        ("x", []),
    ],
)
async def test_a_prefix_finds_targets_and_queues_with_sources(sqs, mail, prefix, found, steps):
    """A queue that is neither is not listed."""
    mail.queues.create("orders-other")
    arns = await sqs.dead_letter_queues(prefix=prefix)
    assert [arn.rpartition(":")[2] for arn in arns] == found


async def test_every_page_of_sources_is_read(sqs, mail, monkeypatch):
    """The embedded server has no pages, so this one answers in two."""
    pages = [
        {"queueUrls": ["http://x/1/b"]},
        {"queueUrls": ["http://x/1/a"], "NextToken": "more"},
    ]
    asked = []

    def answer(self):
        asked.append(json.loads(self.body))
        return 200, {"status": 200}, json.dumps(pages.pop())

    monkeypatch.setattr(SQSResponse, "list_dead_letter_source_queues", answer)
    assert await sqs.source_urls(mail.url()) == ["http://x/1/a", "http://x/1/b"]
    assert [request.get("NextToken") for request in asked] == [None, "more"]
    assert all(request["MaxResults"] == 1000 for request in asked)
