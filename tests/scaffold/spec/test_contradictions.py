"""What contradicts itself in a spec: each problem at the key that is to be changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.spec import contradictions, validation
from loafer_kit.scaffold.spec.specs import Draft, QueueSpec, SpecError


def spec(*queues, name="foobar", **more):
    return validation.service(Draft({"name": name, "queues": list(queues), **more}))


def problems(*queues, **more):
    with pytest.raises(SpecError) as caught:
        spec(*queues, **more)
    return {problem.place: problem.message for problem in caught.value.problems}


def test_queues_of_one_topic_have_one_kind():
    """They get the same messages; the problem stands at the second."""
    queues = [{"name": "a", "topic": "t"}, {"name": "b", "topic": "t", "kind": "s3"}]

    assert problems(*queues) == {
        "queues[1].kind": "every queue of the topic t gets the same messages: sns"
    }
    assert set(problems(*reversed(queues))) == {"queues[1].topic"}


def test_queues_of_one_topic_expect_the_same_types():
    """They get the same messages."""
    typed = {"topic": "t", "by": "kind", "types": {"a": {}}}
    others = {"topic": "t", "by": "kind", "types": {"b": {}}}

    assert set(problems({"name": "q", **typed}, {"name": "p", **others})) == {"queues[1].types"}


@pytest.mark.parametrize(
    ("queue", "place"),
    [
        ({"name": "a", "fifo": True}, "fifo"),
        ({"name": "a.fifo", "fifo": False}, "fifo"),
        ({"name": "a", "kind": "sqs", "topic": "t"}, "topic"),
        ({"name": "a.fifo", "topic": "t"}, "topic"),
        ({"name": "a", "max_receive_count": 3}, "max_receive_count"),
        ({"name": "a", "dead_letter_queue": "a"}, "dead_letter_queue"),
        ({"name": "a.fifo", "dead_letter_queue": "d"}, "dead_letter_queue"),
        ({"name": "a", "dead_letter_queue": "d.fifo"}, "dead_letter_queue"),
        ({"name": "a", "kind": "snss"}, "kind"),
        ({"name": "a", "kind": "eventbrige"}, "kind"),
        ({"name": "a", "kind": "cloudevents", "translator": "Own"}, "translator"),
        ({"name": "a", "kind": "s3", "payload": "Order"}, "payload"),
        ({"name": "a", "translator": "order"}, "translator"),
        ({"name": "a", "wait_time": True}, "wait_time"),
        ({"name": "a", "wait_time": 1.5}, "wait_time"),
        ({"name": "a", "handler_timeout": 0}, "handler_timeout"),
        ({"name": "a", "rate_limit": float("nan")}, "rate_limit"),
        ({"name": "a", "rate_limit": float("inf")}, "rate_limit"),
        ({"name": "a", "rate_limit": 10**400}, "rate_limit"),
    ],
)
def test_what_contradicts_itself_or_sqs_is_refused(queue, place):
    """The problem stands at the key that is to be changed."""
    assert set(problems(queue)) == {f"queues[0].{place}"}


def test_two_queues_cannot_share_a_name():
    """Also when one of them is given as a URL."""
    assert set(problems({"name": "a"}, {"name": "https://host/1/a"})) == {"queues[1].name"}


def test_two_queues_cannot_share_a_handler_and_a_free_name_is_suggested():
    """`a-b` and `a_b` would have the same handler."""
    found = problems({"name": "a-b"}, {"name": "a_b"}, {"name": "c", "handler": "handle_a_b_2"})

    assert list(found) == ["queues[1].handler"]
    assert "like handle_a_b_3" in found["queues[1].handler"]


def test_queues_may_share_an_error_handler_but_it_is_no_handler():
    """One function cannot be both."""
    assert spec({"name": "a", "error_handler": "e"}, {"name": "b", "error_handler": "e"})
    assert set(problems({"name": "a", "error_handler": "handle_a"})) == {"queues[0].error_handler"}


def chain(*pairs):
    return [QueueSpec(name, "sqs", None, dead_letter_queue=target) for name, target in pairs]


@pytest.mark.parametrize(
    "queues", [chain(("a", "b"), ("b", "a")), chain(("a", "b"), ("b", "c"), ("c", "a"))]
)
def test_a_cycle_of_dead_letter_queues_is_a_problem_where_it_closes(queues):
    """Of two queues, or of more."""
    (problem,) = contradictions.dead_letter_cycles(queues)

    assert problem.path == ("queues", len(queues) - 1, "dead_letter_queue")
    assert problem.message == f"dead letters of {queues[-1].name!r} would come back to it"


def test_a_chain_of_dead_letter_queues_is_not_a_problem():
    """Dead letters may be handled, and may fail again."""
    assert list(contradictions.dead_letter_cycles(chain(("a", "b"), ("b", "c"), ("d", "b")))) == []


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"))))
def test_dead_letters_without_a_problem_come_to_rest(pairs):
    """Following them ends at some queue."""
    queues = chain(*dict(pairs).items())
    closing = {problem.path[1] for problem in contradictions.dead_letter_cycles(queues)}
    target = {q.name: q.dead_letter_queue for i, q in enumerate(queues) if i not in closing}

    for start in target:
        seen, name = set(), start
        while name in target and target.get(name) != name:
            assert name not in seen
            seen.add(name)
            name = target.get(name)


@pytest.mark.parametrize(
    ("queue", "key"),
    [
        ({"kind": "amqp", "topic": "t"}, "topic"),
        ({"kind": "amqp", "wait_time": 3}, "wait_time"),
        ({"kind": "amqp", "heartbeat": True}, "heartbeat"),
        ({"kind": "amqp", "fifo": False}, "fifo"),
        ({"kind": "amqp", "raw_message_delivery": True}, "raw_message_delivery"),
        ({"kind": "amqp", "routing_key": "a"}, "routing_key"),
        ({"kind": "amqp", "exchange": "x" * 256}, "exchange"),
        ({"kind": "amqp", "exchange": "a\nb"}, "exchange"),
        ({"kind": "amqp", "exchange": ""}, "exchange"),
        ({"kind": "amqp", "name": "orders.fifo"}, "name"),
        ({"kind": "amqp", "name": "amq.orders"}, "name"),
        ({"kind": "amqp", "name": "a b"}, "name"),
        ({"kind": "amqp", "name": "a" * 256}, "name"),
        ({"kind": "amqp", "dead_letter_queue": "amq.dead"}, "dead_letter_queue"),
        ({"kind": "amqp", "dead_letter_queue": "orders"}, "dead_letter_queue"),
        ({"name": "order.events"}, "name"),
        ({"dead_letter_queue": "orders.dead"}, "dead_letter_queue"),
        ({"kind": "amqp", "name": "https://sqs.eu-west-1.amazonaws.com/123456789012/q"}, "name"),
        ({"kind": "sqs", "exchange": "shop"}, "exchange"),
        ({"routing_key": "a"}, "routing_key"),
    ],
)
def test_keys_of_the_other_broker_are_refused(queue, key):
    """At their places."""
    assert f"queues[0].{key}" in problems({"name": "orders", **queue})


def test_a_service_reads_the_queues_of_one_broker():
    """The later queue is the problem, in either order."""
    amqp, sqs = {"name": "a", "kind": "amqp"}, {"name": "b"}
    message = "a service reads the queues of one broker: make another service for this one"
    assert problems(amqp, sqs) == {"queues[1].name": message}
    assert problems(sqs, amqp) == {"queues[1].kind": message}


@pytest.mark.parametrize("name", ["cloudformation", "sam", "terraform", "ecs", "monitoring"])
def test_a_service_of_rabbitmq_has_no_artefacts_for_sqs(name):
    """The problem names those that it may have."""
    found = problems({"name": "a", "kind": "amqp"}, **{"with": ["ci", name]})
    assert list(found) == ["with[1]"]
    assert "ci, compose, kubernetes" in found["with[1]"]
