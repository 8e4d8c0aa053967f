"""Queues of kind `sns`, against topics of the embedded server."""

import json

import pytest
from botocore import xform_name
from botocore.session import Session
from moto.sns.models import sns_backends
from remedies import carry_out, notes, problems

from loafer_kit.doctor import service
from loafer_kit.doctor.topics import judge_policy, policy_allowing
from loafer_kit.local import LocalQueue

ACCOUNT = "123456789012"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:prices"
SPEC = 'name = "orders"\ntopic = "prices"'


@pytest.fixture
def sns(local_queues):
    """A client of the server's topics."""
    client = Session().create_client("sns")
    yield client
    client.close()


@pytest.fixture
def subscription(local_queues, sns):
    """The queue orders is subscribed to the topic prices: the subscription's ARN."""
    local_queues.create(LocalQueue("orders", topic="prices"))
    [subscription] = sns.list_subscriptions_by_topic(TopicArn=TOPIC)["Subscriptions"]
    return subscription["SubscriptionArn"]


@pytest.mark.parametrize("topic", ["prices", TOPIC, "arn:aws:sns:eu-west-1:111122223333:prices"])
def test_what_dev_creates_is_well(doctor, subscription, topic):
    """Also for a topic that is given by its ARN on AWS."""
    found = doctor(f'name = "orders"\ntopic = "{topic}"')

    assert problems(found) == []
    assert notes(found, "queue orders") == [
        "it has no redrive policy: a message that always fails comes back until it expires"
    ]


def test_nothing_about_a_topic_is_changed(doctor, subscription, sns):
    """Neither the topic nor the subscription."""

    def state():
        topic = sns.get_topic_attributes(TopicArn=TOPIC)["Attributes"]
        return topic, sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]

    before = state()
    doctor(SPEC)

    assert state() == before


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        (
            f"eu-west-1:{ACCOUNT}",
            "create it: aws --region eu-west-1 sns create-topic --name prices",
        ),
        ("us-east-1:111122223333", "or ask the owner of account 111122223333"),
    ],
)
def test_a_topic_is_where_its_arn_says(doctor, subscription, monkeypatch, place, remedy):
    """On AWS, one of the same name in another region or account is another one."""
    monkeypatch.setattr(service, "is_local", lambda url: False)

    topic, policy = problems(doctor(f'name = "orders"\ntopic = "arn:aws:sns:{place}:prices"'))

    assert topic[:2] == ("topic prices", "does not exist")
    assert topic[2].endswith(remedy)
    assert f"arn:aws:sns:{place}:prices" in policy[2]


@pytest.mark.parametrize("ending", ["", ".fifo"])
def test_what_lacks_is_told_step_by_step(doctor, local_queues, ending):
    """The topic, the policy and the subscription: the remedies bring each about."""
    local_queues.create(f"orders{ending}")
    spec = f'name = "orders{ending}"\ntopic = "prices{ending}"'

    topic, policy = problems(doctor(spec))
    assert topic[:2] == (f"topic prices{ending}", "does not exist")
    assert policy[1] == f"its policy does not let the topic prices{ending} send to it"
    carry_out(topic[2])
    carry_out(policy[2])
    [subscription] = problems(doctor(spec))
    assert subscription[1] == f"is not subscribed to the topic prices{ending}"
    carry_out(subscription[2])

    assert problems(doctor(spec)) == []
    local_queues.publish(f"prices{ending}", "text", group="a" if ending else None)
    assert local_queues.counts(f"orders{ending}").total == 1


def test_a_missing_topic_of_several_queues_is_one_problem(doctor, local_queues):
    """It is created once."""
    local_queues.create("orders", "refunds")

    found = problems(doctor(SPEC, 'name = "refunds"\ntopic = "prices"'))

    assert [subject for subject, message, _ in found if "does not exist" in message] == [
        "topic prices"
    ]


def test_a_subscription_is_found_on_any_page(doctor, subscription, sns):
    """SNS lists a hundred at once."""
    sns.unsubscribe(SubscriptionArn=subscription)
    for number in range(120):
        endpoint = f"arn:aws:sqs:us-east-1:{ACCOUNT}:other-{number}"
        sns.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=endpoint)
    [(_, message, remedy)] = problems(doctor(SPEC))
    assert message == "is not subscribed to the topic prices"

    carry_out(remedy)

    assert problems(doctor(SPEC)) == []


def test_raw_delivery_is_a_problem_where_the_envelope_is_expected(doctor, subscription, sns):
    """The remedy turns it off."""
    set_attribute(sns, subscription, "RawMessageDelivery", "true")

    [(subject, message, remedy)] = problems(doctor(SPEC))

    assert subject == "queue orders"
    assert message == (
        "its subscription to the topic prices delivers raw messages; "
        "its route expects SNS's envelope"
    )
    carry_out(remedy)
    assert problems(doctor(SPEC)) == []


