"""What a document says of rules, buckets and functions that send to queues in an envelope."""

import json

import pytest

from loafer_kit.scaffold.sources import cloudformation, terraform
from loafer_kit.scaffold.spec import validation

ARN = "arn:aws:sqs:eu-west-1:123456789012:orders"
NEWS = "arn:aws:sns:eu-west-1:123456789012:news"
QUEUE = {"Fn::GetAtt": ["Orders", "Arn"]}
TOPIC = {"Ref": "News"}
NOTIFIED = "NotificationConfiguration"


def sending(target, topic):
    """A resource of each type, with what its messages are; `target` and `topic` are the ARNs."""
    return {
        "AWS::Events::Rule": [
            ("eventbridge", {"Targets": [{"Id": "1", "Arn": "x"}, {"Id": "2", "Arn": target}]}),
            ("eventbridge", {"Targets": [{"Id": "1", "Arn": target, "InputPath": "$"}]}),
            (None, {"Targets": [{"Id": "1", "Arn": target, "Input": "{}"}]}),
            (None, {"Targets": [{"Id": "1", "Arn": target, "InputPath": "$.detail"}]}),
            (None, {"Targets": [{"Id": "1", "Arn": target, "InputTransformer": {"x": "y"}}]}),
        ],
        "AWS::Scheduler::Schedule": [
            ("eventbridge", {"Target": {"Arn": target}}),
            (None, {"Target": {"Arn": target, "Input": "{}"}}),
        ],
        "AWS::S3::Bucket": [("s3", {NOTIFIED: {"QueueConfigurations": [{"Queue": target}]}})],
        "Custom::S3BucketNotifications": [
            ("s3", {NOTIFIED: {"QueueConfigurations": [{"QueueArn": target}]}}),
        ],
        "AWS::Lambda::EventInvokeConfig": [
            (
                "lambda_destination",
                {"DestinationConfig": {"OnSuccess": {"Destination": target}}},
            ),
        ],
        "AWS::Serverless::Function": [
            (
                "lambda_destination",
                {
                    "EventInvokeConfig": {
                        "DestinationConfig": {"OnSuccess": {"Type": "SQS", "Destination": target}}
                    }
                },
            ),
        ],
    }


CASES = [
    pytest.param(kind, expected, properties, id=f"{kind}-{number}")
    for kind, cases in sending(QUEUE, TOPIC).items()
    for number, (expected, properties) in enumerate(cases)
]
TERRAFORM = [
    ("aws_cloudwatch_event_target", "eventbridge", {"arn": ARN}),
    ("aws_cloudwatch_event_target", "eventbridge", {"arn": ARN, "input_path": "$"}),
    ("aws_cloudwatch_event_target", None, {"arn": ARN, "input": "{}"}),
    ("aws_cloudwatch_event_target", None, {"arn": ARN, "input_transformer": [{"x": "y"}]}),
    ("aws_scheduler_schedule", "eventbridge", {"target": [{"arn": ARN}]}),
    ("aws_scheduler_schedule", None, {"target": [{"arn": ARN, "input": "{}"}]}),
    ("aws_s3_bucket_notification", "s3", {"queue": [{"queue_arn": "x"}, {"queue_arn": ARN}]}),
    (
        "aws_lambda_function_event_invoke_config",
        "lambda_destination",
        {"destination_config": [{"on_success": [{"destination": ARN}]}]},
    ),
]


def template(tmp_path, **resources):
    file = tmp_path / "template.json"
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}}
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "news"}}
    found = {"Orders": queue, "News": topic, **resources}
    file.write_text(json.dumps({"Resources": found}))
    return cloudformation.read(file)


def resource(kind, **values):
    return {"type": kind, "address": f"{kind}.this", "name": "this", "values": values}


def subscription(**more):
    properties = {"Protocol": "sqs", "TopicArn": TOPIC, "Endpoint": QUEUE, **more}
    return {"Type": "AWS::SNS::Subscription", "Properties": properties}


def expected_queue(kind):
    return {"name": "orders"} | ({"kind": kind} if kind else {})


def note_of(draft, place):
    return [note.message for note in draft.notes if place in str(note.path)]


@pytest.mark.parametrize(("type_", "kind", "properties"), CASES)
def test_a_queue_has_the_kind_of_what_sends_to_it(tmp_path, type_, kind, properties):
    """An input of its own has no envelope; the sender is noted, for the spec does not hold it."""
    draft = template(tmp_path, Sender={"Type": type_, "Properties": properties})

    assert draft.values["queues"] == [expected_queue(kind)]
    message = f"sends to 'orders', a queue of kind '{kind}'; the spec does not hold the sender"
    wanted = message if kind else "sends to 'orders', an input of its own, without an envelope"
    assert wanted in note_of(draft, "Sender")
    assert "not looked at" not in str(draft.notes)


