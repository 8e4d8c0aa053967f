"""What `terraform show -json` prints, of a state and of a plan."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.scaffold.sources import terraform
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.problems import SpecError

DOCUMENTS = Path(__file__).parent / "documents"


def test_a_state_becomes_a_service():
    """Modules are looked into; redrive policies are JSON in texts, or resources of their own."""
    draft = terraform.read(DOCUMENTS / "shop.tfstate.json")

    assert draft.values["queues"] == [
        {
            "name": "orders.fifo",
            "dead_letter_queue": "orders-dlq.fifo",
            "max_receive_count": 4,
            "wait_time": 20,
            "visibility_timeout": 120,
        },
        {
            "name": "news",
            "kind": "sns",
            "topic": "news",
            "dead_letter_queue": "news-dlq",
            "max_receive_count": 7,
        },
    ]
    assert [note.message for note in draft.notes] == [
        "not looked at: aws_iam_role",
        "'aws_sqs_queue.orders': unsupported: content_based_deduplication",
        "'aws_sqs_queue.orders_dlq': unsupported: message_retention_seconds",
        "'aws_sns_topic_subscription.news': unsupported: filter_policy",
        "'aws_sns_topic_subscription.mail': delivers by 'email', not to a queue",
    ]


def test_a_plan_refers_to_what_is_not_known_yet():
    """Its expressions lead to dead-letter queues and topics, also between instances of one each."""
    draft = terraform.read(DOCUMENTS / "shop.tfplan.json")

    assert draft.values["queues"] == [
        {"name": "orders", "dead_letter_queue": "orders-dlq", "visibility_timeout": 60},
        {"name": "work-a", "dead_letter_queue": "work-a-dlq"},
        {"name": "work-b", "dead_letter_queue": "work-b-dlq"},
        {"name": "this"},
    ]
    messages = [note.message for note in draft.notes]
    assert (
        "'aws_sqs_queue.orders': its maxReceiveCount is known only when the plan is applied"
        in messages
    )
    assert any("the spec calls it this" in message for message in messages)
    assert any("'inner' delivers raw messages" in message for message in messages)
    assert any("its topic_arn is known only when" in message for message in messages)


@pytest.mark.parametrize("content", [{}, {"values": None}, {"planned_values": {"root_module": []}}])
def test_a_document_without_queues_is_a_problem(tmp_path, content):
    """The problem says what was looked for."""
    file = tmp_path / "show.json"
    file.write_text(json.dumps(content))

    with pytest.raises(SpecError, match="describes no queue"):
        validation.service(terraform.read(file))


hostile = st.text(max_size=12) | st.sampled_from(
    [
        "{{ 7*7 }}",
        "\n",
        "\u2028",
        "sqs",
        "arn:aws:sqs:x:1:q",
        "[" * 9999,
        '{"deadLetterTargetArn": 5}',
    ]
)
scalars = hostile | st.none() | st.booleans() | st.integers()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(hostile, inner, max_size=2),
    max_leaves=5,
)
keys = st.sampled_from(
    [
        "batch_size", "endpoint", "event_source_arn", "fifo_queue", "name", "protocol", "queue_url",
        "redrive_policy", "topic_arn", "visibility_timeout_seconds",
    ]
)  # fmt: skip
kinds = st.sampled_from(
    [
        "aws_sqs_queue",
        "aws_sns_topic",
        "aws_sns_topic_subscription",
        "aws_sqs_queue_redrive_policy",
        "aws_lambda_event_source_mapping",
    ]
)
addresses = st.sampled_from(["aws_sqs_queue.a", "aws_sns_topic.a", "module.m.aws_sqs_queue.a[0]"])
resources = st.fixed_dictionaries(
    {"type": kinds | values, "address": addresses | values, "name": values},
    optional={"values": st.dictionaries(keys, values, max_size=4) | values},
)
references = st.dictionaries(
    keys,
    st.fixed_dictionaries({"references": st.lists(addresses | values, max_size=2)}),
    max_size=2,
)
expressions = st.fixed_dictionaries({"address": addresses, "expressions": references | values})


@pytest.mark.slow
@given(
    st.lists(resources | values, max_size=4) | values,
    st.lists(expressions | values, max_size=3) | values,
    st.lists(
        st.fixed_dictionaries({"address": values, "resources": st.lists(resources, max_size=1)})
    )
    | values,
)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_no_output_is_a_crash(tmp_path_factory, found, configured, modules):
    """Whatever stands anywhere: a draft that validation accepts, or errors of one line each."""
    file = tmp_path_factory.mktemp("outputs") / "show.json"
    module = {"resources": found, "child_modules": modules}
    configuration = {"root_module": {"resources": configured, "module_calls": {"m": {}}}}
    content = {"planned_values": {"root_module": module}, "configuration": configuration}
    file.write_text(json.dumps(content))
    try:
        draft = terraform.read(file)
        messages = [*validation.problems_of(draft), *draft.notes]
    except LoaferKitError as error:
        messages = [error]
    assert all(str(message).isprintable() for message in messages)
