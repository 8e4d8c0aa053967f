"""What a document says of subscriptions, their topics, and the deduplication of FIFO queues."""

import json

import pytest

from loafer_kit.scaffold.sources import asyncapi, cloudformation, terraform
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft

POLICY = {"kind": ["parcel", {"prefix": "p"}]}
ARN = "arn:aws:sns:eu-west-1:123456789012:news"
MADE_ELSEWHERE = "arn:aws:sns:us-east-1:123456789012:made"
SETTINGS = {
    "raw_message_delivery": True,
    "filter_policy": POLICY,
    "filter_policy_scope": "MessageBody",
}
DEDUPLICATION = {
    "content_based_deduplication": True,
    "deduplication_scope": "messageGroup",
    "fifo_throughput_limit": "perMessageGroupId",
}


def camel(settings):
    return {"".join(map(str.capitalize, key.split("_"))): item for key, item in settings.items()}


def template(subscription=(), topic=ARN, **queue):
    return {
        "Parameters": {
            "Kind": {"Type": "String", "Default": "parcel"},
            "Other": {"Type": "String"},
        },
        "Resources": {
            "Orders": {
                "Type": "AWS::SQS::Queue",
                "Properties": {"QueueName": "orders.fifo", **queue},
            },
            "Bills": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "bills"}},
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "made"}},
            "Subscription": {
                "Type": "AWS::SNS::Subscription",
                "Properties": {
                    "Protocol": "sqs",
                    "TopicArn": topic,
                    "Endpoint": {"Fn::GetAtt": ["Bills", "Arn"]},
                    **dict(subscription),
                },
            },
        },
    }


def state(subscription=(), topic=ARN, mode="managed", **queue):
    resources = [
        ("aws_sqs_queue", "managed", {"name": "orders.fifo", "fifo_queue": True, **queue}),
        ("aws_sqs_queue", "managed", {"name": "bills"}),
        ("aws_sns_topic", mode, {"name": "made", "arn": ARN.replace("news", "made")}),
        (
            "aws_sns_topic_subscription",
            "managed",
            {
                "protocol": "sqs",
                "topic_arn": topic,
                "endpoint": "arn:aws:sqs:eu-west-1:123456789012:bills",
                **dict(subscription),
            },
        ),
    ]
    listed = [
        {
            "address": f"{kind}.r{number}",
            "mode": mode,
            "type": kind,
            "name": f"r{number}",
            "values": values,
        }
        for number, (kind, mode, values) in enumerate(resources)
    ]
    return {"values": {"root_module": {"resources": listed}}}


def application(subscription=(), **queue):
    camel_case = {
        key[0].lower() + key[1:]: item for key, item in {**camel(dict(subscription))}.items()
    }
    consumer = {"protocol": "sqs", "endpoint": {"name": "bills"}, **camel_case}
    own = {key[0].lower() + key[1:]: item for key, item in camel(queue).items()}
    return {
        "asyncapi": "2.6.0",
        "info": {"title": "Shop"},
        "channels": {
            "bills": {
                "publish": {
                    "bindings": {
                        "sns": {"topic": {"arn": ARN}, "consumers": [consumer]},
                        "sqs": {"queues": [{"name": "bills"}]},
                    }
                }
            },
            "orders": {
                "bindings": {"sqs": {"queue": {"name": "orders.fifo", **own}}},
                "publish": {},
            },
        },
    }


def read(tmp_path, source, document):
    file = tmp_path / "document.json"
    file.write_text(json.dumps(document))
    return source.read(file)


def queues_of(draft):
    values = {key: draft.values[key] for key in ("queues", "parameters") if key in draft.values}
    service = validation.service(Draft({"name": "foobar", **values}))
    return {queue.queue_name: queue for queue in service.queues}


