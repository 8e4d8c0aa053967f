"""What a spec cannot say is listed: each key of each kind of node, with its place."""

import copy
import json

import pytest
from botocore.session import Session
from quiet_documents import (
    STATE,
    TEMPLATE,
    VERSION_2,
    VERSION_3,
    arn,
    redrive_policy,
    resource,
)

from loafer_kit.local import LocalQueue
from loafer_kit.scaffold.sources import asyncapi, aws, cloudformation, terraform
from loafer_kit.scaffold.spec import validation

UNHEARD = "unheardOf"
# A kind of node, and one place in its document.
RESOURCES, EVENTS = ("Resources",), ("Resources", "Function", "Properties", "Events")
QUEUE_BINDING = ("channels", "orders", "bindings", "sqs", "queue")
STATE_RESOURCES = ("values", "root_module", "resources")
MESSAGE_2 = ("channels", "orders", "publish", "message")
MESSAGE_3 = ("channels", "orders", "messages", "order")
NEWS_2 = ("channels", "news", "publish", "bindings")
NEWS_3 = ("operations", "onNews", "bindings")
PLACES = {
    cloudformation: [
        (TEMPLATE, ()),
        (TEMPLATE, (*RESOURCES, "Orders")),
        (TEMPLATE, (*RESOURCES, "Orders", "Properties")),
        (TEMPLATE, (*RESOURCES, "Orders", "Properties", "RedrivePolicy")),
        (TEMPLATE, (*RESOURCES, "Dead")),
        (TEMPLATE, (*RESOURCES, "Dead", "Properties")),
        (TEMPLATE, (*RESOURCES, "Topic")),
        (TEMPLATE, (*RESOURCES, "Topic", "Properties")),
        (TEMPLATE, (*RESOURCES, "Topic", "Properties", "Subscription", 0)),
        (TEMPLATE, (*RESOURCES, "Subscription")),
        (TEMPLATE, (*RESOURCES, "Subscription", "Properties")),
        (TEMPLATE, (*RESOURCES, "Mapping")),
        (TEMPLATE, (*RESOURCES, "Mapping", "Properties")),
        (TEMPLATE, (*RESOURCES, "Function")),
        (TEMPLATE, (*RESOURCES, "Function", "Properties")),
        (TEMPLATE, ("Globals", "Function")),
        (TEMPLATE, (*EVENTS, "Orders")),
        (TEMPLATE, (*EVENTS, "Orders", "Properties")),
        (TEMPLATE, (*EVENTS, "Bills")),
        (TEMPLATE, (*EVENTS, "Bills", "Properties")),
        (TEMPLATE, (*EVENTS, "Bills", "Properties", "SqsSubscription")),
    ],
    asyncapi: [
        (document, place)
        for document, places in (
            (
                VERSION_2,
                [
                    ("channels", "orders", "publish"),
                    ("channels", "orders", "publish", "traits", 0),
                    ("channels", "orders", "publish", "traits", 0, "bindings"),
                    ("channels", "orders", "publish", "traits", 0, "bindings", "sqs"),
                    MESSAGE_2,
                    (*MESSAGE_2, "bindings"),
                    (*MESSAGE_2, "traits", 0),
                    NEWS_2,
                    (*NEWS_2, "sns"),
                    (*NEWS_2, "sns", "consumers", 0),
                    (*NEWS_2, "sqs"),
                    (*NEWS_2, "sqs", "queues", 0),
                ],
            ),
            (
                VERSION_3,
                [
                    ("operations", "onOrder"),
                    ("operations", "onOrder", "traits", 0),
                    MESSAGE_3,
                    (*MESSAGE_3, "bindings"),
                    (*MESSAGE_3, "traits", 0),
                    NEWS_3,
                    (*NEWS_3, "sns"),
                    (*NEWS_3, "sns", "consumers", 0),
                    (*NEWS_3, "sqs"),
                    (*NEWS_3, "sqs", "queues", 0),
                ],
            ),
        )
        for place in [
            *places,
            (),
            ("channels", "orders"),
            ("channels", "orders", "bindings"),
            ("channels", "orders", "bindings", "sqs"),
            ("channels", "orders", "bindings", "sqs", "queue"),
            ("channels", "orders", "bindings", "sqs", "queue", "redrivePolicy"),
            ("channels", "orders", "bindings", "sqs", "deadLetterQueue"),
            ("channels", "news", "bindings", "sns"),
        ]
    ],
    terraform: [(STATE, (*STATE_RESOURCES, number)) for number in range(7)],
}
CASES = [
    pytest.param(source, document, place, id=f"{source.__name__.rpartition('.')[2]}: {place}")
    for source, cases in PLACES.items()
    for document, place in cases
]


