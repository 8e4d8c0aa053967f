"""The IAM policy: exactly what a running service asks of AWS."""

import http.server
import json
import threading
import urllib.request

import pytest

from loafer_kit.exceptions import RejectMessage, RetryMessage
from loafer_kit.ext.aws.routes import SNSQueueRoute, SQSRoute
from loafer_kit.local import LocalQueue
from loafer_kit.managers import LoaferManager
from loafer_kit.scaffold import shipping
from loafer_kit.scaffold.shipping import CONSUME, FIND

QUEUES = [
    {"name": "orders", "dead_letter_queue": "dead"},
    {"name": "news", "kind": "sns"},
    {"name": "a", "dead_letter_queue": "b"},
    {"name": "b"},
]


def allowed(spec):
    """Every action with each queue that it is allowed on."""
    return {
        (action, queue.name)
        for actions, queues in shipping.statements(shipping.queues(spec)).items()
        for action in actions
        for queue in queues
    }


def test_a_queue_is_read_and_its_dead_letter_queue_is_written(spec_of):
    """Each with its own actions."""
    found = allowed(spec_of({"name": "orders", "dead_letter_queue": "dead"}))

    assert {action for action, queue in found if queue == "orders"} == {FIND, *CONSUME}
    assert {action for action, queue in found if queue == "dead"} == {FIND, "sqs:SendMessage"}


def test_a_url_is_not_looked_up(spec_of):
    """The permission to find the queue is left out."""
    found = allowed(spec_of({"name": "https://sqs.eu-west-1.amazonaws.com/123456789012/a"}))

    assert found == {(action, "a") for action in CONSUME}


def test_queues_with_the_same_permissions_share_a_statement(spec_of):
    """As one would write it."""
    found = shipping.statements(shipping.queues(spec_of(*QUEUES)))

    assert [[queue.name for queue in queues] for queues in found.values()] == [
        ["orders", "news", "a"],
        ["b"],
        ["dead"],
    ]


class _Recorder(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the server, and keeps what was asked of which queue."""

    server_url = ""
    asked: set

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        action = self.headers["X-Amz-Target"].rpartition(".")[2].removesuffix("Batch")
        asked = json.loads(body)
        queue = asked.get("QueueName") or asked["QueueUrl"].rpartition("/")[2]
        self.asked.add((f"sqs:{action}", queue))
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        request = urllib.request.Request(self.server_url, body, headers)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request) as answer:
            content = answer.read()
            self.send_response(answer.status)
            for name in ("Content-Type", "x-amzn-RequestId"):
                self.send_header(name, answer.headers.get(name, ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def asked(local_server, local_queues, monkeypatch):
    """What a service asks of SQS while the test runs."""
    asked = set()
    handler = type("Recorder", (_Recorder,), {"server_url": local_server.url, "asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
            monkeypatch.setenv(name, url)
        yield asked
        server.shutdown()
        thread.join()


class Handler:
    """Comes back once, then raises what it is told to."""

    def __init__(self, then=None):
        self.then = then
        self.seen = set()

    async def __call__(self, message, metadata):
        if message not in self.seen:
            self.seen.add(message)
            raise RetryMessage(delay=0)
        if self.then is not None:
            raise self.then
        return True


def test_a_running_service_asks_for_what_the_policy_allows_and_nothing_else(
    asked, local_queues, spec_of
):
    """Finding, receiving, putting back, deleting, and dead letters: every action of every queue."""
    local_queues.create(
        LocalQueue("orders", dead_letter_queue="dead"),
        LocalQueue("news", topic="news"),
        LocalQueue("a", dead_letter_queue="b"),
    )
    soon = {"options": {"WaitTimeSeconds": 1}}
    rejecting = Handler(RejectMessage("no"))
    manager = LoaferManager(
        routes=(
            SQSRoute("orders", soon, handler=rejecting, dead_letter_queue="dead"),
            SNSQueueRoute("news", soon, handler=Handler()),
            SQSRoute("a", soon, handler=rejecting, dead_letter_queue="b"),
            SQSRoute("b", soon, handler=Handler()),
        )
    )
    for queue in ("orders", "a", "b"):
        local_queues.send(queue, json.dumps(queue))
    local_queues.publish("news", json.dumps("news"))

    while any(local_queues.counts(queue).total for queue in ("orders", "news", "a", "b")):
        manager.run(forever=False)

    assert asked == allowed(spec_of(*QUEUES))
