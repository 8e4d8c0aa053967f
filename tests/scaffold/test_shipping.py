"""The queues and topics of a spec on AWS, their identifiers, and the figures that follow from a spec."""

import inspect
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.config import RouteOptions
from loafer_kit.engine import jobs
from loafer_kit.managers import LoaferManager
from loafer_kit.providers import AbstractProvider
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


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({}, 600),
        ({"concurrency": 50}, 3000),
        ({"handler_timeout": 20}, 30),
        ({"handler_timeout": 0.5, "concurrency": 4}, 480),
        ({"rate_limit": 2}, 120),
        ({"rate_limit": 100}, 600),
        ({"handler_timeout": 43200}, 10),
        ({"handler_timeout": 1200, "concurrency": 4}, 4),
    ],
)
def test_the_backlog_of_a_task_is_what_it_works_off_in_a_minute(options, messages):
    """So many at a time, so long each, at most the rate limit; or what it handles at once."""
    assert shipping.backlog(options)["messages"] == messages


def test_a_handling_time_that_nobody_named_is_a_guess():
    """The templates say so."""
    assert shipping.backlog({})["assumed"]
    assert not shipping.backlog({"handler_timeout": 3})["assumed"]


@pytest.mark.parametrize(
    ("options", "age"),
    [({}, 300), ({"visibility_timeout": 60}, 300), ({"visibility_timeout": 600}, 1200), ({"handler_timeout": 900}, 1800)],
)  # fmt: skip
def test_the_alarm_lets_a_message_fail_once(options, age):
    """Five minutes at least, and two rounds of a slow handler."""
    assert shipping.alarm_age(options) == age


numbers = st.floats(0, 43200, exclude_min=True)


@given(
    st.fixed_dictionaries(
        {}, optional={"concurrency": st.integers(1, 10000), "handler_timeout": numbers, "rate_limit": numbers}
    )
)  # fmt: skip
def test_the_figures_stay_within_reason(options):
    """Whatever a spec may say."""
    assert 1 <= shipping.backlog(options)["messages"] <= 120_000
    assert math.isfinite(shipping.alarm_age(options))


def test_the_figures_agree_with_the_runtime():
    """The default concurrency; and a stop ends before the orchestrator kills the task."""
    grace = inspect.signature(LoaferManager).parameters["grace_time"].default
    settling = jobs._CANCEL_GRACE + AbstractProvider.poll_grace

    assert RouteOptions().concurrency == shipping.DEFAULT_CONCURRENCY
    assert grace + settling + 5 <= shipping.STOP
    assert shipping.STOP <= 120  # what Fargate allows
