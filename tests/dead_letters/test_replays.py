"""Replays, purges and imports, against the embedded server."""

import asyncio
import json

import pytest
from moto.sqs.responses import SQSResponse

from loafer_kit.dead_letters import replays
from loafer_kit.dead_letters.letters import Choice
from loafer_kit.dead_letters.replays import Journal
from loafer_kit.dead_letters.sqs import SQS
from loafer_kit.exceptions import LoaferKitError, ProviderError
from loafer_kit.local.queues import MessageOptions, message_parameters


async def replay(visit, queue="orders-dead", choice=None, **options):
    async with visit(queue) as opened:
        return [outcome async for outcome in replays.replay(opened, choice, **options)]


async def replay_into(outcomes, visit, then=lambda: None):
    """Keep the outcomes before an error; `then` is called after each."""
    async with visit() as opened:
        async for outcome in replays.replay(opened):
            outcomes.append(outcome)
            then()


def statuses(outcomes):
    return sorted((outcome.status, outcome.target) for outcome in outcomes)


async def test_letters_go_back_to_their_queues(visit, mail):
    """Each to the one that it names; what the service wrote is gone, the rest is not."""
    mail.queues.create("refunds")
    mail.reject("1", attributes={"origin": "web"})
    mail.reject("2", source="refunds")
    assert statuses(await replay(visit)) == [("sent", "orders"), ("sent", "refunds")]
    (first,) = mail.queues.receive("orders")
    assert list(first["MessageAttributes"]) == ["origin"]
    assert mail.bodies("refunds") == ["2"]
    assert mail.queues.counts("orders-dead").total == 0


async def test_a_letter_that_sqs_moved_goes_to_the_only_source(visit, mail):
    """The embedded server does not name the source of such a letter; a redrive policy does."""
    mail.queues.send("orders", "moved")
    mail.queues.receive("orders", visibility_timeout=0)
    mail.queues.receive("orders")
    assert statuses(await replay(visit)) == [("sent", "orders")]
    assert mail.bodies("orders") == ["moved"]


async def test_a_letter_from_nowhere_is_kept(visit, mail):
    """Nothing is guessed; `to` sends it."""
    mail.queues.create("lonely-dead")
    mail.queues.send("lonely-dead", "1")
    (kept,) = await replay(visit, "lonely-dead")
    assert kept.status == "kept"
    assert "name it with --to" in kept.problem
    assert statuses(await replay(visit, "lonely-dead", to="orders")) == [("sent", "orders")]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("gone", "does not exist"),
        ("orders-dead", "is the queue that the letters are in"),
        ("arn:aws:sns:eu-west-1:1:t", "is not the ARN of a queue"),
    ],
)
async def test_a_source_that_cannot_be_sent_to_keeps_its_letters_alone(
    visit, mail, source, problem
):
    """Also a queue of another account, which does not exist in this one."""
    mail.reject("1", source=source)
    mail.reject("2")
    outcomes = {outcome.status: outcome for outcome in await replay(visit)}
    assert problem in outcomes["kept"].problem
    assert outcomes["sent"].target == "orders"
    assert mail.bodies("orders-dead") == ["1"]


async def test_only_chosen_letters_are_sent(visit, mail):
    """The others are returned at once."""
    wanted = [mail.reject(str(number)) for number in range(12)][5:8]
    outcomes = await replay(visit, choice=Choice(ids=frozenset(wanted)))
    assert {outcome.letter for outcome in outcomes} == set(wanted)
    assert len(await replay(visit, choice=Choice("body == `9`"))) == 1
    assert len(await replay(visit, choice=Choice(limit=2))) == 2
    assert len(mail.bodies("orders-dead")) == 6


async def test_the_order_of_a_group_is_kept(visit, mail, steps):
    """More letters than one receive brings, of two groups."""
    sent = [(group, f"{group}{number}") for number in range(11) for group in "ab"]
    for group, body in sent:
        mail.reject(body, source="steps.fifo", to="steps-dead.fifo", group=group)
    outcomes = await replay(visit, "steps-dead.fifo")
    assert [outcome.status for outcome in outcomes] == ["sent"] * 22
    bodies = mail.bodies("steps.fifo")
    for name in "ab":
        assert [body for body in bodies if body[0] == name] == [
            body for group, body in sent if group == name
        ]


async def test_deduplication_ids_are_fresh(visit, mail, steps):
    """SQS confirms a message with an old id, and stores nothing."""
    options = MessageOptions(group="g", deduplication_id="d")
    for queue in ("steps.fifo", "steps-dead.fifo"):
        mail.queues._clients.call(
            "sqs",
            "send_message",
            QueueUrl=mail.url(queue),
            **message_parameters(queue, queue, options),
        )
    await replay(visit, "steps-dead.fifo")
    assert mail.bodies("steps.fifo") == ["steps.fifo", "steps-dead.fifo"]


