"""`loafer-kit doctor`, against the embedded server."""

import json
import re
import threading
import tomllib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from remedies import carry_out, problems
from typer.testing import CliRunner

from loafer_kit.cli import app
from loafer_kit.doctor import service
from loafer_kit.local import LocalQueue

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

ORDERS = 'name = "orders"\ndead_letter_queue = "dead"\nvisibility_timeout = 90'


def test_all_is_well(doctor, local_queues):
    """Queues that are as the spec says need no remedy."""
    local_queues.create(LocalQueue("orders", dead_letter_queue="dead", visibility_timeout=90))

    found = doctor(ORDERS)

    assert problems(found) == []
    assert [item for item in found if item["subject"] == "queue orders"] == [
        {
            "level": "ok",
            "subject": "queue orders",
            "message": "is as the spec says",
            "remedy": None,
        }
    ]


def test_nothing_is_changed(doctor, local_queues):
    """Neither a queue nor a message."""
    local_queues.create(LocalQueue("orders", dead_letter_queue="dead"))
    local_queues.send("orders", {"hello": "world"})
    before = local_queues.attributes("orders")

    doctor(ORDERS)

    assert local_queues.attributes("orders") == before
    assert local_queues.counts("orders").total == 1


def test_another_visibility_timeout_is_a_problem(doctor, local_queues):
    """The remedy is a command."""
    local_queues.create(LocalQueue("orders", dead_letter_queue="dead", visibility_timeout=40))

    [(subject, message, remedy)] = problems(doctor(ORDERS))

    assert subject == "queue orders"
    assert message == "its visibility timeout is 40 s, in the spec 90 s"
    assert remedy == (
        f"aws sqs set-queue-attributes --queue-url {local_queues.queue_url('orders')} "
        '--attributes \'{"VisibilityTimeout": "90"}\''
    )


def test_a_missing_dead_letter_queue_is_a_problem(doctor, local_queues):
    """It comes before the policy that leads to it, which cannot be set without it."""
    local_queues.create(LocalQueue("orders", visibility_timeout=90))

    queue, policy = problems(doctor(ORDERS))

    assert "has no redrive policy; the spec's dead-letter queue is dead" in policy[1]
    assert "deadLetterTargetArn" in policy[2]
    assert ":dead" in policy[2]
    assert queue == (
        "dead-letter queue dead",
        "does not exist",
        "aws sqs create-queue --queue-name dead",
    )


def test_the_remedies_help_in_their_order(doctor, local_queues):
    """Carried out one after the other, they leave nothing to say."""
    local_queues.create("orders.fifo")
    spec = 'name = "orders.fifo"\ndead_letter_queue = "dead.fifo"\nvisibility_timeout = 90'

    for _, _, remedy in problems(doctor(spec)):
        carry_out(remedy)

    assert problems(doctor(spec)) == []


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        (LocalQueue("orders", dead_letter_queue="other"), "its dead letters go to other"),
        (LocalQueue("orders", dead_letter_queue="dead", max_receive_count=2), "maxReceiveCount"),
    ],
)
def test_another_redrive_policy_is_a_problem(doctor, local_queues, queue, message):
    """Target and count."""
    local_queues.create(queue, "dead")

    [(_, said, remedy)] = problems(doctor('name = "orders"\ndead_letter_queue = "dead"'))

    assert said.startswith(message)
    assert "RedrivePolicy" in remedy


def test_a_fifo_mismatch_is_a_problem(doctor, local_queues):
    """The name of the one that exists is told."""
    local_queues.create("orders.fifo")

    [(_, message, remedy)] = problems(doctor('name = "orders"'))

    assert "orders.fifo does: one is a FIFO queue" in message
    assert remedy == "name orders.fifo in loafer.toml"


@pytest.mark.parametrize("name", ["orders.fifo", "http://127.0.0.1:1/123456789012/orders.fifo"])
def test_a_missing_queue_is_a_problem(doctor, local_queues, name):
    """The remedy creates it, as the FIFO queue that it is."""
    [(subject, message, remedy)] = problems(doctor(f'name = "{name}"'))

    assert (subject, message) == ("queue orders.fifo", "does not exist")
    assert "create-queue --queue-name orders.fifo --attributes FifoQueue=true" in remedy


def test_what_a_start_would_warn_of_is_noted(doctor, local_queues):
    """It is no problem."""
    local_queues.create("orders")

    found = doctor('name = "orders"')

    assert problems(found) == []
    notes = [item for item in found if (item["level"], item["subject"]) == ("note", "queue orders")]
    assert "no redrive policy" in notes[0]["message"]
    assert notes[0]["remedy"] == "give the queue a dead-letter queue"


