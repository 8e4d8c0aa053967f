"""Dead-letter queues: whose dead letters they take."""

import json

import pytest
from moto.sqs.models import Queue
from remedies import carry_out, problems

from loafer_kit.doctor.queues import allowing
from loafer_kit.local import LocalQueue

PLACE = "arn:aws:sqs:us-east-1:123456789012"
SPEC = [f'name = "{name}"\ndead_letter_queue = "dead"' for name in ("orders", "refunds")]


@pytest.fixture
def queues(local_queues, monkeypatch):
    """Queues that tell their redrive allow policy, which moto takes and keeps to itself."""
    told = [*Queue.BASE_ATTRIBUTES, "RedriveAllowPolicy"]
    monkeypatch.setattr(Queue, "BASE_ATTRIBUTES", told)
    monkeypatch.setattr(Queue, "redrive_allow_policy", None, raising=False)
    for name in ("orders", "refunds"):
        local_queues.create(LocalQueue(name, dead_letter_queue="dead"))
    return local_queues


def set_policy(queues, policy):
    attributes = json.dumps({"RedriveAllowPolicy": json.dumps(policy)})
    url = queues.queue_url("dead")
    carry_out(f"aws sqs set-queue-attributes --queue-url {url} --attributes '{attributes}'")


@pytest.mark.parametrize(
    ("policy", "refused"),
    [
        ({"redrivePermission": "denyAll"}, "(denyAll) refuses orders, refunds"),
        (
            {"redrivePermission": "byQueue", "sourceQueueArns": [f"{PLACE}:orders"]},
            "(byQueue) refuses refunds",
        ),
        (
            {"redrivePermission": "byQueue", "sourceQueueArns": [f"{PLACE}:other"]},
            "(byQueue) refuses orders, refunds",
        ),
    ],
)
def test_a_policy_that_refuses_a_queue_is_a_problem(doctor, queues, policy, refused):
    """One for all queues of the spec: one remedy lets them all in."""
    set_policy(queues, policy)

    [(subject, message, remedy)] = problems(doctor(*SPEC))

    assert (subject, message) == ("dead-letter queue dead", f"its redrive allow policy {refused}")
    carry_out(remedy)
    assert problems(doctor(*SPEC)) == []
    kept = json.loads(queues.attributes("dead")["RedriveAllowPolicy"])["sourceQueueArns"]
    assert set(kept) >= set(policy.get("sourceQueueArns", []))


@pytest.mark.parametrize(
    "policy",
    [
        {"redrivePermission": "allowAll"},
        {
            "redrivePermission": "byQueue",
            "sourceQueueArns": [f"{PLACE}:orders", f"{PLACE}:refunds"],
        },
    ],
)
def test_a_policy_that_allows_every_queue_is_well(doctor, queues, policy):
    """And so is a queue without one, to which SQS's default applies."""
    assert problems(doctor(*SPEC)) == []

    set_policy(queues, policy)

    found = [item for item in doctor(*SPEC) if item["subject"] == "dead-letter queue dead"]
    assert [(item["level"], item["message"]) for item in found] == [("ok", "is as the spec says")]


def test_more_queues_than_a_policy_can_name_need_one_that_allows_all():
    """SQS takes ten."""
    policy = {"redrivePermission": "byQueue", "sourceQueueArns": [str(n) for n in range(9)]}

    assert len(allowing(policy, ["a"])["sourceQueueArns"]) == 10
    assert allowing(policy, ["a", "b"]) == {"redrivePermission": "allowAll"}


def test_attributes_that_may_not_be_read_are_noted(doctor, queues, deny):
    """A service only sends to its dead-letter queue: it has no need of them."""
    deny("sqs", "get_queue_attributes")

    found = [item for item in doctor(*SPEC) if item["subject"] == "dead-letter queue dead"]

    assert [(item["level"], item["remedy"]) for item in found] == [
        ("note", "allow sqs:GetQueueAttributes to the credentials in use")
    ]


def test_deduplication_of_a_fifo_queue_is_compared(doctor, local_queues):
    """The remedy sets it."""
    local_queues.create(LocalQueue("orders.fifo"))
    spec = 'name = "orders.fifo"\ncontent_based_deduplication = true'

    [(subject, message, remedy)] = problems(doctor(spec))

    assert subject == "queue orders.fifo"
    assert message == "its ContentBasedDeduplication is false, in the spec true"
    carry_out(remedy)
    assert problems(doctor(spec)) == []
