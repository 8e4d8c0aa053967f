"""A queue that anything names as its dead-letter target gets no route; `include` makes one."""

import json

import boto3
import pytest
from moto.server import ThreadedMotoServer

from loafer_kit.scaffold.sources import asyncapi, aws, cloudformation, terraform
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import SpecError

DEAD = {"Fn::GetAtt": ["Dead", "Arn"]}
QUEUES = {
    "Orders": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}},
    "Dead": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "undelivered"}},
}
RULE_TARGET = {"Arn": {"Fn::GetAtt": "Orders.Arn"}, "DeadLetterConfig": {"Arn": DEAD}}

OWNERS = {
    "AWS::SNS::Subscription": {"Protocol": "https", "RedrivePolicy": {"deadLetterTargetArn": DEAD}},
    "AWS::Lambda::Function": {"DeadLetterConfig": {"TargetArn": DEAD}},
    "AWS::Lambda::EventInvokeConfig": {
        "DestinationConfig": {"OnFailure": {"Destination": DEAD}},
    },
    "AWS::Lambda::EventSourceMapping": {
        "EventSourceArn": "arn:aws:kinesis:eu-west-1:123456789012:stream/x",
        "DestinationConfig": {"OnFailure": {"Destination": DEAD}},
    },
    "AWS::Events::Rule": {"Targets": [RULE_TARGET]},
    "AWS::Events::EventBus": {"DeadLetterConfig": {"Arn": DEAD}},
    "AWS::Scheduler::Schedule": {"Target": {"DeadLetterConfig": {"Arn": DEAD}}},
    "AWS::Pipes::Pipe": {
        "SourceParameters": {"KinesisStreamParameters": {"DeadLetterConfig": {"Arn": DEAD}}}
    },
    "AWS::IoT::TopicRule": {
        "TopicRulePayload": {"ErrorAction": {"Sqs": {"QueueUrl": {"Ref": "Dead"}}}}
    },
    "AWS::Serverless::Function": {"DeadLetterQueue": {"Type": "SQS", "TargetArn": DEAD}},
    "AWS::Serverless::StateMachine": {
        "Events": {"Daily": {"Type": "Schedule", "Properties": {"DeadLetterConfig": {"Arn": DEAD}}}}
    },
}


def template(tmp_path, resources, **more):
    file = tmp_path / "template.json"
    file.write_text(json.dumps({"Resources": resources, **more}))
    return file


def names(draft):
    return [queue["name"] for queue in draft.values["queues"]]


def messages(draft):
    return [str(note.message) for note in draft.notes]


@pytest.mark.parametrize("kind", OWNERS)
def test_the_dead_letter_queue_of_a_resource_gets_no_route(tmp_path, kind):
    """It is listed with its owner, and what makes a route of it."""
    file = template(tmp_path, {**QUEUES, "Owner": {"Type": kind, "Properties": OWNERS[kind]}})

    draft = cloudformation.read(file)

    assert names(draft) == ["orders"]
    assert (
        f"'undelivered' is the dead-letter queue of 'Owner' ({kind}): it gets no route; "
        "`--include undelivered` makes one"
    ) in messages(draft)
    assert names(cloudformation.read(file, ["undelivered"])) == ["orders", "undelivered"]


@pytest.mark.parametrize(
    "target",
    [
        {"Fn::Sub": "${Dead.Arn}"},
        {"Fn::Sub": "arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:undelivered"},
        {"Fn::If": ["IsUnknown", {"Ref": "AWS::NoValue"}, DEAD]},
        {"Fn::If": ["IsFalse", DEAD, {"Ref": "AWS::NoValue"}]},
        "arn:aws:sqs:eu-west-1:123456789012:undelivered",
    ],
)
def test_a_dead_letter_target_is_resolved(tmp_path, target):
    """Both branches of a condition count: dead letters must not be consumed by mistake."""
    owner = {
        "Type": "AWS::Lambda::Function",
        "Condition": "IsFalse",
        "Properties": {"DeadLetterConfig": {"TargetArn": target}},
    }
    conditions = {
        "IsFalse": {"Fn::Equals": ["a", "b"]},
        "IsUnknown": {"Fn::Equals": [{"Ref": "AWS::Region"}, "b"]},
    }
    file = template(tmp_path, {**QUEUES, "Owner": owner}, Conditions=conditions)

    assert names(cloudformation.read(file)) == ["orders"]


