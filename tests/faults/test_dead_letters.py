"""What `loafer-kit dlq` does, on another server than moto's: LocalStack moves letters itself."""

import json

import pytest

from loafer_kit.dead_letters import moves, replays
from loafer_kit.dead_letters.letters import summaries
from loafer_kit.dead_letters.moves import Mover
from loafer_kit.dead_letters.sqs import SQS
from loafer_kit.local import LocalQueue
from loafer_kit.local.queues import Clients, LocalQueues


@pytest.fixture
async def sqs(localstack, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with SQS.opened(Clients(localstack).options) as broker:
        yield broker


@pytest.fixture
def mail(localstack):
    """A queue whose letters SQS moves, standard and FIFO."""
    mail = LocalQueues(localstack)
    for suffix in ("", ".fifo"):
        mail.create(
            LocalQueue(f"work{suffix}", dead_letter_queue=f"dead{suffix}", max_receive_count=1)
        )
    yield mail
    mail.clear()
    mail.close()


def let_die(mail, queue, bodies):
    """Receive each message once more than allowed."""
    for body in bodies:
        mail.send(queue, body, group="g" if queue.endswith(".fifo") else None)
    dead = queue.replace("work", "dead")
    while mail.counts(dead).visible < len(bodies):
        mail.receive(queue, visibility_timeout=0)


async def taken(sqs, mail, queue):
    url = mail.queue_url(queue)
    attributes = {"RedrivePolicy": ""}
    mail._clients.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes=attributes)
    async with sqs.visit(await sqs.queue(url)) as visit:
        return [letter.body async for letter in visit.letters()]


@pytest.mark.parametrize("suffix", ["", ".fifo"])
async def test_letters_that_sqs_moved_go_back(sqs, mail, suffix):
    """SQS names their source; a group keeps its order, under new deduplication ids."""
    bodies = [str(number) for number in range(12)]
    let_die(mail, f"work{suffix}", bodies)
    url = mail.queue_url(f"dead{suffix}")
    (summary,) = [found async for found in summaries(sqs, {url: url})]
    assert (summary.visible, summary.sources) == (12, (f"work{suffix}",))
    async with sqs.visit(await sqs.queue(url)) as visit:
        seen = [letter async for letter in visit.letters()]
        assert all(letter.source.endswith(f":work{suffix}") for letter in seen)
        assert len(seen) == 12 or "were not received" in visit.remark
    async with sqs.visit(await sqs.queue(url)) as visit:
        outcomes = [outcome async for outcome in replays.replay(visit)]
    assert [(item.status, item.problem) for item in outcomes] == [("sent", None)] * 12
    found = await taken(sqs, mail, f"work{suffix}")
    assert found == bodies[: len(found)] if suffix else sorted(found, key=int) == bodies


async def test_all_letters_are_moved(sqs, mail, monkeypatch):
    """By a task of the server, also those that a service sent itself."""
    monkeypatch.setattr(moves, "_PAUSE", 0.1)
    mail.send("dead", json.dumps({"number": 1}))
    mover = await Mover.of(sqs, await sqs.queue("dead"))
    await mover.start(await mover.target(None))
    states = [state async for state in mover.follow()]
    assert (states[-1].status, states[-1].target) == ("COMPLETED", "work")
    assert mail.counts("work").visible == 1


async def test_a_whole_queue_is_emptied(sqs, mail):
    """The answer to it is empty."""
    mail.send("dead", "1")
    await sqs.empty(await sqs.queue("dead"))
    assert mail.counts("dead").total == 0