@pytest.mark.parametrize(("translator", "taker"), [("none", "handle_orders"), ("Coins", "Coins")])
def test_raw_delivery_is_noted_where_the_code_decides(doctor, subscription, sns, translator, taker):
    """What a translator of its own, or a handler of raw messages, expects is not known."""
    set_attribute(sns, subscription, "RawMessageDelivery", "true")

    found = doctor(f'{SPEC}\ntranslator = "{translator}"')

    assert problems(found) == []
    assert notes(found, "queue orders")[0] == (
        "its subscription to the topic prices delivers raw messages; "
        f"{taker} gets them without SNS's envelope"
    )


def test_a_filter_policy_is_noted(doctor, subscription, sns):
    """It is no problem, but an answer to the question where messages are."""
    set_attribute(sns, subscription, "FilterPolicy", '{"colour": ["red"]}')

    found = doctor(SPEC)

    assert problems(found) == []
    assert notes(found, "queue orders")[0] == (
        "its subscription to the topic prices has a filter policy (MessageAttributes): "
        "only what it matches is sent"
    )


def set_attribute(sns, subscription, name, value):
    sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName=name, AttributeValue=value
    )


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("PendingConfirmation", "its subscription to the topic prices waits to be confirmed"),
        ("Deleted", "is not subscribed to the topic prices"),
    ],
)
def test_a_subscription_that_delivers_nothing_is_a_problem(
    doctor, subscription, monkeypatch, listed, message
):
    """As AWS lists it; the embedded server confirms each one and forgets deleted ones."""
    known = sns_backends[ACCOUNT]["us-east-1"].subscriptions
    monkeypatch.setattr(known[subscription], "arn", listed)

    [(subject, said, remedy)] = problems(doctor(SPEC))

    assert (subject, said) == ("queue orders", message)
    del known[subscription]
    carry_out(remedy)
    assert problems(doctor(SPEC)) == []


def policy_of(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def set_policy(local_queues, policy):
    attributes = json.dumps({"Policy": policy})
    url = local_queues.queue_url("orders")
    carry_out(f"aws sqs set-queue-attributes --queue-url {url} --attributes '{attributes}'")


def test_a_policy_keeps_its_statements(doctor, subscription, local_queues):
    """The remedy adds one."""
    owner = {
        "Sid": "owner",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "SQS:*",
        "Resource": local_queues.queue_arn("orders"),
    }
    set_policy(local_queues, policy_of(owner))

    [(_, _, remedy)] = problems(doctor(SPEC))

    carry_out(remedy)
    kept = json.loads(local_queues.attributes("orders")["Policy"])["Statement"]
    assert kept[0] == owner
    assert problems(doctor(SPEC)) == []


def test_a_policy_that_cannot_be_judged_is_noted(doctor, subscription, local_queues):
    """It is no problem."""
    allow = json.loads(local_queues.attributes("orders")["Policy"])["Statement"][0]
    allow["Condition"] = {"StringEquals": {"aws:SourceOrgID": "o-42"}}
    set_policy(local_queues, policy_of(allow))

    found = doctor(SPEC)

    assert problems(found) == []
    assert notes(found, "queue orders")[0] == ("its policy may not let the topic prices send to it")


@pytest.mark.parametrize("action", ["ListSubscriptionsByTopic", "GetSubscriptionAttributes"])
def test_access_that_sns_denies_is_noted_once(doctor, subscription, local_queues, deny, action):
    """A service asks SNS for nothing; the action is named."""
    local_queues.create(LocalQueue("refunds", topic="prices"))
    deny("sns", xform_name(action))

    found = doctor(SPEC, 'name = "refunds"\ntopic = "prices"')

    assert problems(found) == []
    assert [item for item in found if item["subject"] == "topic prices"] == [
        {
            "level": "note",
            "subject": "topic prices",
            "message": f"access denied (sns:{action} answered AuthorizationError: not yours)",
            "remedy": f"allow sns:{action} to the credentials in use",
        }
    ]


def test_sns_that_does_not_answer_is_noted_once(doctor, subscription, monkeypatch):
    """It may be out of reach of a network that has no need of it; queues are looked at."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:1")

    found = doctor(SPEC, 'name = "refunds"\ntopic = "prices"')

    assert [item[1] for item in problems(found)] == ["does not exist"]
    [note] = notes(found, "SNS")
    assert note.startswith("Topic 'prices': sns:ListSubscriptionsByTopic failed: Could not connect")


def test_raw_delivery_of_the_spec_is_compared(doctor, subscription):
    """Without it SNS's envelope arrives; the remedy turns it on."""
    spec = f"{SPEC}\nraw_message_delivery = true"

    [(subject, message, remedy)] = problems(doctor(spec))

    assert subject == "queue orders"
    assert message == (
        "its subscription to the topic prices delivers SNS's envelope, in the spec raw messages"
    )
    carry_out(remedy)
    assert problems(doctor(spec)) == []


@pytest.mark.parametrize("here", [None, '{"colour": ["blue"]}'])
def test_the_filter_policy_of_the_spec_is_compared(doctor, subscription, sns, here):
    """With its scope, which is set first; the order of keys and spaces do not matter."""
    if here:
        set_attribute(sns, subscription, "FilterPolicy", here)
    policy = 'filter_policy = { colour = ["red"], size = { kind = [1] } }'
    spec = f'{SPEC}\n{policy}\nfilter_policy_scope = "MessageBody"'

    (_, scope, set_scope), (_, message, set_policy) = problems(doctor(spec))

    assert scope == (
        "the filter policy of the topic prices looks at MessageAttributes, in the spec at MessageBody"
    )
    assert message == (
        f"its subscription to the topic prices has the filter policy {here or '{}'}, in the spec "
        '{"colour": ["red"], "size": {"kind": [1]}}'
    )
    carry_out(set_scope)
    carry_out(set_policy)
    assert problems(doctor(spec)) == []
    set_attribute(sns, subscription, "FilterPolicy", '{"size":{"kind":[1]},"colour":["red"]}')
    assert problems(doctor(spec)) == []


# Access policies of queues, as AWS, its console, CDK and Terraform write them

QUEUE_ARN = "arn:aws:sqs:eu-west-1:111122223333:orders"
TOPIC_ARN = "arn:aws:sns:eu-west-1:111122223333:prices"
ALLOW = {
    "Sid": "topic",
    "Effect": "Allow",
    "Principal": {"Service": "sns.amazonaws.com"},
    "Action": "sqs:SendMessage",
    "Resource": QUEUE_ARN,
    "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC_ARN}},
}
#: The one that SQS's console writes into every queue.
OWNER = {
    "Sid": "__owner_statement",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
    "Action": "SQS:*",
    "Resource": QUEUE_ARN,
}
ONLY_TLS = {
    "Sid": "EnforceTLS",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "sqs:*",
    "Resource": QUEUE_ARN,
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def judged(*statements):
    document = {"Version": "2012-10-17", "Id": "__default_policy_ID", "Statement": statements}
    return judge_policy(json.dumps(document), QUEUE_ARN, TOPIC_ARN)


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
        condition("ArnEquals", ["arn:aws:sns:eu-west-1:111122223333:other", TOPIC_ARN]),
        condition("ArnLikeIfExists", TOPIC_ARN, key="AWS:sourceARN"),
        condition("StringEquals", TOPIC_ARN),
        condition("StringLike", "*:prices"),
        condition("StringEquals", "111122223333", key="aws:SourceAccount"),
    ],
)
def test_a_statement_lets_the_topic_send(statement):
    """However it is written; what others may and may not do does not matter."""
    assert judged(OWNER, statement, ONLY_TLS) == "allowed"