def test_a_topic_named_like_a_queue_is_no_dead_letter_queue(tmp_path):
    """The service in the ARN tells them apart."""
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "orders"}}
    destination = {"OnFailure": {"Destination": {"Ref": "Topic"}}}
    owner = {
        "Type": "AWS::Lambda::EventInvokeConfig",
        "Properties": {"DestinationConfig": destination},
    }

    draft = cloudformation.read(template(tmp_path, {**QUEUES, "Topic": topic, "Owner": owner}))

    assert names(draft) == ["orders", "undelivered"]


def test_the_globals_of_a_sam_template_name_dead_letter_queues(tmp_path):
    """They hold for every function."""
    globals_ = {"Function": {"DeadLetterQueue": {"Type": "SQS", "TargetArn": DEAD}}}

    draft = cloudformation.read(template(tmp_path, QUEUES, Globals=globals_))

    assert names(draft) == ["orders"]


def test_a_service_of_dead_letter_queues_only_is_a_problem(tmp_path):
    """The problem names the option that makes a route."""
    owner = {"Type": "AWS::Events::EventBus", "Properties": {"DeadLetterConfig": {"Arn": DEAD}}}
    file = template(tmp_path, {"Dead": QUEUES["Dead"], "Owner": owner})

    with pytest.raises(SpecError, match="every queue is a dead-letter queue: `--include undel"):
        validation.service(cloudformation.read(file))


def test_an_included_queue_that_the_document_lacks_is_a_problem(tmp_path):
    """With the nearest name."""
    file = template(tmp_path, QUEUES)

    with pytest.raises(SpecError, match="no queue is called 'ordres'; did you mean 'orders'"):
        validation.service(cloudformation.read(file, ["ordres"]))


def test_an_included_queue_stays_the_dead_letter_queue_of_its_owner(tmp_path):
    """Of a queue of the spec: both get a route."""
    policy = {"deadLetterTargetArn": DEAD, "maxReceiveCount": 3}
    orders = {"Type": "AWS::SQS::Queue", "Properties": {"RedrivePolicy": policy}}
    file = template(tmp_path, {**QUEUES, "Orders": orders})

    assert names(cloudformation.read(file)) == ["Orders"]
    found = cloudformation.read(file, ["undelivered"]).values["queues"]
    assert found == [
        {"name": "Orders", "dead_letter_queue": "undelivered", "max_receive_count": 3},
        {"name": "undelivered"},
    ]


ARN = "arn:aws:sqs:eu-west-1:123456789012:undelivered"
TERRAFORM = {
    "aws_sns_topic_subscription": {
        "protocol": "https",
        "redrive_policy": json.dumps({"deadLetterTargetArn": ARN}),
    },
    "aws_lambda_function": {"dead_letter_config": [{"target_arn": ARN}]},
    "aws_lambda_function_event_invoke_config": {
        "destination_config": [{"on_failure": [{"destination": ARN}]}]
    },
    "aws_lambda_event_source_mapping": {
        "event_source_arn": "arn:aws:kinesis:eu-west-1:123456789012:stream/x",
        "destination_config": [{"on_failure": [{"destination_arn": ARN}]}],
    },
    "aws_cloudwatch_event_target": {"dead_letter_config": [{"arn": ARN}]},
    "aws_cloudwatch_event_bus": {"dead_letter_config": [{"arn": ARN}]},
    "aws_scheduler_schedule": {"target": [{"dead_letter_config": [{"arn": ARN}]}]},
    "aws_pipes_pipe": {
        "source_parameters": [
            {"kinesis_stream_parameters": [{"dead_letter_config": [{"arn": ARN}]}]}
        ]
    },
}


def expressions(value):
    """The configuration of values: each ARN refers to the queue."""
    if isinstance(value, dict):
        return {key: expressions(item) for key, item in value.items()}
    if isinstance(value, list):
        return [expressions(item) for item in value]
    if ":sqs:" in value:
        return {"references": ["aws_sqs_queue.dead.arn", "aws_sqs_queue.dead"]}
    return {"constant_value": value}


@pytest.mark.parametrize("state", [True, False], ids=["state", "plan"])
@pytest.mark.parametrize("kind", TERRAFORM)
def test_the_dead_letter_queue_of_a_terraform_resource_gets_no_route(tmp_path, kind, state):
    """By the values of a state, and by the references of a plan."""
    queues = [
        {"type": "aws_sqs_queue", "address": f"aws_sqs_queue.{key}", "values": {"name": name}}
        for key, name in {"orders": "orders", "dead": "undelivered"}.items()
    ]
    owner = {"type": kind, "address": f"{kind}.owner"}
    known = {key: value for key, value in TERRAFORM[kind].items() if ARN not in str(value)}
    values = TERRAFORM[kind] if state else known
    module = {"resources": [*queues, {**owner, "values": values}]}
    configured = {"resources": [{**owner, "expressions": expressions(TERRAFORM[kind])}]}
    file = tmp_path / "show.json"
    content = {"values": {"root_module": module}}
    if not state:
        content = {
            "planned_values": {"root_module": module},
            "configuration": {"root_module": configured},
        }
    file.write_text(json.dumps(content))

    draft = terraform.read(file)

    assert names(draft) == ["orders"]
    assert any(f"dead-letter queue of '{kind}.owner'" in message for message in messages(draft))
    assert names(terraform.read(file, ["undelivered"])) == ["orders", "undelivered"]


