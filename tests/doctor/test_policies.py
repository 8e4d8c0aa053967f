"""Access policies of queues, as AWS, its console, CDK and Terraform write them."""

import json

import pytest

from loafer_kit.doctor import policies

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:prices"
ALLOW = {
    "Sid": "topic",
    "Effect": "Allow",
    "Principal": {"Service": "sns.amazonaws.com"},
    "Action": "sqs:SendMessage",
    "Resource": QUEUE,
    "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
}
#: The one that SQS's console writes into every queue.
OWNER = {
    "Sid": "__owner_statement",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
    "Action": "SQS:*",
    "Resource": QUEUE,
}
ONLY_TLS = {
    "Sid": "EnforceTLS",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "sqs:*",
    "Resource": QUEUE,
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def judged(*statements):
    document = {"Version": "2012-10-17", "Id": "__default_policy_ID", "Statement": statements}
    return policies.judge(json.dumps(document), QUEUE, TOPIC)


def condition(operator, values, key="aws:SourceArn"):
    return {**ALLOW, "Condition": {operator: {key: values}}}


@pytest.mark.parametrize(
    "statement",
    [
        ALLOW,
        {**ALLOW, "Principal": "*"},
        {**ALLOW, "Principal": {"AWS": "*"}},
        {**ALLOW, "Principal": {"AWS": ["*"]}},
        {**ALLOW, "Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}},
        {**ALLOW, "Action": ["SQS:GetQueueUrl", "SQS:SendMessage"]},
        {**ALLOW, "Action": "sqs:Send*"},
        {**ALLOW, "Action": "*"},
        {**ALLOW, "Resource": "*"},
        {**ALLOW, "Resource": ["arn:aws:sqs:*:111122223333:order?"]},
        {key: value for key, value in ALLOW.items() if key != "Condition"},
        condition("ArnLike", "arn:aws:sns:*:111122223333:*"),
        condition("ArnEquals", ["arn:aws:sns:eu-west-1:111122223333:other", TOPIC]),
        condition("ArnLikeIfExists", TOPIC, key="AWS:sourceARN"),
        condition("StringEquals", TOPIC),
        condition("StringLike", "*:prices"),
        condition("StringEquals", "111122223333", key="aws:SourceAccount"),
    ],
)
def test_a_statement_lets_the_topic_send(statement):
    """However it is written; what others may and may not do does not matter."""
    assert judged(OWNER, statement, ONLY_TLS) == "allowed"


def test_a_single_statement_needs_no_list():
    """IAM's grammar allows both."""
    assert policies.judge(json.dumps({"Statement": ALLOW}), QUEUE, TOPIC) == "allowed"


@pytest.mark.parametrize(
    "statements",
    [
        [],
        [OWNER],
        [{**ALLOW, "Effect": "Deny"}],
        [{**ALLOW, "Principal": {"Service": "events.amazonaws.com"}}],
        [{**ALLOW, "Principal": {"AWS": "111122223333"}}],
        [{**ALLOW, "Action": "sqs:ReceiveMessage"}],
        [{**ALLOW, "Resource": f"{QUEUE}-dead"}],
        [condition("ArnEquals", f"{TOPIC}-other")],
        [condition("ArnLike", "arn:aws:sns:us-*:*:*")],
        [condition("StringEquals", "arn:aws:sns:eu-west-1:111122223333:*")],
        [condition("StringEquals", "999999999999", key="aws:SourceAccount")],
    ],
)
def test_no_statement_is_about_the_topic(statements):
    """Then SNS may not send, whatever else depends on what."""
    assert judged(*statements) == "missing"


def test_a_queue_without_a_policy_lets_no_topic_send():
    """Not even one of its own account."""
    assert policies.judge(None, QUEUE, TOPIC) == "missing"
    assert policies.judge("", QUEUE, TOPIC) == "missing"


@pytest.mark.parametrize(
    "statement",
    [
        {**ALLOW, "Resource": "arn:aws:sqs:*:*:${aws:username}"},
        condition("StringEquals", "o-42", key="aws:SourceOrgID"),
        condition("ForAnyValue:ArnLike", TOPIC),
        condition("Null", "false"),
        {**{k: ALLOW[k] for k in ("Effect", "Principal", "Resource")}, "NotAction": "sqs:Del*"},
        {**{k: v for k, v in ALLOW.items() if k != "Principal"}, "NotPrincipal": {"AWS": "1"}},
    ],
)
def test_an_allow_that_may_not_be_for_the_topic_is_unclear(statement):
    """Another statement may still allow the topic."""
    assert judged(OWNER, statement) == "unclear"
    assert judged(statement, ALLOW) == "allowed"


@pytest.mark.parametrize(
    "policy", ["none", "[]", '{"Version": "2012-10-17"}', '{"Statement": [1]}']
)
def test_a_text_that_is_not_a_policy_is_unclear(policy):
    """AWS does not accept it; another server may."""
    assert policies.judge(policy, QUEUE, TOPIC) == "unclear"


@pytest.mark.parametrize("policy", [None, {"Version": "2008-10-17", "Statement": OWNER}])
def test_a_statement_is_added_to_what_is_there(policy):
    """The topic can send then, and nothing else changes."""
    before = policy and json.dumps(policy)

    after = policies.allowing(before, QUEUE, TOPIC)

    assert policies.judge(json.dumps(after), QUEUE, TOPIC) == "allowed"
    assert after["Version"] == ("2008-10-17" if policy else "2012-10-17")
    assert after["Statement"][:-1] == ([OWNER] if policy else [])
