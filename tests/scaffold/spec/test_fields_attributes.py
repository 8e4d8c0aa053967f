"""What a spec says of a queue's subscription, and of a FIFO queue."""

import pytest

from loafer_kit.scaffold.sources import command_line
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft, SpecError

FIFO = {"name": "q.fifo"}
TOPIC = {"name": "q", "topic": "t"}


def queue_of(queue):
    return validation.service(Draft({"name": "foobar", "queues": [queue]})).queues[0]


def problem_of(queue):
    with pytest.raises(SpecError) as caught:
        queue_of(queue)
    (problem,) = caught.value.problems
    return problem.place.partition("].")[2], problem.message


def test_a_queue_has_no_attributes_unless_they_differ_from_the_defaults_of_aws():
    """A default that is written down says nothing."""
    defaults = {"raw_message_delivery": False, "filter_policy_scope": "MessageAttributes"}
    more = {"content_based_deduplication": False, "deduplication_scope": "queue"}

    assert queue_of({**TOPIC, **defaults}).attributes == {}
    assert queue_of({**FIFO, **more, "fifo_throughput_limit": "perQueue"}).attributes == {}


def test_a_filter_policy_is_a_table_or_json():
    """The spec keeps it as JSON, which can say null too."""
    table = queue_of({**TOPIC, "filter_policy": {"store": ["a", 1, True]}})
    text = queue_of({**TOPIC, "filter_policy": '{"store":["a",1,true]}'})

    assert table == text
    assert table.attributes == {"filter_policy": '{"store": ["a", 1, true]}'}


def test_raw_messages_have_no_envelope():
    """Only the default of a topic's queue has one."""
    assert queue_of(TOPIC).enveloped
    assert not queue_of({**TOPIC, "raw_message_delivery": True}).enveloped
    assert not queue_of({"name": "q"}).enveloped


@pytest.mark.parametrize(
    ("queue", "place", "message"),
    [
        ({"name": "q", "raw_message_delivery": True}, "raw_message_delivery", "needs a topic"),
        ({"name": "q", "filter_policy": {"a": [1]}}, "filter_policy", "needs a topic"),
        ({**TOPIC, "raw_message_delivery": "yes"}, "raw_message_delivery", "must be true or false"),
        ({**TOPIC, "filter_policy": 5}, "filter_policy", "must be a table, or JSON of one, not 5"),
        ({**TOPIC, "filter_policy": "store"}, "filter_policy", "is not JSON"),
        ({**TOPIC, "filter_policy": "[1]"}, "filter_policy", "must be a table, or JSON of one"),
        ({**TOPIC, "filter_policy": {}}, "filter_policy", "is empty: leave it out"),
        ({**TOPIC, "filter_policy": {"a": "b"}}, "filter_policy", "'a' must be a list of what"),
        ({**TOPIC, "filter_policy": {"a": []}}, "filter_policy", "'a' must be a list of what"),
        ({**TOPIC, "filter_policy": '{"a": [NaN]}'}, "filter_policy", "is not JSON"),
        (
            {**TOPIC, "filter_policy": {"a": [float("inf")]}},
            "filter_policy",
            "holds a value that JSON does not have",
        ),
        ({**TOPIC, "filter_policy": "[" * 9999}, "filter_policy", "is not JSON"),
        ({**TOPIC, "filter_policy": {"a": {"b": [1]}}}, "filter_policy", "'a' must be a list, unless"),
        ({**TOPIC, "filter_policy_scope": "Body"}, "filter_policy_scope", "is not one of"),
        ({"name": "q", "deduplication_scope": "queue"}, "deduplication_scope", "needs a FIFO queue"),
        ({**FIFO, "deduplication_scope": "group"}, "deduplication_scope", "is not one of"),
        (
            {**FIFO, "fifo_throughput_limit": "perMessageGroupId"},
            "fifo_throughput_limit",
            "perMessageGroupId needs deduplication_scope = 'messageGroup'",
        ),
    ],
)  # fmt: skip
def test_what_aws_would_refuse_is_a_problem(queue, place, message):
    """In one line, with its place."""
    found, told = problem_of(queue)

    assert found == place
    assert message in told


def test_a_flag_takes_a_filter_policy_with_its_commas():
    """A comma within JSON begins no setting."""
    typed = 'q,topic=t,filter_policy={"a": ["x,}", 1], "b": [2]},raw_message_delivery=yes'

    draft = command_line.merge(Draft({}), "foobar", [typed])

    (queue,) = validation.service(draft).queues
    assert queue.attributes == {
        "raw_message_delivery": True,
        "filter_policy": '{"a": ["x,}", 1], "b": [2]}',
    }
