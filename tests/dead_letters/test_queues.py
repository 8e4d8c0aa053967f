"""Which dead-letter queues there are, and what is in them."""

import json

import pytest
from moto.sqs.responses import SQSResponse

from loafer_kit.dead_letters import letters


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
