"""Translators of SQS messages."""

import copy
import json

import pytest

from loafer_kit.ext.aws.message_translators import (
    SNSMessageTranslator,
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