def test_the_dead_letter_queue_of_an_asyncapi_subscription_gets_no_route(tmp_path):
    """The consumer of a topic names it."""
    consumer = {
        "protocol": "sqs",
        "endpoint": {"name": "orders"},
        "redrivePolicy": {"deadLetterQueue": {"name": "undelivered"}},
    }
    bindings = {
        "sns": {"consumers": [consumer]},
        "sqs": {"queues": [{"name": "orders"}, {"name": "undelivered"}]},
    }
    other = {"sqs": {"queue": {"name": "undelivered"}}}
    content = {
        "asyncapi": "3.0.0",
        "info": {"title": "shop", "version": "1"},
        "channels": {"orders": {"address": "orders"}, "other": {"bindings": other}},
        "operations": {
            "a": {
                "action": "receive",
                "channel": {"$ref": "#/channels/orders"},
                "bindings": bindings,
            },
            "b": {"action": "receive", "channel": {"$ref": "#/channels/other"}},
        },
    }
    file = tmp_path / "shop.json"
    file.write_text(json.dumps(content))

    draft = asyncapi.read(file)

    assert names(draft) == ["orders"]
    assert any("the subscription of 'orders' to 'orders'" in text for text in messages(draft))
    assert names(asyncapi.read(file, ["undelivered"])) == ["orders", "undelivered"]


@pytest.fixture(scope="module")
def account():
    """A server with the AWS services that name dead-letter queues."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_the_dead_letter_queues_of_an_account_get_no_route(account, monkeypatch):
    """Of subscriptions, rules, schedules, pipes, event source mappings and queues."""
    settings = {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_ENDPOINT_URL": account,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    sqs, sns, events, scheduler = (
        boto3.client(name) for name in ("sqs", "sns", "events", "scheduler")
    )
    arns = {
        name: f"arn:aws:sqs:eu-west-1:123456789012:shop-{name}"
        for name in ("orders", "of-sns", "of-rule", "of-schedule", "of-queue")
    }
    for name in arns:
        sqs.create_queue(QueueName=f"shop-{name}")
    policy = json.dumps({"deadLetterTargetArn": arns["of-queue"], "maxReceiveCount": 3})
    sqs.create_queue(QueueName="other", Attributes={"RedrivePolicy": policy})
    topic = sns.create_topic(Name="news")["TopicArn"]
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint="arn:aws:sqs:eu-west-1:123456789012:other",
        Attributes={"RedrivePolicy": json.dumps({"deadLetterTargetArn": arns["of-sns"]})},
    )
    events.put_rule(Name="daily", ScheduleExpression="rate(1 day)")
    target = {"Id": "1", "Arn": arns["orders"], "DeadLetterConfig": {"Arn": arns["of-rule"]}}
    events.put_targets(Rule="daily", Targets=[target])
    scheduler.create_schedule(
        Name="hourly",
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": arns["orders"],
            "RoleArn": "arn:aws:iam::123456789012:role/x",
            "DeadLetterConfig": {"Arn": arns["of-schedule"]},
        },
    )

    draft = aws.read("shop-")

    assert names(draft) == ["shop-orders"]
    owners = {
        "of-sns": "the subscription of 'arn:aws:sqs:eu-west-1:123456789012:other' to 'news'",
        "of-rule": "the rule 'daily'",
        "of-schedule": "the schedule 'hourly'",
        "of-queue": "the queue 'other'",
    }
    for name, owner in owners.items():
        expected = f"'shop-{name}' is the dead-letter queue of {owner}: it gets no route"
        assert any(expected in message for message in messages(draft)), (name, messages(draft))
    assert names(aws.read("shop-", ["shop-of-rule"])) == ["shop-of-rule", "shop-orders"]


def test_what_aws_refuses_is_noted(local_queues, monkeypatch):
    """The queues are read all the same."""
    local_queues.create("shop-orders")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_PIPES", "http://127.0.0.1:1")

    draft = aws.read("shop-")

    assert names(draft) == ["shop-orders"]
    assert any(
        "the dead-letter queues of pipes are unknown: AWS:" in text for text in messages(draft)
    )
