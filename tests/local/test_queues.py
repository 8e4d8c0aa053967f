"""Queues on the embedded server, over real HTTP."""

import json

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from loafer_kit.doctor.topics import judge_policy
from loafer_kit.exceptions import ServiceError
from loafer_kit.local import LocalQueue, LocalQueues, QueueCounts


def test_a_queue_gets_its_attributes(local_queues):
    """A queue has the visibility timeout and the redrive policy that were asked for."""
    local_queues.create(
        LocalQueue("orders", dead_letter_queue="dead", max_receive_count=3, visibility_timeout=7)
    )
    attributes = local_queues.attributes("orders")
    assert attributes["VisibilityTimeout"] == "7"
    assert json.loads(attributes["RedrivePolicy"]) == {
        "deadLetterTargetArn": local_queues.queue_arn("dead"),
        "maxReceiveCount": 3,
    }


def test_a_fifo_queue_keeps_order_within_a_group(local_queues):
    """A name that ends in .fifo makes a FIFO queue, and equal bodies are separate messages."""
    local_queues.create(LocalQueue("steps.fifo", dead_letter_queue="dead.fifo"))
    for body in ("one", "two", "two"):
        local_queues.send("steps.fifo", body, group="a")
    assert local_queues.attributes("steps.fifo")["FifoQueue"] == "true"
    assert [message["Body"] for message in local_queues.receive("steps.fifo")] == [
        "one",
        "two",
        "two",
    ]


@pytest.mark.parametrize("topic", ["news", "arn:aws:sns:eu-west-1:42:news"])
def test_a_topic_delivers_into_its_queue(local_queues, topic):
    """A queue with a topic gets what is published there, in SNS's envelope."""
    local_queues.create(LocalQueue("inbox", topic=topic))
    local_queues.publish("news", {"key": True})
    (message,) = local_queues.receive("inbox")
    assert json.loads(json.loads(message["Body"])["Message"]) == {"key": True}


def test_a_queue_lets_its_topic_send(local_queues):
    """Its policy is what AWS asks for, so that the same queue would work there."""
    local_queues.create(LocalQueue("inbox", topic="news"))
    policy = local_queues.attributes("inbox")["Policy"]
    queue, topic = local_queues.queue_arn("inbox"), "arn:aws:sns:us-east-1:123456789012:news"
    assert judge_policy(policy, queue, topic) == "allowed"


def test_a_fifo_topic_delivers_into_its_fifo_queue(local_queues):
    """A FIFO topic is made as one."""
    local_queues.create(LocalQueue("inbox.fifo", topic="news.fifo"))
    local_queues.publish("news.fifo", "text", group="a")
    assert local_queues.counts("inbox.fifo").total == 1


def test_a_message_goes_to_the_dead_letter_queue_after_its_receives(local_queues):
    """The redrive policy works as in SQS."""
    local_queues.create(
        LocalQueue("jobs", dead_letter_queue="dead", max_receive_count=2, visibility_timeout=0)
    )
    local_queues.send("jobs", "poison")
    for _ in range(3):
        local_queues.receive("jobs")
    assert local_queues.counts("jobs").total == 0
    assert [message["Body"] for message in local_queues.receive("dead")] == ["poison"]


def test_creating_again_leaves_a_queue_as_it_is(local_queues):
    """An existing queue keeps its attributes and its messages."""
    local_queues.create(LocalQueue("jobs", visibility_timeout=3))
    local_queues.send("jobs", "kept")
    local_queues.create(LocalQueue("jobs", visibility_timeout=9))
    assert local_queues.attributes("jobs")["VisibilityTimeout"] == "3"
    assert local_queues.counts("jobs").visible == 1


def test_counts_tell_where_messages_are(local_queues):
    """Visible, in flight and delayed messages are counted apart."""
    local_queues.create("jobs")
    local_queues.send("jobs", {"delayed": True}, delay=60)
    local_queues.send("jobs", "taken", attributes={"origin": "test"})
    (message,) = local_queues.receive("jobs")
    assert message["MessageAttributes"]["origin"]["StringValue"] == "test"
    local_queues.send("jobs", "waiting")
    counts = local_queues.counts("jobs")
    assert (counts.visible, counts.in_flight, counts.delayed, counts.total) == (1, 1, 1, 3)