def read(tmp_path, source, document):
    file = tmp_path / "document.json"
    file.write_text(json.dumps(document))
    draft = source.read(file)
    assert not draft.problems
    return draft


def with_key(document, place, key, value):
    """The document with one key more; a Terraform resource has its keys in `values`."""
    document = copy.deepcopy(document)
    node = document
    for step in place:
        node = node[step]
    node.get("values", node)[key] = value
    return document


@pytest.mark.parametrize("document", [TEMPLATE, VERSION_2, VERSION_3, STATE])
def test_defaults_and_words_are_not_worth_a_note(tmp_path, document):
    """Nor ids, descriptions, extensions, what a provider computes, and what is empty."""
    source = next(source for source, cases in PLACES.items() if document in [of for of, _ in cases])

    assert read(tmp_path, source, document).notes == []


@pytest.mark.parametrize(("source", "document", "place"), CASES)
def test_a_key_that_no_spec_says_is_noted_where_it_stands(tmp_path, source, document, place):
    """Whatever it is called, in every kind of node, in one line."""
    draft = read(tmp_path, source, with_key(document, place, UNHEARD, {"x": 1}))

    (note,) = draft.notes
    assert note.path == place
    assert note.message.endswith(f"unsupported: {UNHEARD}")


@pytest.mark.parametrize(
    "case",
    [
        (terraform, STATE, (*STATE_RESOURCES, 0), "policy", "{}"),
        (terraform, STATE, (*STATE_RESOURCES, 0), "redrive_allow_policy", "{}"),
        (terraform, STATE, (*STATE_RESOURCES, 0), "sqs_managed_sse_enabled", False),
        (terraform, STATE, (*STATE_RESOURCES, 0), "max_message_size", 1024),
        (terraform, STATE, (*STATE_RESOURCES, 0), "tags", {"team": "shop"}),
        (terraform, STATE, (*STATE_RESOURCES, 1), "visibility_timeout_seconds", 60),
        (terraform, STATE, (*STATE_RESOURCES, 2), "policy", "{}"),
        (terraform, STATE, (*STATE_RESOURCES, 6), "filter_criteria", [{"filter": []}]),
        (terraform, STATE, (*STATE_RESOURCES, 6), "scaling_config", [{"maximum_concurrency": 5}]),
        (terraform, STATE, (*STATE_RESOURCES, 6), "enabled", False),
        (cloudformation, TEMPLATE, (*RESOURCES, "Dead", "Properties"), "VisibilityTimeout", 60),
        (cloudformation, TEMPLATE, (*RESOURCES, "Topic", "Properties"), "KmsMasterKeyId", "x"),
        (cloudformation, TEMPLATE, (*RESOURCES, "Mapping", "Properties"), "FilterCriteria", {"x": 1}),
        (cloudformation, TEMPLATE, (*EVENTS, "Orders", "Properties"), "ScalingConfig", {"x": 1}),
        (cloudformation, TEMPLATE, (*RESOURCES, "Function", "Properties"), "Timeout", 30),
        (asyncapi, VERSION_2, MESSAGE_2, "headers", {"type": "object"}),
        (asyncapi, VERSION_3, (*MESSAGE_3, "traits", 0), "correlationId", {"location": "x"}),
        (asyncapi, VERSION_3, ("operations", "onOrder"), "reply", {"channel": {}}),
        (asyncapi, VERSION_2, ("channels", "orders", "bindings"), "kafka", {"topic": "x"}),
        (
            asyncapi,
            VERSION_2,
            ("channels", "orders", "bindings", "sqs", "deadLetterQueue"),
            "messageRetentionPeriod",
            1209600,
        ),
    ],
)  # fmt: skip
def test_settings_that_change_what_arrives_are_noted(tmp_path, case):
    """The keys that matter when a consumer moves."""
    source, document, place, key, value = case

    (note,) = read(tmp_path, source, with_key(document, place, key, value)).notes

    assert (note.path, note.message.rpartition(" ")[2]) == (place, key)