@pytest.mark.parametrize("is_plan", [False, True], ids=["state", "plan"])
@pytest.mark.parametrize(("type_", "kind", "values"), TERRAFORM)
def test_a_queue_of_terraform_has_the_kind_of_what_sends_to_it(
    tmp_path, type_, kind, values, is_plan
):
    """By the values of a state, and by the references of a plan."""
    queue = resource("aws_sqs_queue", name="orders")
    known = {key: item for key, item in values.items() if ARN not in str(item)}
    sender = resource(type_, **(known if is_plan else values))
    module = {"resources": [queue, sender]}
    document = {"values": {"root_module": module}}
    if is_plan:
        configured = {"resources": [{**sender, "expressions": expressions(values)}]}
        document = {
            "planned_values": {"root_module": module},
            "configuration": {"root_module": configured},
        }
    file = tmp_path / "show.json"
    file.write_text(json.dumps(document))

    draft = terraform.read(file)

    assert draft.values["queues"] == [expected_queue(kind)]
    (note,) = draft.notes
    message = f"a queue of kind '{kind}'" if kind else "an input of its own"
    assert note.message.startswith(f"'{type_}.this': sends to 'orders', {message}")
    assert "not looked at" not in str(draft.notes)


def expressions(value):
    """The configuration of values: each ARN refers to the queue."""
    if isinstance(value, dict):
        return {key: expressions(item) for key, item in value.items()}
    if isinstance(value, list):
        return [expressions(item) for item in value]
    if value == ARN:
        return {"references": ["aws_sqs_queue.this.arn", "aws_sqs_queue.this"]}
    return {"constant_value": value}


@pytest.mark.parametrize("more", [{}, {"RawMessageDelivery": True}])
@pytest.mark.parametrize(
    ("type_", "kind", "properties"),
    [
        ("AWS::Events::Rule", "eventbridge", {"Targets": [{"Arn": TOPIC}]}),
        ("AWS::S3::Bucket", "s3", {NOTIFIED: {"TopicConfigurations": [{"Topic": TOPIC}]}}),
        (
            "Custom::S3BucketNotifications",
            "s3",
            {NOTIFIED: {"TopicConfigurations": [{"TopicArn": TOPIC}]}},
        ),
    ],
)
def test_an_envelope_may_come_through_a_topic(tmp_path, type_, kind, properties, more):
    """The queue keeps its topic and the settings of its subscription."""
    sender = {"Type": type_, "Properties": properties}
    draft = template(tmp_path, Sender=sender, Subscription=subscription(**more))

    raw = {"raw_message_delivery": True} if more else {}
    assert draft.values["queues"] == [{"name": "orders", "kind": kind, "topic": "news", **raw}]
    assert [item.path for item in validation.problems_of(draft)] == [("name",)]


def test_a_bucket_of_terraform_may_send_through_a_topic(tmp_path):
    """By the ARNs of a state."""
    resources = [
        resource("aws_sqs_queue", name="orders"),
        resource("aws_sns_topic", name="news", arn=NEWS),
        resource("aws_sns_topic_subscription", protocol="sqs", topic_arn=NEWS, endpoint=ARN),
        resource("aws_s3_bucket_notification", topic=[{"topic_arn": NEWS}]),
    ]
    file = tmp_path / "show.json"
    file.write_text(json.dumps({"values": {"root_module": {"resources": resources}}}))

    draft = terraform.read(file)

    assert draft.values["queues"] == [{"name": "orders", "kind": "s3", "topic": "news"}]


def test_one_envelope_counts_and_the_others_are_noted(tmp_path):
    """The first one; of a subscribed queue the topic's."""
    rule = {"Type": "AWS::Events::Rule", "Properties": {"Targets": [{"Arn": QUEUE}]}}
    notified = {NOTIFIED: {"QueueConfigurations": [{"Queue": QUEUE}]}}
    bucket = {"Type": "AWS::S3::Bucket", "Properties": notified}

    direct = template(tmp_path, Rule=rule, Bucket=bucket)
    subscribed = template(tmp_path, Rule=rule, Subscription=subscription())

    other = "sends to 'orders', which is not of kind '{}': its route rejects that envelope"
    assert direct.values["queues"] == [expected_queue("eventbridge")]
    assert note_of(direct, "Bucket") == [other.format("s3")]
    assert subscribed.values["queues"] == [{"name": "orders", "kind": "sns", "topic": "news"}]
    assert note_of(subscribed, "Rule") == [other.format("eventbridge")]


@pytest.mark.parametrize(
    "target", ["arn:aws:sqs:eu-west-1:123456789012:elsewhere", NEWS], ids=["queue", "topic"]
)
def test_a_sender_to_what_no_route_reads_is_noted(tmp_path, target):
    """A queue that the document does not describe gets no route by it."""
    rule = {"Type": "AWS::Events::Rule", "Properties": {"Targets": [{"Arn": target}]}}

    draft = template(tmp_path, Rule=rule)

    assert draft.values["queues"] == [expected_queue(None)]
    (message,) = note_of(draft, "Rule")
    assert message.endswith(", which no route reads")


@pytest.mark.parametrize("target", ["x", {"Fn::GetAtt": ["Work", "Arn"]}, None, [], {"Ref": "X"}])
def test_a_sender_to_something_else_is_not_looked_at(tmp_path, target):
    """Such as a function."""
    rule = {"Type": "AWS::Events::Rule", "Properties": {"Targets": [{"Arn": target}]}}

    draft = template(tmp_path, Rule=rule)

    assert draft.values["queues"] == [expected_queue(None)]
    assert "not looked at: AWS::Events::Rule" in [note.message for note in draft.notes]