def test_fresh_queues_never_share_a_name(local_queues):
    """Each call makes another queue, FIFO when asked."""
    names = {
        local_queues.fresh(),
        local_queues.fresh(),
        local_queues.fresh(fifo=True, visibility_timeout=1),
    }
    assert set(local_queues.names()) == names
    assert sum(name.endswith(".fifo") for name in names) == 1


def test_a_refusal_is_one_line_that_names_the_queue(local_queues):
    """A missing queue is named, and the code is at hand."""
    with pytest.raises(ServiceError, match=r"^nowhere: The specified queue does not exist\.$") as e:
        local_queues.send("nowhere", "text")
    assert "NonExistentQueue" in e.value.code


def test_a_deleted_queue_is_an_error_until_it_is_created_again(local_queues):
    """Also for somebody who has used it before."""
    local_queues.create("jobs")
    assert local_queues.counts("jobs").total == 0
    local_queues.delete("jobs")

    with pytest.raises(ServiceError, match=r"^jobs: The specified queue does not exist\.$"):
        local_queues.counts("jobs")

    local_queues.create("jobs")
    local_queues.send("jobs", 1)
    assert local_queues.counts("jobs").total == 1


def test_a_client_of_any_region_sees_the_same_queues(local_server, local_queues):
    """A service that names its own region needs no change to run here."""
    local_queues.create("jobs")
    elsewhere = LocalQueues(local_server.url, region="eu-west-1")
    assert elsewhere.names() == ["jobs"]
    elsewhere.close()


def test_counts_read_well():
    """What is nought is left out."""
    assert str(QueueCounts(visible=1, in_flight=0, delayed=2)) == "1 visible and 2 delayed"
    assert str(QueueCounts(visible=0, in_flight=0, delayed=0)) == "none"


def test_a_queue_with_attributes_can_be_a_key():
    """`dev` counts the messages of each."""
    queue = LocalQueue("jobs", topic="news", subscription={"RawMessageDelivery": "true"})
    assert {queue: 1}[queue] == 1


def test_a_filter_policy_applies(local_queues):
    """Only what it matches is delivered."""
    policy = {"FilterPolicy": '{"kind": ["parcel"]}'}
    local_queues.create(LocalQueue("inbox", topic="news", subscription=policy))

    local_queues.publish("news", "other", attributes={"kind": "letter"})
    local_queues.publish("news", "mine", attributes={"kind": "parcel"})

    (message,) = local_queues.receive("inbox")
    assert json.loads(message["Body"])["Message"] == "mine"


def test_raw_delivery_applies(local_queues):
    """The message arrives as it was published."""
    local_queues.create(
        LocalQueue("inbox", topic="news", subscription={"RawMessageDelivery": "true"})
    )

    local_queues.publish("news", "text")

    (message,) = local_queues.receive("inbox")
    assert message["Body"] == "text"


def test_only_content_based_deduplication_makes_an_id_of_the_body(local_queues):
    """As on AWS: by default each message needs an id of its own."""
    ids = {"QueueUrl": None, "MessageBody": "x", "MessageGroupId": "a"}
    local_queues.create(
        "plain.fifo",
        LocalQueue("based.fifo", attributes={"ContentBasedDeduplication": "true"}),
    )
    client = Session().create_client("sqs")

    client.send_message(**ids | {"QueueUrl": local_queues.queue_url("based.fifo")})
    with pytest.raises(ClientError, match="ContentBasedDeduplication"):
        client.send_message(**ids | {"QueueUrl": local_queues.queue_url("plain.fifo")})
    client.close()


def test_queues_with_attributes_can_be_keys():
    """As `dev` counts their messages."""
    one, other = LocalQueue("a", attributes={"x": "y"}), LocalQueue("a", attributes={"x": "z"})
    assert {one: 1, other: 2}[LocalQueue("a", attributes={"x": "y"})] == 1
