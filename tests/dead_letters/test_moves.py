"""SQS's own move tasks, on a stub of the three actions."""

import pytest
from dead_letters.moves import MoveTasks

from loafer_kit.dead_letters import moves
from loafer_kit.dead_letters.moves import Mover, NoMoveTasksError
from loafer_kit.dead_letters.replays import Journal
from loafer_kit.exceptions import ProviderError


@pytest.fixture
def tasks(mail, monkeypatch):
    monkeypatch.setattr(moves, "_PAUSE", 0.01)
    tasks = MoveTasks(mail.queues)
    tasks.install(monkeypatch)
    return tasks


async def test_all_letters_are_moved_to_a_named_destination(sqs, mail, tasks):
    """Letters that the service sent itself fail without one."""
    for number in range(7):
        mail.queues.send("orders-dead", str(number))
    mover = await Mover.of(sqs, await sqs.queue("orders-dead"))
    await mover.start(await mover.target(None), 20)
    states = [(state.status, state.moved) async for state in mover.follow()]
    assert states[-1] == ("COMPLETED", 7)
    assert tasks.tasks[0]["DestinationArn"] == mail.queues.queue_arn("orders")
    assert tasks.tasks[0]["MaxNumberOfMessagesPerSecond"] == 20
    assert len(mail.bodies("orders")) == 7


async def test_a_running_move_is_cancelled(sqs, mail, tasks, steps):
    """What it has moved stays."""
    for number in range(7):
        mail.queues.send("orders-dead", str(number))
    mover = await Mover.of(sqs, await sqs.queue("orders-dead"))
    await mover.start(await mover.target("steps.fifo"))
    await mover.cancel(await mover.last())
    last = await mover.last()
    assert (last.status, last.is_over, last.moved) == ("CANCELLED", True, 3)


async def test_the_destination_must_be_known(sqs, mail, tasks):
    """A queue without sources, or with several, needs a name."""
    mail.queues.create("lonely")
    with pytest.raises(ProviderError, match="name it with --to"):
        await (await Mover.of(sqs, await sqs.queue("lonely"))).target(None)


async def test_what_an_interrupted_replay_has_sent_is_not_moved(sqs, mail, tasks):
    """It would be doubled."""
    mover = await Mover.of(sqs, await sqs.queue("orders-dead"))
    with Journal(mail.url()) as journal:
        journal.record("sent", ["a"])
    with pytest.raises(ProviderError, match="finish it with `replay`"):
        await mover.start(await mover.target(None))
    assert tasks.tasks == []


async def test_a_server_without_tasks_is_recognised(sqs, mail):
    """The embedded server answers with an error of its own."""
    with pytest.raises(NoMoveTasksError, match="this server has no move tasks"):
        await (await Mover.of(sqs, await sqs.queue("orders-dead"))).last()