async def test_after_a_failure_the_rest_of_its_group_is_kept(visit, mail, steps):
    """Otherwise the group's order would be lost; other groups go on."""
    options = {"to": "steps-dead.fifo"}
    mail.reject("a1", source="gone.fifo", group="a", **options)
    mail.reject("a2", source="steps.fifo", group="a", **options)
    mail.reject("b1", source="steps.fifo", group="b", **options)
    outcomes = await replay(visit, "steps-dead.fifo")
    assert [outcome.status for outcome in outcomes] == ["kept", "kept", "sent"]
    assert "earlier letter of its message group" in outcomes[1].problem
    assert mail.bodies("steps-dead.fifo") == ["a1", "a2"]


async def test_a_letter_that_the_target_refuses_is_kept(visit, mail):
    """Its neighbours are sent."""
    mail.queues.create("small")
    mail.queues._clients.call(
        "sqs",
        "set_queue_attributes",
        QueueUrl=mail.url("small"),
        Attributes={"MaximumMessageSize": "1024"},
    )
    mail.reject("x" * 2_000)
    mail.reject("y")
    outcomes = {outcome.status: outcome for outcome in await replay(visit, to="small")}
    assert "1024" in outcomes["kept"].problem
    assert not outcomes["kept"].possibly_doubled
    assert mail.bodies("small") == ["y"]
    assert mail.queues.counts("orders-dead").visible == 1


async def test_letters_of_the_largest_size_are_sent(visit, mail):
    """1 MiB each, which fills a request."""
    for letter in "ab":
        mail.queues.send("orders-dead", letter * 1_048_576)
    assert statuses(await replay(visit)) == [("sent", "orders")] * 2
    assert sorted(body[0] for body in mail.bodies("orders")) == ["a", "b"]


async def test_an_edited_letter_is_sent_with_its_new_body(visit, mail):
    """None leaves a letter where it is."""
    mail.reject("1")
    mail.reject("2")

    async def edit(letter):
        return "new" if letter.body == "1" else None

    outcomes = await replay(visit, edit=edit)
    assert [(outcome.status, outcome.problem) for outcome in outcomes] == [
        ("sent", None),
        ("kept", None),
    ]
    assert (mail.bodies("orders"), mail.bodies("orders-dead")) == (["new"], ["2"])


@pytest.fixture
def answer(monkeypatch):
    """Has the server answer an action with an error of this status and code, before or after it."""

    def fail(operation, status, code, *, after=False):
        method = getattr(SQSResponse, operation)

        def failing(self):
            if after:
                method(self)
            return status, {"status": status}, json.dumps({"__type": code, "message": "no"})

        monkeypatch.setattr(SQSResponse, operation, failing)

    return fail


async def test_a_send_without_a_clear_answer_may_be_doubled(visit, mail, answer, monkeypatch):
    """It is kept and named; the next replay sends it again and names it too."""
    name = mail.reject("1")
    with monkeypatch.context():
        answer("send_message", 500, "InternalError", after=True)
        (first,) = await replay(visit)
    monkeypatch.undo()
    assert (first.letter, first.status, first.possibly_doubled) == (name, "kept", True)


async def test_what_was_sent_and_not_deleted_is_only_deleted(visit, mail, answer, monkeypatch):
    """By the next replay, whatever it chooses."""
    mail.reject("1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SQSResponse, "delete_message_batch", lambda self: (500, {"status": 500}, "{}")
        )
        (first,) = await replay(visit)
    assert (first.status, first.possibly_doubled) == ("sent", False)
    assert first.problem.startswith("it was sent and not deleted")
    assert mail.queues.counts("orders-dead").visible == 1
    (second,) = await replay(visit, choice=Choice("body == `7`"))
    assert (second.status, second.problem) == ("sent", None)
    assert mail.bodies("orders") == ["1"]
    assert mail.queues.counts("orders-dead").total == 0
    assert await replay(visit) == []


async def test_a_send_that_was_interrupted_is_repeated_and_named(visit, mail):
    """A journal that ends with the send: whether it happened is unknown."""
    name = mail.reject("1")
    with Journal(mail.url()) as journal:
        journal.record("sending", [name])
    (outcome,) = await replay(visit)
    assert (outcome.status, outcome.possibly_doubled) == ("sent", True)
    assert (await replay(visit), mail.bodies("orders")) == ([], ["1"])


async def test_denied_sends_end_the_replay(visit, mail, answer):
    """Every other letter would be denied too; all are returned."""
    for number in range(15):
        mail.reject(str(number))
    answer("send_message", 403, "AccessDenied")
    outcomes = []
    with pytest.raises(ProviderError, match="allow sqs:SendMessage"):
        await replay_into(outcomes, visit)
    assert [outcome.status for outcome in outcomes] == ["kept"] * 10
    assert not any(outcome.possibly_doubled for outcome in outcomes)
    assert mail.queues.counts("orders-dead").visible == 15


