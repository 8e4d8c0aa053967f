"""Commands in the project of a service of RabbitMQ."""

import asyncio
import json

import pytest
import rabbit
from kept_projects import run

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
    assert sent.stdout.startswith(f"Sent 1 message to {queue} on amqp://127.0.0.1:")
    more = run("send", queue, "-", "--lines", "--json", stdin='{"id": 2}\n{"id": 3}\n')
    assert json.loads(more.stdout)["sent"] == 2
    bodies = rabbit.bodies(asyncio.run(rabbit.take(rabbitmq, queue, 3)))
    assert bodies == ['{"id": 1}', '{"id": 2}', '{"id": 3}']


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["send", "QUEUE", "{}"], "loafer-kit dev"),
        (["send", "QUEUE", "{}", "--delay", "3"], "for SQS"),
        (["dlq", "list"], "for SQS"),
        (["dev", "--once"], "for SQS"),
    ],
)
def test_what_a_command_cannot_do_it_says_in_one_line(queue, monkeypatch, command, message):
    """Without a broker, too."""
    monkeypatch.delenv("LOAFER_AMQP_URL", raising=False)
    monkeypatch.setattr("loafer_kit.local.records.running", list)
    failed = run(*(queue if word == "QUEUE" else word for word in command))
    assert failed.returncode in (1, 2)
    assert message in failed.stderr
