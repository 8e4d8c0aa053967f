"""Access policies of queues, as AWS, its console, CDK and Terraform write them."""

import json

import pytest

from loafer_kit.doctor import policies
from loafer_kit.doctor.policies import Verdict

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
PERIMETER = {
    "Sid": "Perimeter",
    "Effect": "Deny",
    "Principal": {"AWS": "*"},
    "Action": "sqs:SendMessage",
    "Resource": QUEUE,
    "Condition": {"StringNotEqualsIfExists": {"aws:SourceOrgID": "o-42"}},
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
        condition("ArnNotEquals", "arn:aws:sns:eu-west-1:111122223333:other"),
        condition("Bool", True, key="aws:SecureTransport"),
    ],
)
def test_a_statement_lets_the_topic_send(statement):
    """However it is written; what others may and may not do does not matter."""
    assert judged(OWNER, statement, ONLY_TLS) == Verdict("allowed")


def test_a_single_statement_needs_no_list():
    """IAM's grammar allows both."""
    assert policies.judge(json.dumps({"Statement": ALLOW}), QUEUE, TOPIC) == Verdict("allowed")


@pytest.mark.parametrize(
    "statements",
    [
        [],
        [OWNER],
        [{**ALLOW, "Principal": {"Service": "events.amazonaws.com"}}],
        [{**ALLOW, "Principal": {"AWS": "111122223333"}}],
        [{**ALLOW, "Action": "sqs:ReceiveMessage"}],
        [{**ALLOW, "Resource": f"{QUEUE}-dead"}],
        [condition("ArnEquals", f"{TOPIC}-other")],
        [condition("ArnLike", "arn:aws:sns:us-*:*:*")],
        [condition("StringEquals", "arn:aws:sns:eu-west-1:111122223333:*")],
        [condition("StringEquals", "999999999999", key="aws:SourceAccount")],
        [condition("ArnEquals", f"{TOPIC}-other"), PERIMETER],
    ],
)
def test_no_statement_is_about_the_topic(statements):
    """Then SNS may not send, whatever else depends on what."""
    assert judged(*statements) == Verdict("missing")


def test_a_queue_without_a_policy_lets_no_topic_send():
    """Not even one of its own account."""
    assert policies.judge(None, QUEUE, TOPIC) == Verdict("missing")
    assert policies.judge("", QUEUE, TOPIC) == Verdict("missing")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "topic"),
        ({"Principal": "*", "Action": "*", "Resource": "*"}, "topic"),
        ({"Condition": {"ArnNotLike": {"aws:SourceArn": f"{TOPIC}-*"}}}, "topic"),
        ({"Condition": {"StringNotEquals": {"aws:SourceAccount": "1"}}}, "topic"),
    ],
)
def test_a_denial_wins(changes, name):
    """The statement is named."""
    assert judged(ALLOW, {**ALLOW, "Effect": "Deny", **changes}) == Verdict("denied", name)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ({**ALLOW, "Principal": {"Service": "sns.af-south-1.amazonaws.com"}}, "the principal sns."),
        ({**ALLOW, "Resource": "arn:aws:sqs:*:*:${aws:username}"}, "the variable in arn:aws:sqs"),
        (condition("ArnLike", "*"), "the ARN *"),
        (condition("StringEquals", "o-42", key="aws:SourceOrgID"), "StringEquals aws:SourceOrgID"),
        (condition("ForAnyValue:ArnLike", TOPIC), "ForAnyValue:ArnLike aws:SourceArn"),
        (condition("Null", "false"), "Null aws:SourceArn"),
        (
            {**{k: ALLOW[k] for k in ("Effect", "Principal", "Resource")}, "NotAction": "sqs:Del*"},
            "a statement without Action",
        ),
    ],
)
def test_what_the_policy_alone_does_not_tell_is_unknown(statement, why):
    """What it depends on is named."""
    verdict = judged(OWNER, statement)

    assert verdict.result == "unknown"
    assert verdict.why.startswith(why)
    assert judged(statement, ALLOW) == Verdict("allowed")


def test_a_denial_that_depends_on_what_is_not_known_is_unknown():
    """It never makes a problem of what is allowed."""
    assert judged(ALLOW, PERIMETER) == Verdict("unknown", "StringNotEqualsIfExists aws:SourceOrgID")


@pytest.mark.parametrize(
    "policy", ["none", "[]", '{"Version": "2012-10-17"}', '{"Statement": [1]}']
)
def test_a_text_that_is_no_policy_is_unknown(policy):
    """AWS takes none; another server may."""
    assert policies.judge(policy, QUEUE, TOPIC) == Verdict("unknown", "a text that is no policy")


@pytest.mark.parametrize("policy", [None, {"Version": "2008-10-17", "Statement": OWNER}])
def test_a_statement_is_added_to_what_is_there(policy):
    """The topic can send then, and nothing else changes."""
    before = policy and json.dumps(policy)

    after = policies.allowing(before, QUEUE, TOPIC)

    assert policies.judge(json.dumps(after), QUEUE, TOPIC) == Verdict("allowed")
    assert after["Version"] == ("2008-10-17" if policy else "2012-10-17")
    assert after["Statement"][:-1] == ([OWNER] if policy else [])
