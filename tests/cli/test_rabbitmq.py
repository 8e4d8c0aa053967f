"""Commands in the project of a service of RabbitMQ."""

import asyncio
import json
import sys
import tempfile

import pytest
import rabbit
from kept_projects import run

from loafer_kit.cli import main
from loafer_kit.ext.amqp import AMQPProvider
from loafer_kit.outcomes import DeadLetter

pytestmark = pytest.mark.slow


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """The queue of the service in the current folder."""
    monkeypatch.chdir(tmp_path)
    name = rabbit.fresh()
    (tmp_path / "loafer.toml").write_text(
        f'name = "shop"\n[[queues]]\nname = "{name}"\nkind = "amqp"\nhandler = "handle_order"\n'
    )
    return name


def test_send_puts_messages_into_the_queue_before_the_service_runs(rabbitmq, queue, monkeypatch):
    """It declares the queue as the service does."""
    monkeypatch.setenv("LOAFER_AMQP_URL", rabbitmq)
    sent = run("send", queue, '{"id": 1}')
    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout.startswith(f"sent 1 message to {queue} on amqp://127.0.0.1:")
    more = run("send", queue, "-", "--lines", "--json", stdin='{"id": 2}\n{"id": 3}\n')
    assert json.loads(more.stdout)["sent"] == 2
    bodies = rabbit.bodies(asyncio.run(rabbit.take(rabbitmq, queue, 3)))
    assert bodies == ['{"id": 1}', '{"id": 2}', '{"id": 3}']


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["send", "QUEUE", "{}"], "loafer-kit dev"),
        (["send", "QUEUE", "{}", "--delay", "3"], "for SQS"),
        (["dlq", "list"], "LOAFER_AMQP_URL"),
        (["dlq", "move", "QUEUE.dead"], "loafer-kit dlq replay"),
    ],
)
def test_what_a_command_cannot_do_it_says_in_one_line(queue, monkeypatch, command, message):
    """Without a broker, too."""
    monkeypatch.delenv("LOAFER_AMQP_URL", raising=False)
    monkeypatch.setattr("loafer_kit.local.servers.running", list)
    failed = run(*(word.replace("QUEUE", queue) for word in command))
    assert failed.returncode in (1, 2)
    assert message in failed.stderr
    assert failed.stderr.count("error") <= 1


@pytest.mark.parametrize("command", [["dlq", "list"], ["send", "QUEUE", "{}"]])
def test_a_url_that_cannot_be_used_is_one_line(queue, monkeypatch, command):
    """A port alone is easily written."""
    monkeypatch.setenv("LOAFER_AMQP_URL", "localhost:5672")
    failed = run(*(word.replace("QUEUE", queue) for word in command))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "must begin with amqp://" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.fixture
def reject(rabbitmq, queue, monkeypatch, tmp_path):
    """Lets messages die; returns nothing."""
    monkeypatch.setenv("LOAFER_AMQP_URL", rabbitmq)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def die(*bodies):
        async def settle():
            provider = AMQPProvider(queue, url=rabbitmq)
            provider.wait_time = 5
            await provider.connect()
            await provider.put(*map(str.encode, bodies))
            for message in await rabbit.fetch(provider, len(bodies)):
                await provider.settle(message, DeadLetter("ValueError: no"))
            await provider.flush()
            await provider.close()

        asyncio.run(settle())

    return die


def test_dead_letters_are_listed_shown_and_sent_back(rabbitmq, queue, reject):
    """As those of SQS are; the spec names no dead-letter queue, so it is the route's own."""
    reject('{"id": 1}', '{"id": 2}')
    dead = f"{queue}.dead"
    listed = run("dlq", "list")
    first, second = listed.stdout.splitlines()
    assert first.startswith(f"{dead}: 2 letters, oldest sent 20")
    assert first.endswith(f", from {queue}")
    assert second == "      2  ValueError: no"
    assert f"queues on {rabbitmq.replace('guest:guest@', '')}" in listed.stderr
    (letter,) = json.loads(run("dlq", "show", dead, "--where", "body.id == `2`", "--json").stdout)[
        "letters"
    ]
    assert (letter["source"], letter["exception"], letter["receive_count"]) == (
        queue,
        "ValueError",
        3,
    )
    shown = run("dlq", "show", dead).stdout.splitlines()
    assert shown[1] == "  ValueError: no"
    planned = run("dlq", "replay", dead)
    assert planned.stdout.count(f" to {queue}: ValueError: no\n") == 2
    assert f"nothing was changed: --yes would send 2 letters of {dead}" in planned.stderr
    done = run("dlq", "replay", dead, "--yes", "--id", letter["id"])
    assert (done.returncode, done.stdout) == (0, f"sent {letter['id']} to {queue}\nsent 1 letter\n")
    assert rabbit.bodies(asyncio.run(rabbit.take(rabbitmq, queue, 1))) == ['{"id": 2}']