@contextmanager
def refusing(action, answers):
    """An endpoint that denies one action, which the embedded server cannot."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            asked = self.headers["x-amz-target"].rpartition(".")[2]
            denied = asked == action
            answer = {"__type": "com.amazonaws.sqs#AccessDeniedException", "message": "not yours"}
            content = json.dumps(answer if denied else answers[asked]).encode()
            self.send_response(403 if denied else 200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# What `docs/how-to/check-your-setup.md` says is tried.
TRIED = ["GetQueueUrl", "GetQueueAttributes", "DeleteMessage", "ChangeMessageVisibility"]


ANSWERS = {
    "GetQueueUrl": {"QueueUrl": "http://127.0.0.1/1/orders"},
    "GetQueueAttributes": {"Attributes": {"VisibilityTimeout": "90"}},
    "ChangeMessageVisibility": {},
    "DeleteMessage": {},
}


@pytest.fixture
def mine(monkeypatch):
    """Credentials and a region, which are asked for before anything else."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


@pytest.mark.parametrize("action", TRIED)
def test_a_missing_permission_is_named(doctor, mine, action):
    """The remedy is to allow it."""
    with refusing(action, ANSWERS) as url:
        found = doctor('name = "orders"', options=["--endpoint-url", url])

    [(subject, message, remedy)] = problems(found)
    assert subject == "queue orders"
    assert message.startswith("access denied")
    assert remedy == f"allow sqs:{action} to the credentials in use"


def test_a_dead_letter_queue_that_may_not_be_found_is_a_problem(doctor, mine):
    """A service finds it by name, also where its own queue has a URL."""
    policy = {"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:dead", "maxReceiveCount": 5}
    attributes = {"QueueArn": "arn:aws:sqs:eu-west-1:1:orders", "RedrivePolicy": json.dumps(policy)}
    answers = ANSWERS | {"GetQueueAttributes": {"Attributes": attributes}}
    spec = 'name = "http://127.0.0.1/1/orders"\ndead_letter_queue = "dead"'

    with refusing("GetQueueUrl", answers) as url:
        found = doctor(spec, options=["--endpoint-url", url])

    [(subject, message, remedy)] = problems(found)
    assert subject == "dead-letter queue dead"
    assert message.startswith("access denied")
    assert remedy == "allow sqs:GetQueueUrl to the credentials in use"


def test_what_is_tried_is_documented():
    """Each action, and no other."""
    docs = Path(__file__).parents[2] / "docs/how-to/check-your-setup.md"
    (row,) = (line for line in docs.read_text().splitlines() if line.startswith("| permissions |"))

    assert re.findall(r"`sqs:(\w+)`", row) == TRIED


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """An environment that knows nothing of AWS."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION", "DEFAULT_REGION", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def test_credentials_and_region_are_asked_for(doctor, bare):
    """Without them the queues are not checked."""
    found = doctor('name = "orders"')

    assert [item[:2] for item in problems(found)] == [
        ("credentials", "none found"),
        ("region", "none is named"),
    ]
    assert found[-1]["message"] == "were not checked: see credentials and region"


def test_a_local_server_needs_neither(doctor, bare, local_server):
    """What `loafer-kit dev` runs can be looked at as it is."""
    found = doctor('name = "elsewhere"', options=["--endpoint-url", local_server.url])

    [(_, message, remedy)] = problems(found)
    assert message == "does not exist"
    assert f"aws --endpoint-url {local_server.url} sqs create-queue" in remedy


def test_no_secret_is_told(doctor, local_queues, monkeypatch):
    """Only where the credentials come from."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")

    found = doctor('name = "orders"')

    assert "hunter2" not in json.dumps(found)
    assert {"from env"} == {item["message"] for item in found if item["subject"] == "credentials"}


def test_an_endpoint_that_is_not_there_is_one_problem(doctor, local_queues):
    """However many queues there are."""
    options = ["--endpoint-url", "http://127.0.0.1:1"]

    [(subject, message, _)] = problems(doctor('name = "a"', 'name = "b"', options=options))

    assert subject == "AWS"
    assert "Could not connect" in message


def test_a_folder_that_is_not_there_is_named(tmp_path, local_queues):
    """Not the endings that a spec file may have."""
    done = CliRunner().invoke(app, ["doctor", str(tmp_path / "nowhere")])

    assert done.exit_code == 1
    assert f"problem  spec: There is no {tmp_path / 'nowhere'}\n" in done.stdout


def test_a_spec_with_problems_is_one(tmp_path, local_queues):
    """It is told with its place, in a text for people too."""
    (tmp_path / "loafer.toml").write_text('name = "shop"\nqueues = []\n')

    done = CliRunner().invoke(app, ["doctor", str(tmp_path)])

    assert done.exit_code == 1
    assert "problem  spec: " in done.stdout
    assert "a service needs a list of one queue or more" in done.stdout
    assert done.stdout.endswith("1 problem\n")


def test_a_missing_extra_is_noted(monkeypatch):
    """With what it is for and how to get it."""
    monkeypatch.setattr(service, "find_spec", lambda module: None)

    [note] = [item for item in service.interpreter() if item.subject == "extra local"]

    assert str(note) == (
        "   note  extra local: not installed\n"
        "         -> pip install 'loafer-kit[local]' for loafer-kit dev, and tests with queues"
    )


def test_each_extra_is_listed():
    """All but those of the developers of loafer_kit."""
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    listed = [item.subject for item in service.interpreter() if item.subject != "Python"]
    assert listed == [f"extra {name}" for name in sorted(extras.keys() - {"all", "dev", "docs"})]
