"""A queue and its dead-letter queue on the embedded server, for each test."""

import pytest
import rabbit

from loafer_kit.dead_letters.letters import Queue
from loafer_kit.dead_letters.sqs import SQS
from loafer_kit.local import LocalQueue

DEAD = ["orders-dead", "steps-dead.fifo", "lonely-dead"]


class Mail:
    """Puts letters on the queues and looks at what is there."""

    def __init__(self, queues):
        self.queues = queues

    def reject(self, body, reason="ValueError: no", *, source="orders", to="orders-dead", **more):
        """Send a letter as a service does; return its id."""
        added = {
            "DeadLetterReason": reason,
            "DeadLetterSourceQueue": source,
            "DeadLetterMessageId": f"original-of-{body}",
        }
        attributes = added | more.pop("attributes", {})
        return self.queues.send(to, body, attributes=attributes, **more)

    def bodies(self, queue):
        """Take every visible message of a queue."""
        found = []
        while messages := self.queues.receive(queue):
            found += [message["Body"] for message in messages]
            self.queues.delete_messages(queue, messages)
        return found

    def url(self, queue="orders-dead"):
        return self.queues.queue_url(queue)


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """The user's folder for state."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def mail(local_server, local_queues):
    local_queues.create(LocalQueue("orders", dead_letter_queue="orders-dead", max_receive_count=1))
    local_server.polls.release(DEAD)  # an empty queue answers at once
    yield Mail(local_queues)
    local_server.polls.hold(DEAD)


@pytest.fixture
def steps(mail):
    """The name of a FIFO queue."""
    mail.queues.create(LocalQueue("steps.fifo", dead_letter_queue="steps-dead.fifo"))
    return "steps.fifo"


@pytest.fixture
async def sqs(mail):
    async with SQS.opened({}) as broker:
        yield broker


@pytest.fixture
def visit(sqs, mail):
    """Opens a visit to a dead-letter queue."""
    return lambda queue="orders-dead": sqs.visit(Queue(queue, mail.url(queue)))


@pytest.fixture
async def proxy(rabbitmq):
    """A proxy in front of RabbitMQ."""
    async with rabbit.CuttingProxy(rabbitmq) as proxy:
        yield proxy