def test_dead_letters_are_exported_purged_and_imported(rabbitmq, queue, reject, tmp_path):
    """A file of SQS's letters is refused."""
    reject("1", "2")
    dead = f"{queue}.dead"
    assert run("dlq", "export", dead, "letters.jsonl").returncode == 0
    assert run("dlq", "purge", dead, "--yes").stdout == f"deleted all, about 2 letters, of {dead}\n"
    assert run("dlq", "show", dead).stdout == ""
    done = run("dlq", "import", "letters.jsonl", queue, "--yes")
    assert (done.returncode, done.stdout.count("\nsent 2 letters\n")) == (0, 1)
    assert rabbit.bodies(asyncio.run(rabbit.take(rabbitmq, queue, 2))) == ["1", "2"]
    (tmp_path / "sqs.jsonl").write_text('{"queue": "q", "MessageId": "m", "Body": "b"}\n')
    refused = run("dlq", "import", "sqs.jsonl", queue, "--yes")
    assert refused.stderr.endswith(
        "sqs.jsonl:1: not a line of `dlq export`: it lacks what an exported letter has\n"
    )


def test_the_queue_of_the_service_is_not_looked_at(queue, reject):
    """A slip of the hand must not use up the deliveries of its messages."""
    reject("1")
    for command in (["show"], ["purge", "--where", "body", "--yes"]):
        done = run("dlq", command[0], queue, *command[1:])
        assert done.returncode == 1
        assert f"name its dead-letter queue, {queue}.dead" in done.stderr


def test_without_a_service_the_variable_says_that_rabbitmq_is_meant(queue, reject, tmp_path):
    """The folder of the service is not at hand at night."""
    reject("1")
    (tmp_path / "loafer.toml").unlink()
    assert "ValueError: no" in run("dlq", "show", f"{queue}.dead").stdout
    assert "name a QUEUE" in run("dlq", "list").stderr
    assert "no queue 'nowhere'" in run("dlq", "show", "nowhere").stderr
    url = run("dlq", "show", "https://sqs.eu-west-1.amazonaws.com/1/orders-dead")
    assert "no queue" not in url.stderr


SERVICE = """
from loafer_kit.exceptions import RetryMessage
from loafer_kit.ext.amqp import AMQPRoute
from loafer_kit.managers import LoaferManager


async def handle(message, metadata):
    if message == "bad":
        raise ValueError("it is bad")
    if message == "later" and metadata["deliveries"] < 2:
        raise RetryMessage(delay=1)
    return True


manager = LoaferManager([AMQPRoute("{queue}", handler=handle)])
"""


def test_dev_ends_when_the_queues_are_empty_and_nothing_comes_again(
    rabbitmq, queue, monkeypatch, tmp_path, capfd
):
    """A message that keeps failing is tried five times, at once; a delay of its own is waited for."""
    monkeypatch.setenv("LOAFER_AMQP_URL", rabbitmq)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text(SERVICE.replace("{queue}", queue))
    (package / "__main__.py").write_text("from shop import manager\n\nmanager.run()\n")
    bodies = ('"good"', '"bad"', '"later"')
    sends = [f"--send={queue}={body}" for body in bodies]
    monkeypatch.setattr(sys, "argv", ["loafer-kit", "dev", "--once", "--json", *sends])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    lines = capfd.readouterr().out.splitlines()
    events = {event.pop("event"): event for event in map(json.loads, lines)}
    assert events["done"] == {"failed": []}
    (summary,) = events["summary"]["queues"]
    assert summary == {
        "queue": queue,
        "handled": 2,
        "failed": 6,
        "dead_letter_queue": f"{queue}.dead",
        "dead_letters": {"ValueError: it is bad": 1},
    }