@pytest.mark.parametrize("value", [0, "0"])
@pytest.mark.parametrize(
    ("source", "document", "place"),
    [
        (terraform, STATE, (*STATE_RESOURCES, 0, "visibility_timeout_seconds")),
        (cloudformation, TEMPLATE, (*RESOURCES, "Orders", "Properties", "VisibilityTimeout")),
        (asyncapi, VERSION_2, (*QUEUE_BINDING, "visibilityTimeout")),
        (asyncapi, VERSION_3, (*QUEUE_BINDING, "visibilityTimeout")),
    ],
)
def test_a_visibility_timeout_of_0_is_left_out(tmp_path, source, document, place, value):
    """SQS allows it; a receive does not, and sets its default."""
    draft = read(tmp_path, source, with_key(document, place[:-1], place[-1], value))

    (note,) = draft.notes
    assert note.message == ("a visibility timeout of 0 s is left out: receives set 30 s instead")
    assert note.path[: len(place) - 1] == place[:-1]
    assert not {queue.get("visibility_timeout") for queue in draft.values["queues"]} - {None, 30}
    assert not [item for item in validation.problems_of(draft) if "visibility" in str(item)]


def test_several_keys_of_a_node_are_one_line(tmp_path):
    """In the order of the document."""
    place = (*RESOURCES, "Orders", "Properties")
    document = with_key(TEMPLATE, place, "Tags", [{"Key": "team"}])

    (note,) = read(tmp_path, cloudformation, with_key(document, place, UNHEARD, 1)).notes

    assert note.message == f"unsupported: Tags, {UNHEARD}"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("Fn::ForEach::Queues", ["Name", ["a", "b"], {"Queue${Name}": {}}], "only when the stack"),
        ("Fn::Transform", {"Name": "AWS::Include"}, "only when the stack"),
        ("Queue", {"Properties": {}}, "has no type: left out"),
        ("Function", {"Type": "AWS::Serverless::Function"}, "it has no events"),
        ("Topic2", {"Type": "AWS::SNS::Topic"}, "no queue is subscribed to it"),
        (
            "Stream",
            {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {"EventSourceArn": arn("kinesis", "stream/x")},
            },
            "it reads no queue",
        ),
        (
            "Kafka",
            {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {"Topics": ["x"]}},
            "it reads no queue",
        ),
        (
            "Redriver",
            {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {"EventSourceArn": {"Fn::GetAtt": "Dead.Arn"}},
            },
            "'dead' is a dead-letter queue: it gets no handler",
        ),
        (
            "ToDead",
            {
                "Type": "AWS::SNS::Subscription",
                "Properties": {
                    "TopicArn": {"Ref": "Topic"},
                    "Protocol": "sqs",
                    "Endpoint": {"Fn::GetAtt": "Dead.Arn"},
                },
            },
            "'dead' is a dead-letter queue: it gets no handler",
        ),
    ],
)
def test_a_resource_that_becomes_nothing_is_noted(tmp_path, name, value, message):
    """By its name, and with the reason."""
    (note,) = read(tmp_path, cloudformation, with_key(TEMPLATE, RESOURCES, name, value)).notes

    assert note.path[:2] == ("Resources", name)
    assert message in note.message


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"Fn::Equals": ["a", "a"]}, "unsupported: DeliveryPolicy"),
        ({"Fn::Equals": ["a", "b"]}, None),
        ({"Fn::Equals": ["a", {"Ref": "AWS::Region"}]}, "is known only when the stack is deployed"),
    ],
)
def test_a_subscription_may_hang_on_a_condition(tmp_path, condition, message):
    """It is read when it is known that the stack will have it."""
    place = (*RESOURCES, "Topic", "Properties", "Subscription")
    subscription = {"Protocol": "sqs", "Endpoint": arn("sqs", "more"), "DeliveryPolicy": {"x": 1}}
    document = with_key(TEMPLATE, (), "Conditions", {"Is": condition})
    choice = {"Fn::If": ["Is", subscription, {"Ref": "AWS::NoValue"}]}

    draft = read(tmp_path, cloudformation, with_key(document, place[:-1], place[-1], [choice]))

    notes = [note.message for note in draft.notes]
    assert [text for text in notes if message and message in text] == notes[: bool(message)]
    assert ("more" in [queue["name"] for queue in draft.values["queues"]]) == (
        "Delivery" in str(notes)
    )


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("aws_sns_topic", {"name": "other"}, "no queue is subscribed to it"),
        ("aws_sqs_queue", {"name": "orders"}, "another queue is called 'orders'"),
        (
            "aws_sqs_queue_redrive_policy",
            {"queue_url": "https://x/y", "redrive_policy": redrive_policy("elsewhere")},
            "its queue is not described",
        ),
        (
            "aws_lambda_event_source_mapping",
            {"event_source_arn": arn("kinesis", "x")},
            "it reads no queue",
        ),
        (
            "aws_lambda_event_source_mapping",
            {"event_source_arn": arn("sqs", "dead")},
            "'dead' is a dead-letter queue",
        ),
    ],
)
def test_a_terraform_resource_that_becomes_nothing_is_noted(tmp_path, kind, values, message):
    """By its address, and with the reason."""
    document = copy.deepcopy(STATE)
    document["values"]["root_module"]["resources"].append(resource(kind, "more", **values))

    (note,) = read(tmp_path, terraform, document).notes

    assert note.path == (*STATE_RESOURCES, 7)
    assert message in note.message