async def test_credentials_that_expire_halfway_lose_nothing(visit, mail):
    """The error is raised after the outcomes that there are."""
    for number in range(15):
        mail.reject(str(number))
    outcomes = []
    expired = (400, {"status": 400}, json.dumps({"__type": "ExpiredToken"}))
    with pytest.MonkeyPatch.context() as patch:

        def expire():
            if len(outcomes) == 10:
                for name in ("send_message", "receive_message", "delete_message_batch"):
                    patch.setattr(SQSResponse, name, lambda self: expired)

        with pytest.raises(ProviderError, match="accepts the credentials"):
            await replay_into(outcomes, visit, expire)
    assert [outcome.status for outcome in outcomes] == ["sent"] * 10
    assert len(mail.bodies("orders")) == 10
    assert mail.queues.counts("orders-dead").total == 5


async def test_two_operators_on_one_machine_take_turns(visit, mail):
    """The second is told; nothing is sent twice."""
    mail.reject("1")
    async with visit() as opened:
        first = replays.replay(opened)
        assert (await anext(first)).status == "sent"
        with pytest.raises(LoaferKitError, match="Another process on this machine"):
            await replay(visit)
        await first.aclose()
    assert mail.bodies("orders") == ["1"]


async def test_two_operators_on_two_machines_send_each_letter_once(
    visit, mail, tmp_path, monkeypatch
):
    """SQS hides from one what the other has."""
    for number in range(30):
        mail.reject(str(number))
    outcomes = []
    async with visit() as here, visit() as there:
        first = replays.replay(here)
        outcomes.append(await anext(first))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
        outcomes += [outcome async for outcome in replays.replay(there)]
        outcomes += [outcome async for outcome in first]
    assert [outcome.status for outcome in outcomes] == ["sent"] * 30
    assert sorted(mail.bodies("orders"), key=int) == [str(number) for number in range(30)]


async def test_a_cancellation_waits_for_what_is_under_way(visit, mail, monkeypatch):
    """Ctrl-C between a send and its deletion doubles nothing."""
    mail.reject("1")
    loop, task = asyncio.get_running_loop(), asyncio.create_task(replay(visit))
    send = SQSResponse.send_message

    def interrupted(self):
        loop.call_soon_threadsafe(task.cancel)
        return send(self)

    monkeypatch.setattr(SQSResponse, "send_message", interrupted)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert mail.queues.counts("orders-dead").total == 0
    assert mail.bodies("orders") == ["1"]


async def test_the_rate_is_kept(visit, mail, monkeypatch):
    """Ten letters in a second take two requests of five, and the pause after each."""
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(replays.asyncio, "sleep", sleep)
    for number in range(6):
        mail.reject(str(number))
    monkeypatch.setattr("loafer_kit.dead_letters.sqs.Visit.keep", lambda self: sleep(0))
    await replay(visit, rate=4.0)
    assert [seconds for seconds in pauses if seconds] == [1.0, 0.5]


async def test_chosen_letters_are_purged(visit, mail):
    """And no others."""
    mail.reject("1")
    mail.reject("2")
    async with visit() as opened:
        outcomes = [outcome async for outcome in replays.purge(opened, Choice("body == `1`"))]
    assert [outcome.status for outcome in outcomes] == ["deleted"]
    assert mail.bodies("orders-dead") == ["2"]


@pytest.mark.parametrize("body", ["{}", ""])
async def test_a_whole_queue_is_emptied(sqs, mail, monkeypatch, body):
    """In one request, which SQS answers with nothing."""
    purge = SQSResponse.purge_queue
    monkeypatch.setattr(
        SQSResponse, "purge_queue", lambda self: (purge(self) and 200, {"status": 200}, body)
    )
    mail.reject("1")
    await sqs.empty(await sqs.queue("orders-dead"))
    assert mail.queues.counts("orders-dead").total == 0


async def send(sqs, mail, letters, queue, key="key"):
    sent = replays.send_letters(sqs, letters, await sqs.queue(queue), key)
    return [outcome async for outcome in sent]


async def exported(visit, queue="orders-dead"):
    async with visit(queue) as opened:
        return [SQS.imported(SQS.exported(letter)) async for letter in opened.letters()]


@pytest.mark.parametrize(("queue", "attributes"), [("orders", 0), ("orders-dead", 3)])
async def test_an_import_keeps_the_death_in_its_own_queue(visit, sqs, mail, queue, attributes):
    """A service that reads the letter again does not need it."""
    mail.reject("1")
    letters = await exported(visit)
    mail.bodies("orders-dead")
    await send(sqs, mail, letters, queue)
    (message,) = mail.queues.receive(queue)
    assert len(message.get("MessageAttributes", {})) == attributes


async def test_an_interrupted_import_goes_on_where_it_was(visit, sqs, mail):
    """What is sent is not sent again; a complete one can be repeated."""
    for number in range(3):
        mail.reject(str(number))
    letters = await exported(visit)
    with Journal(f"{mail.url('orders')}.key") as journal:
        journal.record("sent", ["0"])
        journal.record("sending", ["1"])
    outcomes = await send(sqs, mail, letters, "orders")
    assert [outcome.possibly_doubled for outcome in outcomes] == [False, True, False]
    assert len(mail.bodies("orders")) == 2
    await send(sqs, mail, letters, "orders")
    assert len(mail.bodies("orders")) == 3