DOCUMENTS = {
    "cloudformation": (cloudformation, template(camel(SETTINGS), **camel(DEDUPLICATION))),
    "cloudformation, as texts": (
        cloudformation,
        template(
            {**camel(SETTINGS), "RawMessageDelivery": "true"},
            **{**camel(DEDUPLICATION), "ContentBasedDeduplication": "true"},
        ),
    ),
    "terraform": (
        terraform,
        state({**SETTINGS, "filter_policy": json.dumps(POLICY)}, **DEDUPLICATION),
    ),
    "asyncapi": (asyncapi, application(SETTINGS, **DEDUPLICATION)),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_settings_of_subscriptions_and_fifo_queues_are_read(tmp_path, name):
    """Every document says the same of both queues, and nothing of it is listed as left out."""
    source, document = DOCUMENTS[name]

    draft = read(tmp_path, source, document)

    queues = queues_of(draft)
    assert not [note for note in map(str, draft.notes) if "unsupported" in note]

    kept = {**SETTINGS, "filter_policy": json.dumps(POLICY)}
    assert queues["bills"].attributes == kept
    assert queues["bills"].topic == ARN
    assert not queues["bills"].enveloped
    expected = dict(DEDUPLICATION)
    assert queues["orders.fifo"].attributes == expected


DEFAULTS = {
    "raw_message_delivery": False,
    "filter_policy_scope": "MessageAttributes",
}
FIFO_DEFAULTS = {
    "content_based_deduplication": False,
    "deduplication_scope": "queue",
    "fifo_throughput_limit": "perQueue",
}


@pytest.mark.parametrize(
    ("source", "document"),
    [
        (cloudformation, template(camel(DEFAULTS), **camel(FIFO_DEFAULTS))),
        (terraform, state({**DEFAULTS, "filter_policy": ""}, **FIFO_DEFAULTS)),
        (asyncapi, application({**DEFAULTS, "filter_policy": {}})),
    ],
)
def test_defaults_of_aws_are_left_out(tmp_path, source, document):
    """They neither reach the spec nor make a note."""
    draft = read(tmp_path, source, document)

    assert all(queue.attributes == {} for queue in queues_of(draft).values())
    assert "unsupported" not in " ".join(note.message for note in draft.notes)


@pytest.mark.parametrize(
    ("topic", "name", "created"),
    [
        (ARN, ARN, True),
        ({"Ref": "Topic"}, "made", True),
        ({"Fn::Sub": "arn:aws:sns:${AWS::Region}:${AWS::AccountId}:news"}, "news", False),
    ],
)
def test_a_topic_that_a_template_does_not_make_exists(tmp_path, topic, name, created):
    """Its artefacts do not make it either."""
    bills = queues_of(read(tmp_path, cloudformation, template(topic=topic)))["bills"]

    assert (bills.topic, bills.creates_topic) == (name, created)


def test_a_topic_that_only_a_deployment_knows_is_called_like_the_queue(tmp_path):
    """The messages have SNS's envelope, so the subscription counts; the topic exists."""
    policy = {"FilterPolicy": POLICY}
    document = template(policy, topic={"Fn::ImportValue": "news"})

    draft = read(tmp_path, cloudformation, document)

    bills = queues_of(draft)["bills"]
    assert (bills.kind, bills.topic, bills.creates_topic) == ("sns", "bills", False)
    assert bills.attributes == {"filter_policy": json.dumps(POLICY)}
    assert "is known only when the stack is deployed: the spec calls it bills" in [
        note.message for note in draft.notes
    ]


def test_a_topic_of_another_state_is_called_like_the_queue(tmp_path):
    """A plan refers to it, but does not have it."""
    document = state(topic=None)
    planned = document.pop("values")
    address = "aws_sns_topic_subscription"
    (found,) = [item for item in planned["root_module"]["resources"] if item["type"] == address]
    names = ["data.terraform_remote_state.other.outputs.topic"]
    expressions = {"topic_arn": {"references": names}}
    configuration = {"resources": [{"address": found["address"], "expressions": expressions}]}
    document |= {"planned_values": planned, "configuration": {"root_module": configuration}}

    draft = read(tmp_path, terraform, document)

    bills = queues_of(draft)["bills"]
    assert (bills.kind, bills.topic, bills.creates_topic) == ("sns", "bills", False)
    note = "its topic_arn is known only when the plan is applied: the spec calls it bills"
    assert any(note in item.message for item in draft.notes)


@pytest.mark.parametrize(
    ("topic", "mode", "expected"),
    [
        (ARN, "managed", (ARN, True)),
        (ARN.replace("news", "made"), "managed", ("made", True)),
        (MADE_ELSEWHERE, "managed", (MADE_ELSEWHERE, True)),
        (ARN.replace("news", "made"), "data", ("made", False)),
    ],
)
def test_a_topic_that_a_state_does_not_manage_exists(tmp_path, topic, mode, expected):
    """Also one that it only looks up by its name."""
    bills = queues_of(read(tmp_path, terraform, state(topic=topic, mode=mode)))["bills"]

    assert (bills.topic, bills.creates_topic) == expected


def test_a_filter_policy_takes_the_defaults_of_parameters(tmp_path):
    """The note says so; one that is known only when the stack is deployed is left out."""
    document = template({"FilterPolicy": {"kind": [{"Ref": "Kind"}]}})

    draft = read(tmp_path, cloudformation, document)

    assert queues_of(draft)["bills"].attributes == {"filter_policy": '{"kind": ["parcel"]}'}
    assert "has the default of Kind" in [note.message for note in draft.notes]

    document = template({"FilterPolicy": {"kind": [{"Ref": "Other"}]}})
    draft = read(tmp_path, cloudformation, document)
    assert queues_of(draft)["bills"].attributes == {}
    assert "is known only when the stack is deployed: left out" in [n.message for n in draft.notes]


@pytest.mark.parametrize(
    "policy", [{"reason": {"anything-but": "x"}}, {"reason": "x"}, {"reason": []}, "[", 5]
)
def test_a_filter_policy_that_sns_would_refuse_is_left_out(tmp_path, policy):
    """The example of the AsyncAPI binding is one: nested, although it looks at attributes."""
    draft = read(tmp_path, asyncapi, application({"filter_policy": policy}))

    assert queues_of(draft)["bills"].attributes == {}
    assert any("the filter policy is left out" in note.message for note in draft.notes)


def test_deduplication_of_a_queue_that_is_not_fifo_is_left_out(tmp_path):
    """A note says so, and the rest of the document is read."""
    document = template()
    bills = document["Resources"]["Bills"]["Properties"]
    bills["ContentBasedDeduplication"] = True

    draft = read(tmp_path, cloudformation, document)

    assert queues_of(draft)["bills"].attributes == {}
    (note,) = [
        note.message for note in draft.notes if "Dedup" in note.message or "dedup" in note.message
    ]
    assert note == "content_based_deduplication is left out: 'bills' is not a FIFO queue"


def test_of_several_subscriptions_the_one_with_an_envelope_counts(tmp_path):
    """A queue has one topic and one translator; the others are noted."""
    document = template({"RawMessageDelivery": True})
    first = document["Resources"]["Subscription"]
    second = {**first["Properties"], "TopicArn": {"Ref": "Topic"}, "RawMessageDelivery": False}
    document["Resources"]["Second"] = {**first, "Properties": second}

    draft = read(tmp_path, cloudformation, document)

    bills = queues_of(draft)["bills"]
    assert (bills.topic, bills.enveloped) == ("made", True)
    assert "'news' is left out: a queue has one topic, and 'made' comes first" in [
        note.message for note in draft.notes
    ]