def test_what_only_applying_a_plan_tells_is_noted_too(tmp_path):
    """A plan has no value for it, but an expression."""
    document = {
        "planned_values": copy.deepcopy(STATE["values"]),
        "configuration": {
            "root_module": {
                "resources": [
                    {
                        "address": "aws_sqs_queue.dead",
                        "expressions": {
                            "name": {"constant_value": "dead"},
                            "delay_seconds": {"constant_value": 0},
                            "redrive_allow_policy": {"references": ["aws_sqs_queue.orders.arn"]},
                        },
                    }
                ]
            }
        },
    }
    dead = document["planned_values"]["root_module"]["resources"][1]["values"]
    del dead["redrive_allow_policy"], dead["delay_seconds"]

    (note,) = read(tmp_path, terraform, document).notes

    assert note.message == "'aws_sqs_queue.dead': unsupported: redrive_allow_policy"


@pytest.mark.parametrize("document", [VERSION_2, VERSION_3])
def test_a_channel_without_an_operation_is_noted(tmp_path, document):
    """Its queue is none that the application receives from."""
    channel = {"bindings": {"sqs": {"queue": {"name": "idle"}}}}

    (note,) = read(tmp_path, asyncapi, with_key(document, ("channels",), "a/b~c", channel)).notes

    assert note.path == ("channels", "a/b~c")
    assert note.message == "is left out: no operation uses it"


def test_a_described_queue_that_nothing_leads_to_is_noted(tmp_path):
    """The binding's own example has such a one beside its subscription's queue."""
    place = (*NEWS_3, "sqs")
    queues = [{"name": "news"}, {"name": "forgotten"}]

    (note,) = read(tmp_path, asyncapi, with_key(VERSION_3, place, "queues", queues)).notes

    assert note.path == (*place, "queues", 1)
    assert "'forgotten' is left out: no subscription delivers to it" in note.message