def test_a_single_statement_needs_no_list():
    """IAM's grammar allows both."""
    assert judge_policy(json.dumps({"Statement": ALLOW}), QUEUE_ARN, TOPIC_ARN) == "allowed"


@pytest.mark.parametrize(
    "statements",
    [
        [],
        [OWNER],
        [{**ALLOW, "Effect": "Deny"}],
        [{**ALLOW, "Principal": {"Service": "events.amazonaws.com"}}],
        [{**ALLOW, "Principal": {"AWS": "111122223333"}}],
        [{**ALLOW, "Action": "sqs:ReceiveMessage"}],
        [{**ALLOW, "Resource": f"{QUEUE_ARN}-dead"}],
        [condition("ArnEquals", f"{TOPIC_ARN}-other")],
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
    assert judge_policy(None, QUEUE_ARN, TOPIC_ARN) == "missing"
    assert judge_policy("", QUEUE_ARN, TOPIC_ARN) == "missing"


@pytest.mark.parametrize(
    "statement",
    [
        {**ALLOW, "Resource": "arn:aws:sqs:*:*:${aws:username}"},
        condition("StringEquals", "o-42", key="aws:SourceOrgID"),
        condition("ForAnyValue:ArnLike", TOPIC_ARN),
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
    assert judge_policy(policy, QUEUE_ARN, TOPIC_ARN) == "unclear"


@pytest.mark.parametrize("policy", [None, {"Version": "2008-10-17", "Statement": OWNER}])
def test_a_statement_is_added_to_what_is_there(policy):
    """The topic can send then, and nothing else changes."""
    before = policy and json.dumps(policy)

    after = policy_allowing(before, QUEUE_ARN, TOPIC_ARN)

    assert judge_policy(json.dumps(after), QUEUE_ARN, TOPIC_ARN) == "allowed"
    assert after["Version"] == ("2008-10-17" if policy else "2012-10-17")
    assert after["Statement"][:-1] == ([OWNER] if policy else [])
