"""Envelopes of SNS, EventBridge, S3, CloudEvents and Lambda, as AWS writes them."""

import copy
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit import outcomes
from loafer_kit.exceptions import DeleteMessage
from loafer_kit.ext.aws.envelopes import (
    EnvelopeTranslator,
    automatic,
    cloudevents,
    eventbridge,
    lambda_destination,
    s3,
    sns,
)
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.testing import deliver, sqs_message

NOTIFICATION = {
    "Type": "Notification",
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic",
    "Subject": "My First Message",
    "Message": '{"order": 7}',
    "Timestamp": "2012-05-02T00:54:06.655Z",
    "SignatureVersion": "1",
    "Signature": "EXAMPLEw6JRN…",
    "SigningCertURL": "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb.pem",
    "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
    "MessageAttributes": {"kind": {"Type": "String", "Value": "order.placed"}},
}
EVENT = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": "111122223333",
    "time": "2017-12-22T18:43:48Z",
    "region": "us-west-1",
    "resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
    "detail": {"instance-id": "i-1234567890abcdef0", "state": "terminated"},
}
SCHEDULED = EVENT | {"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"}
S3_RECORD = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": "us-west-2",
    "eventTime": "1970-01-01T00:00:00.000Z",
    "eventName": "ObjectCreated:Put",
    "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
    "requestParameters": {"sourceIPAddress": "127.0.0.1"},
    "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
    "s3": {
        "s3SchemaVersion": "1.0",
        "configurationId": "testConfigRule",
        "bucket": {"name": "amzn-s3-demo-bucket", "arn": "arn:aws:s3:::amzn-s3-demo-bucket"},
        "object": {"key": "HappyFace.jpg", "size": 1024, "eTag": "d41d8c", "sequencer": "0055"},
    },
}
S3_TEST = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "amzn-s3-demo-bucket",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
}
CLOUD_EVENT = {
    "specversion": "1.0",
    "type": "com.example.order.placed",
    "source": "/shop",
    "id": "A234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "datacontenttype": "application/json",
    "data": {"order": 7},
}
DESTINATION = {
    "version": "1.0",
    "timestamp": "2019-11-24T23:08:25.651Z",
    "requestContext": {
        "requestId": "c2a6f2ae-7dbb-4d22-8782-d0485c9877e2",
        "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:event-destinations:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    },
    "requestPayload": {"success": False},
    "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
    "responsePayload": {"errorMessage": "Task failed"},
}
SUCCESS = DESTINATION | {
    "requestContext": {"condition": "Success"},
    "responsePayload": {"order": 7},
}


def with_key(key):
    record = copy.deepcopy(S3_RECORD)
    record["s3"]["object"]["key"] = key
    return {"Records": [record]}


def in_sns(value):
    return NOTIFICATION | {"Message": value if isinstance(value, str) else json.dumps(value)}


def translate(body, *envelopes, text=False, **facts):
    body = body if isinstance(body, str) else json.dumps(body)
    return EnvelopeTranslator(*envelopes, text=text).translate(sqs_message(body, **facts))


@pytest.mark.parametrize(
    ("body", "envelopes", "content"),
    [
        (NOTIFICATION, [sns], {"order": 7}),
        (EVENT, [eventbridge], EVENT["detail"]),
        (EVENT | {"replay-name": "again"}, [eventbridge], EVENT["detail"]),
        (SCHEDULED, [eventbridge], {}),
        ({"Records": [S3_RECORD]}, [s3], [S3_RECORD]),
        (in_sns({"Records": [S3_RECORD]}), [sns, s3], [S3_RECORD]),
        (in_sns(EVENT), [sns, eventbridge], EVENT["detail"]),
        (CLOUD_EVENT, [cloudevents], {"order": 7}),
        (CLOUD_EVENT | {"data": '{"order": 7}'}, [cloudevents], {"order": 7}),
        (CLOUD_EVENT | {"data": "order 7"}, [cloudevents], "order 7"),
        ({**CLOUD_EVENT, "data": None}, [cloudevents], {}),
        (
            CLOUD_EVENT | {"data": None, "data_base64": "eyJvcmRlciI6IDd9"},
            [cloudevents],
            {"order": 7},
        ),
        (
            CLOUD_EVENT | {"data_base64": "AAE=", "datacontenttype": "image/png"},
            [cloudevents],
            b"\x00\x01",
        ),
        (EVENT | {"detail": CLOUD_EVENT}, [eventbridge, cloudevents], {"order": 7}),
        (DESTINATION, [lambda_destination], {"success": False}),
        (SUCCESS, [lambda_destination], {"order": 7}),
    ],
)
def test_the_content_is_what_the_envelopes_carry(body, envelopes, content):
    """The outermost is named first; `automatic` finds the same."""
    assert translate(body, *envelopes)["content"] == content
    assert translate(body, automatic)["content"] == content


def test_the_facts_of_each_envelope_are_metadata():
    """SQS's id and handle stay at hand."""
    metadata = translate(in_sns(EVENT), sns, eventbridge)["metadata"]

    assert metadata["detail-type"] == EVENT["detail-type"]
    assert metadata["resources"] == EVENT["resources"]
    assert metadata["TopicArn"] == NOTIFICATION["TopicArn"]
    assert metadata["MessageId"] == NOTIFICATION["MessageId"]
    assert len(metadata["SQSMessageId"]) == 36
    assert metadata["ReceiptHandle"]
    assert not {"detail", "Message", "Body"} & metadata.keys()


def test_the_facts_of_a_cloudevent_are_its_attributes():
    """Extensions among them; none can hide what SQS says."""
    body = CLOUD_EVENT | {"ReceiptHandle": "mine", "SQSMessageId": "mine", "Attributes": {}}
    metadata = translate(body, cloudevents)["metadata"]

    assert metadata["type"] == "com.example.order.placed"
    assert metadata["comexampleextension1"] == "value"
    assert metadata["ReceiptHandle"] != "mine" != metadata["SQSMessageId"]
    assert metadata["Attributes"]


@pytest.mark.parametrize("prefix", ["ce_", "ce-", "cloudEvents_"])
def test_a_cloudevent_may_be_in_the_attributes(prefix):
    """The body is the data then, JSON unless the attributes say otherwise."""
    attributes = {
        prefix + name: CLOUD_EVENT[name] for name in ("id", "source", "type", "specversion")
    }

    translated = translate({"order": 7}, cloudevents, attributes=attributes)
    assert translated["content"] == {"order": 7}
    assert translated["metadata"]["type"] == "com.example.order.placed"
    assert translate({"order": 7}, automatic, attributes=attributes)["content"] == {"order": 7}
    attributes[prefix + "datacontenttype"] = "text/plain"
    assert translate("order 7", cloudevents, attributes=attributes)["content"] == "order 7"


@pytest.mark.parametrize(
    ("written", "key"),
    [("a+b", "a b"), ("a%2Bb", "a+b"), ("a%20b", "a b"), ("%E2%82%AC/%C3%BC", "€/ü"), ("", "")],
)
def test_an_objects_key_is_decoded(written, key):
    """As S3 writes it, and as emulators do."""
    (record,) = translate(with_key(written), s3)["content"]
    assert record["s3"]["object"]["key"] == key
    assert record["s3"]["object"]["size"] == 1024


@pytest.mark.parametrize("body", [S3_TEST, in_sns(S3_TEST)])
async def test_the_test_event_of_s3_is_acknowledged(body):
    """It arrives when a notification is set up; the handler does not see it."""

    async def handler(records, metadata):
        raise AssertionError

    envelopes = [sns, s3] if body is not S3_TEST else [s3]
    with pytest.raises(DeleteMessage):
        translate(body, *envelopes)
    route = SQSRoute("uploads", handler=handler)
    route.message_translator = type(
        "T", (), {"translate": EnvelopeTranslator(automatic).translate}
    )()
    assert await deliver(route, body) == outcomes.ACKNOWLEDGE


@pytest.mark.parametrize(
    ("body", "envelopes", "said"),
    [
        ("order 7", [sns], "not an SNS envelope"),
        ({"order": 7}, [sns], "not an SNS envelope"),
        (NOTIFICATION | {"Type": "SubscriptionConfirmation"}, [automatic], "Open the SubscribeURL"),
        (
            in_sns("order 7"),
            [sns],
            "The content is not JSON; for plain text, use EnvelopeTranslator",
        ),
        ("order 7", [], "The content is not JSON"),
        ("order 7", [automatic], "The content is not JSON"),
        ({"order": 7}, [eventbridge], "not an EventBridge event with detail-type"),
        ("instance i-1 terminated", [eventbridge], "use SQSMessageTranslator"),
        (EVENT | {"detail": None}, [eventbridge], "not an EventBridge event"),
        (
            EVENT | {"detail": "text"},
            [eventbridge],
            "The detail of the EventBridge event is not JSON",
        ),
        ([EVENT], [eventbridge], "not an EventBridge event"),
        ({"Records": []}, [s3], "not an S3 notification with Records"),
        ({"Records": [7]}, [s3], r"Records\[0\] of the S3 notification is not of aws:s3"),
        (
            {"Records": [S3_RECORD, {}]},
            [s3],
            r"Records\[1\] of the S3 notification is not of aws:s3",
        ),
        ({"Records": [{**S3_RECORD, "eventVersion": "3.0"}]}, [s3], "version '3.0', not 2"),
        ({"Records": [{**S3_RECORD, "s3": {}}]}, [s3], "no object key that can be read"),
        (with_key(7), [s3], "no object key that can be read"),
        (with_key("%FF"), [s3], "no object key that can be read"),
        (EVENT, [s3], "name that envelope first"),
        ({"order": 7}, [cloudevents], "The CloudEvent in the body has no id, source, specversion"),
        ("order 7", [cloudevents], "not a CloudEvent"),
        (CLOUD_EVENT | {"specversion": "0.3"}, [cloudevents], "version '0.3', not 1"),
        (CLOUD_EVENT | {"data_base64": "%"}, [cloudevents], "is not base64"),
        (CLOUD_EVENT | {"data_base64": 7}, [cloudevents], "is not base64"),
        (CLOUD_EVENT | {"data": "{"}, [cloudevents], "The data of the CloudEvent is not JSON"),
        ({"order": 7}, [lambda_destination], "not the record of a Lambda destination"),
        ({**EVENT, **CLOUD_EVENT}, [automatic], "fits EventBridge and CloudEvents"),
    ],
)
def test_what_is_not_the_envelope_is_refused_by_name(body, envelopes, said):
    """One line that says which layer failed."""
    with pytest.raises(ValueError, match=said) as info:
        translate(body, *envelopes)
    assert len(str(info.value).splitlines()) == 1


@pytest.mark.parametrize(
    "body", ["[" * 200_000, '{"detail-type":' * 50_000, "9" * 5_000, "[1e999]"]
)
def test_a_hostile_body_fails_as_any_other(body):
    """Too deep, too long: an exception of the message, none of the interpreter."""
    for envelope in (sns, eventbridge, s3, cloudevents, lambda_destination):
        with pytest.raises((ValueError, RecursionError)):
            translate(body, envelope)


def test_a_body_without_an_envelope_is_the_content():
    """With `automatic`, raw and wrapped messages may share a queue."""
    assert translate({"order": 7}, automatic)["content"] == {"order": 7}
    assert translate(in_sns("order 7"), automatic, text=True)["content"] == "order 7"
    assert translate("order 7", automatic, text=True)["content"] == "order 7"
    assert type(translate("order 7", text=True)["content"]) is str


@dataclasses.dataclass
class Terminated:
    state: str


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        ({"state": "terminated"}, outcomes.ACKNOWLEDGE),
        ({"state": 7}, outcomes.DeadLetter("does not fit Terminated: state: not a string")),
    ],
)
async def test_a_typed_handler_gets_the_payload(content, outcome):
    """`deliver` wraps the payload as the route's translator expects it."""
    seen = []

    async def handler(change: Terminated, metadata):
        seen.append((change, metadata["source"]))
        return True

    route = SQSRoute(
        "changes", message_translator=EnvelopeTranslator(sns, eventbridge), handler=handler
    )
    assert type(await deliver(route, content)) is type(outcome)
    assert seen == (
        [(Terminated("terminated"), "local")] if outcome == outcomes.ACKNOWLEDGE else []
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), values, max_size=4)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(values)
def test_what_sns_wraps_it_opens(value):
    """Any JSON value."""
    translator = EnvelopeTranslator(sns)
    assert translator.translate(sqs_message(translator.wrap(value)))["content"] == value


@given(objects)
def test_what_is_wrapped_twice_is_opened_twice(value):
    """Facts are those of the innermost envelope."""
    translator = EnvelopeTranslator(sns, eventbridge)
    translated = translator.translate(
        sqs_message(translator.wrap(value, **{"detail-type": "order.placed"}))
    )
    assert translated["content"] == value
    assert translated["metadata"]["detail-type"] == "order.placed"


@given(st.binary() | values.filter(lambda value: value is not None))
def test_what_cloudevents_wraps_it_opens(value):
    """Bytes, text and JSON."""
    translator = EnvelopeTranslator(cloudevents)
    event = translator.wrap(
        value, **({"datacontenttype": "x/y"} if isinstance(value, bytes) else {})
    )
    assert translator.translate(sqs_message(event))["content"] == value


@given(keys)
def test_what_s3_wraps_it_opens(key):
    """Any key, given shortly or as a record."""
    translator = EnvelopeTranslator(s3)
    (record,) = translator.translate(sqs_message(translator.wrap({"bucket": "b", "key": key})))[
        "content"
    ]
    assert (record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]) == ("b", key)
    again = translator.translate(sqs_message(translator.wrap([record])))["content"]
    assert again == [record]