def test_an_operation_on_a_dead_letter_queue_is_noted(tmp_path):
    """The queue gets no handler."""
    channel = {"bindings": {"sqs": {"queue": {"name": "dead"}}}}
    document = with_key(VERSION_3, ("channels",), "dead", channel)
    operation = {"action": "receive", "channel": {"$ref": "#/channels/dead"}}

    (note,) = read(
        tmp_path, asyncapi, with_key(document, ("operations",), "onDead", operation)
    ).notes

    assert note.path == ("operations", "onDead")
    assert note.message == "'dead' is a dead-letter queue: it gets no handler"


ATTRIBUTES = {
    "DelaySeconds": "5",
    "KmsMasterKeyId": "alias/x",
    "MaximumMessageSize": "2048",
    "MessageRetentionPeriod": "60",
    "Policy": json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "sqs:SendMessage",
                "Resource": "*",
            },
        }
    ),
    "SqsManagedSseEnabled": "false",
}


@pytest.mark.parametrize("name", ["shop-orders", "shop-dead"])
def test_attributes_of_queues_on_aws_are_noted(local_queues, name):
    """Those of dead-letter queues too; what AWS has by itself is not."""
    local_queues.create(LocalQueue("shop-orders", dead_letter_queue="shop-dead"))
    assert aws.read("shop-").notes == []
    client = Session().create_client("sqs")
    url = client.get_queue_url(QueueName=name)["QueueUrl"]

    client.set_queue_attributes(QueueUrl=url, Attributes=ATTRIBUTES)

    [note] = map(str, aws.read("shop-").notes)
    start, _, listed = note.partition(": unsupported: ")
    assert (start, sorted(listed.split(", "))) == (name, sorted(ATTRIBUTES))


def test_a_dead_letter_queue_on_aws_has_its_own_settings(local_queues):
    """The spec says nothing of it but its name."""
    local_queues.create(
        LocalQueue("shop-orders", dead_letter_queue="shop-dead", visibility_timeout=60)
    )
    client = Session().create_client("sqs")
    url = client.get_queue_url(QueueName="shop-dead")["QueueUrl"]

    client.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "90"})

    assert [str(note) for note in aws.read("shop-").notes] == [
        "shop-dead: unsupported: VisibilityTimeout"
    ]


def test_the_filter_of_a_subscription_on_aws_is_read(local_queues):
    """Its redrive policy is noted, with the topic, as a queue may have several subscriptions."""
    local_queues.create(LocalQueue("shop-news", topic="news"))
    policy = "shop-news: unsupported: Policy"  # by which the topic may send
    assert [str(note) for note in aws.read("shop-").notes] == [policy]
    client = Session().create_client("sns")
    (found,) = client.list_subscriptions()["Subscriptions"]

    for name, value in {
        "FilterPolicy": '{"kind": ["x"]}',
        "FilterPolicyScope": "MessageBody",
        "RawMessageDelivery": "true",
        "DeliveryPolicy": '{"x": 1}',
    }.items():
        client.set_subscription_attributes(
            SubscriptionArn=found["SubscriptionArn"], AttributeName=name, AttributeValue=value
        )

    draft = aws.read("shop-")
    assert draft.values["queues"] == [
        {
            "name": "shop-news",
            "kind": "sns",
            "topic": "news",
            "raw_message_delivery": True,
            "filter_policy": '{"kind": ["x"]}',
            "filter_policy_scope": "MessageBody",
        }
    ]
    assert [str(note) for note in draft.notes] == [
        policy,
        "shop-news: its subscription to 'news': unsupported: DeliveryPolicy",
    ]


def test_each_attribute_that_aws_knows_is_said_or_counted_or_noted():
    """Also those that the embedded server does not keep, and those that are still to come."""
    shape = Session().get_service_model("sqs").shape_for("QueueAttributeName")
    known = {name for name, values in cloudformation.QUEUE_KEYS.items() if values is None}

    assert {name for name in shape.enum if name not in known} == {
        "All",  # asks for all the others
        "DelaySeconds",
        "KmsDataKeyReusePeriodSeconds",
        "KmsMasterKeyId",
        "MaximumMessageSize",
        "MessageRetentionPeriod",
        "Policy",
        "RedriveAllowPolicy",
        "SqsManagedSseEnabled",
    }
