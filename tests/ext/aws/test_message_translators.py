"""Translators of SQS messages."""

import copy
import json

import pytest

from loafer_kit.ext.aws.message_translators import (
    SNSMessageTranslator,
    SNSTextMessageTranslator,
    SQSMessageTranslator,
    SQSTextMessageTranslator,
)

MESSAGE = {"MessageId": "sqs-id", "ReceiptHandle": "handle", "Attributes": {"SenderId": "me"}}
ENVELOPE = {
    "Type": "Notification",
    "MessageId": "sns-id",
    "TopicArn": "arn:aws:sns:eu-west-1:1:orders",
    "Message": '{"order": 7}',
    "Timestamp": "2026-11-22T05:00:00.000Z",
}


@pytest.mark.parametrize("content", [{"a": 1}, [], {}, 0, False, "", "text", None])
def test_sqs_content_is_the_json_of_the_body(content):
    """Every JSON value is delivered as it is, falsy ones too."""
    translated = SQSMessageTranslator().translate({**MESSAGE, "Body": json.dumps(content)})
    assert translated == {"content": content, "metadata": MESSAGE}


@pytest.mark.parametrize("translator", [SQSMessageTranslator(), SQSTextMessageTranslator()])
def test_raw_message_keeps_its_body(translator):
    """The error handler gets the message as it was received."""
    message = {**MESSAGE, "Body": "{}"}
    before = copy.deepcopy(message)
    translator.translate(message)
    assert message == before


def test_text_is_content_as_it_stands():
    """A plain-text body needs no JSON."""
    translated = SQSTextMessageTranslator().translate({**MESSAGE, "Body": "no { json"})
    assert translated == {"content": "no { json", "metadata": MESSAGE}


def test_sns_content_is_what_was_published():
    """The envelope's keys go over SQS's; SQS's own id stays at hand."""
    message = {**MESSAGE, "Body": json.dumps(ENVELOPE)}
    before = copy.deepcopy(message)
    translated = SNSMessageTranslator().translate(message)
    assert translated["content"] == {"order": 7}
    metadata = translated["metadata"]
    assert metadata["MessageId"] == "sns-id"
    assert metadata["SQSMessageId"] == "sqs-id"
    assert metadata["TopicArn"] == ENVELOPE["TopicArn"]
    assert metadata["ReceiptHandle"] == "handle"
    assert not {"Body", "Message"} & metadata.keys()
    assert message == before


@pytest.mark.parametrize("body", ['{"order": 7}', "[]", "7"])
def test_raw_delivery_is_told_from_an_envelope(body):
    """A body without envelope is refused with the way out."""
    with pytest.raises(ValueError, match="SQSMessageTranslator"):
        SNSMessageTranslator().translate({**MESSAGE, "Body": body})


@pytest.mark.parametrize(
    ("translator", "body"),
    [
        (SQSMessageTranslator(), "no json"),
        (SNSMessageTranslator(), "no json"),
        (SNSMessageTranslator(), json.dumps({**ENVELOPE, "Message": "no json"})),
    ],
)
def test_what_is_no_json_is_a_value_error(translator, body):
    """An undecodable message fails in its translator."""
    with pytest.raises(ValueError, match="Expecting value"):
        translator.translate({**MESSAGE, "Body": body})


#: As SNS sends them to a queue (token and signature shortened).
SUBSCRIPTION = """{
  "Type" : "SubscriptionConfirmation",
  "MessageId" : "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
  "Token" : "2336412f37fb687f5d51e6e2425c464de12884cea6c",
  "TopicArn" : "arn:aws:sns:eu-west-1:123456789012:orders",
  "Message" : "You have chosen to subscribe to the topic arn:aws:sns:eu-west-1:123456789012:orders.\\nTo confirm the subscription, visit the SubscribeURL included in this message.",
  "SubscribeURL" : "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f",
  "Timestamp" : "2026-04-26T20:45:04.751Z",
  "SignatureVersion" : "1",
  "Signature" : "EXAMPLEpH+DcEwjAPg8O9mY8dReBSwksfg2S7WKQcikcNKWLQjwu6A4VbeS0QHVCkhRS7fUQvi2egU3N858fiTDN6bkkOxYDVrY0Ad8L10Hs3zH81mtnPk5uvvolIC1CXGu43obcgFxeL3khZl8IKvO61GWB6jI9b5+gLPoBc1Q=",
  "SigningCertURL" : "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
}"""
UNSUBSCRIPTION = SUBSCRIPTION.replace("SubscriptionConfirmation", "UnsubscribeConfirmation")
NOTIFICATION = """{
  "Type" : "Notification",
  "MessageId" : "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
  "TopicArn" : "arn:aws:sns:eu-west-1:123456789012:orders",
  "Subject" : "My First Message",
  "Message" : "Hello world!",
  "Timestamp" : "2026-05-02T00:54:06.655Z",
  "SignatureVersion" : "1",
  "Signature" : "EXAMPLEw6JRN",
  "UnsubscribeURL" : "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe"
}"""


@pytest.mark.parametrize("translator", [SNSMessageTranslator(), SNSTextMessageTranslator()])
@pytest.mark.parametrize(
    ("body", "kind", "advice"),
    [
        (SUBSCRIPTION, "SubscriptionConfirmation", "Open the SubscribeURL of the body once"),
        (UNSUBSCRIPTION, "UnsubscribeConfirmation", "Delete the message"),
    ],
)
def test_a_confirmation_says_what_it_is_and_what_to_do(translator, body, kind, advice):
    """The error names the topic and the way out, and leaves the token out."""
    with pytest.raises(ValueError, match=f"^The body is a {kind}: SNS ") as raised:
        translator.translate({**MESSAGE, "Body": body})
    assert advice in str(raised.value)
    assert "arn:aws:sns:eu-west-1:123456789012:orders" in str(raised.value)
    assert "2336412f" not in str(raised.value)


def test_plain_text_by_sns_has_a_translator():
    """JSON is expected by default: the error names the translator of text."""
    message = {**MESSAGE, "Body": NOTIFICATION}
    with pytest.raises(ValueError, match="use SNSTextMessageTranslator"):
        SNSMessageTranslator().translate(message)
    translated = SNSTextMessageTranslator().translate(message)
    assert translated["content"] == "Hello world!"
    assert translated["metadata"]["Subject"] == "My First Message"
    assert translated["metadata"]["SQSMessageId"] == "sqs-id"


@pytest.mark.parametrize(
    ("translator", "body", "other"),
    [
        (SQSMessageTranslator(), "hello", "SQSTextMessageTranslator"),
        (SNSMessageTranslator(), "hello", "SQSTextMessageTranslator"),
        (SNSTextMessageTranslator(), "hello", "SQSTextMessageTranslator"),
        (SNSTextMessageTranslator(), '{"Message": {"a": 1}}', "SQSMessageTranslator"),
    ],
)
def test_the_error_names_the_translator_that_fits(translator, body, other):
    """Text where JSON is expected, or a raw delivery where an envelope is."""
    with pytest.raises(ValueError, match=rf"use\s{other}\b"):
        translator.translate({**MESSAGE, "Body": body})


@pytest.mark.parametrize("translator", [SNSMessageTranslator(), SNSTextMessageTranslator()])
def test_a_message_without_id_can_be_translated(translator):
    """A message that a test or another source made may have a body alone."""
    translated = translator.translate({"Body": json.dumps(ENVELOPE)})
    assert translated["metadata"]["MessageId"] == "sns-id"
    assert "SQSMessageId" not in translated["metadata"]
