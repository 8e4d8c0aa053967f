"""The queues and topics of a spec on AWS, and their identifiers in templates."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold import shipping
from loafer_kit.scaffold.shipping import Topic, identifiers

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


def found(spec):
    return {queue.name: queue for queue in shipping.queues(spec)}


def test_what_is_named_is_created(spec_of):
    """The queue, and its dead-letter queue, which knows where its dead letters come from."""
    queues = found(spec_of({"name": "orders", "dead_letter_queue": "orders-dlq"}))

    assert list(queues) == ["orders", "orders-dlq"]
    assert not any(queue.exists for queue in queues.values())
    assert queues["orders"].dead_letter_queue == "orders-dlq"
    assert queues["orders-dlq"].spec is None
    assert queues["orders-dlq"].redrive_sources == ("orders",)


def test_what_has_a_url_exists_with_its_dead_letter_queue(spec_of):
    """Where the URL says; its dead-letter queue is one of this account's, in the same region."""
    queues = found(spec_of({"name": URL, "dead_letter_queue": "dead", "kind": "sns"}))

    orders, dead = queues.values()
    assert (orders.exists, orders.region, orders.account) == (True, "eu-west-1", "123456789012")
    assert (dead.exists, dead.region, dead.account) == (True, "eu-west-1", None)
    assert orders.topic is None


def test_a_url_of_another_server_tells_no_region(spec_of):
    """Then the region and the account are those of the deployment."""
    (queue,) = found(spec_of({"name": "http://localhost:4566/queues/orders"})).values()

    assert (queue.exists, queue.region, queue.account) == (True, None, None)


def test_a_shared_dead_letter_queue_is_there_once(spec_of):
    """It allows all of its sources."""
    queues = found(
        spec_of({"name": "a", "dead_letter_queue": "c"}, {"name": "b", "dead_letter_queue": "c"})
    )

    assert list(queues) == ["a", "b", "c"]
    assert queues["c"].redrive_sources == ("a", "b")


def test_a_dead_letter_queue_may_be_consumed_as_well(spec_of):
    """It is one queue then, which is both."""
    queues = found(spec_of({"name": "a", "dead_letter_queue": "b"}, {"name": "b"}))

    assert list(queues) == ["a", "b"]
    assert queues["b"].spec is not None
    assert queues["b"].dead_letters_of == ("a",)


def test_more_sources_than_sqs_lets_one_name_are_all_allowed(spec_of):
    """Ten is the limit of a redrive-allow policy."""
    queues = found(spec_of(*({"name": f"a{n}", "dead_letter_queue": "b"} for n in range(11))))

    assert len(queues["b"].dead_letters_of) == 11
    assert queues["b"].redrive_sources == ()


def test_a_topic_is_there_once(spec_of):
    """By name it is created, by ARN it exists."""
    arn = "arn:aws:sns:eu-west-1:123456789012:there"
    spec = spec_of(
        {"name": "a", "topic": "t"}, {"name": "b", "topic": "t"}, {"name": "c", "topic": arn}
    )

    assert shipping.topics(shipping.queues(spec)) == (
        Topic("t"),
        Topic("there", arn, exists=True),
    )
    assert Topic("there", arn).region == "eu-west-1"


@pytest.mark.parametrize(
    ("name", "camel_case", "snake_case"),
    [
        ("orders", "Orders", "orders"),
        ("orders-created.fifo", "OrdersCreated", "orders_created"),
        ("orders_queue", "Orders", "orders"),
        ("queue", "Queue", "queue"),
        ("a-very-long-name", "AVeryLongName", "a_very_long_name"),
        ("HTTPErrors", "HTTPErrors", "http_errors"),
        ("1st", "The1st", "the_1st"),
        ("--", "Unnamed", "unnamed"),
    ],
)
def test_an_identifier_reads_well(name, camel_case, snake_case):
    """As one would name a resource."""
    (identifier,) = identifiers([name]).values()

    assert identifier == {"id": camel_case, "label": snake_case}


def test_what_would_be_called_the_same_is_numbered():
    """From the second on."""
    found = identifiers(["orders", "orders_queue", "Orders.fifo"])

    assert [word["id"] for word in found.values()] == ["Orders", "Orders2", "Orders3"]
    assert [word["label"] for word in found.values()] == ["orders", "orders_2", "orders_3"]


@given(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,12}(\.fifo)?", fullmatch=True), unique=True))
def test_identifiers_never_collide(names):
    """Each name has one of its own, also where case is all that differs, or nothing does."""
    found = identifiers(names)

    assert list(found) == names
    words = [word["id"] for word in found.values()]
    labels = [word["label"] for word in found.values()]
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9]*", word) for word in words)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", label) for label in labels)
    assert len({word.lower() for word in words}) == len(set(labels)) == len(names)
