"""Keys: which messages are the same."""

import datetime as dt
from dataclasses import dataclass

import pytest
from pydantic import BaseModel

from loafer_kit.contrib.idempotency import attribute, message_key
from loafer_kit.contrib.idempotency.keys import fingerprint
from loafer_kit.exceptions import ConfigurationError, RejectMessage

SQS = {"MessageId": "sqs"}
SNS = {"MessageId": "sns", "SQSMessageId": "sqs"}


@dataclass
class Placed:
    order: int
    at: dt.date = dt.date(2026, 11, 29)


class Cancelled(BaseModel):
    order: int


def keys(key, *messages, **options):
    key_of = message_key(key, **options)
    return [key_of(content, metadata) for content, metadata in messages]


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("order", ({"order": 7, "sent": 1}, SQS), ({"order": 7, "sent": 2}, SNS)),
        ("order", ({"order": 7}, SQS), (Placed(7), SQS)),
        ("order", (Placed(7), SQS), (Cancelled(order=7), SQS)),
        ("at", (Placed(7), SQS), ({"at": "2026-11-29"}, SQS)),
        ("[0].order", ([Placed(7)], SQS), ([{"order": 7}], SQS)),
        ("[a, b]", ({"a": 1, "b": 2}, SQS), ({"b": 2, "a": 1, "c": 3}, SQS)),
        ("@", ({"a": 1, "b": 2}, SQS), ({"b": 2, "a": 1}, SQS)),
        (None, ({"order": 7}, SQS), ({"order": 8}, SNS)),
        (lambda content, metadata: content["order"], ({"order": 7}, SQS), ({"order": 7}, SNS)),
        (
            attribute("key"),
            ("a", {"MessageAttributes": {"key": {"DataType": "String", "StringValue": "k"}}}),
            ("b", {"MessageAttributes": {"key": {"Type": "String", "Value": "k"}}}),
        ),
    ],
)
def test_messages_with_the_same_key(key, one, other):
    first, second = keys(key, one, other)
    assert first == second
    assert len(first) == 64
    assert set(first) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("order", ({"order": 7}, SQS), ({"order": 8}, SQS)),
        ("order", ({"order": 7}, SQS), ({"order": "7"}, SQS)),
        ("order", ({"order": 0}, SQS), ({"order": False}, SQS)),
        ("[a, b]", ({"a": "1", "b": "23"}, SQS), ({"a": "12", "b": "3"}, SQS)),
        (None, ({}, SQS), ({}, {"MessageId": "other"})),
        (None, ({}, SNS), ({}, {"MessageId": "sns", "SQSMessageId": "other"})),
        ("order", ({"order": "\ud800"}, SQS), ({"order": "?"}, SQS)),
    ],
)
def test_messages_with_different_keys(key, one, other):
    first, second = keys(key, one, other)
    assert first != second


MISSING = [
    ("order", {"other": 7}),
    ("order", {"order": None}),
    ("order", {"order": ""}),
    ("order", "text"),
    ("order", [1]),
    ("[a, b]", {"a": 1}),
    ("{x: a, y: b}", {"a": 1, "b": ""}),
    ("items[].id", {"items": []}),
    (attribute("key"), {}),
    (lambda content, metadata: None, {}),
]


@pytest.mark.parametrize(("key", "content"), MISSING)
def test_a_message_without_a_key_is_rejected_in_one_line(key, content):
    with pytest.raises(RejectMessage, match=r"^the message has no key: [^\n]+ is missing in it$"):
        keys(key, (content, SQS))


@pytest.mark.parametrize(("key", "content"), MISSING)
def test_the_id_can_take_the_place_of_a_missing_key(key, content):
    assert keys(key, (content, SQS), or_message_id=True) == keys(None, (content, SNS))


def test_an_id_is_never_taken_for_a_key():
    assert keys("order", ({"order": "sqs"}, SQS)) != keys(None, ({}, SQS))


@pytest.mark.parametrize("metadata", [{}, None, [SQS], {"MessageAttributes": "no"}])
def test_a_message_without_an_id_is_rejected_in_one_line(metadata):
    with pytest.raises(RejectMessage, match="its source gives it no id"):
        keys(None, ("text", metadata))


def nested(depth):
    content = []
    for _ in range(depth):
        content = [content]
    return content


@pytest.mark.parametrize(
    ("key", "content", "why"),
    [
        ("length(order)", {"order": 7}, "`length\\(order\\)` cannot be read in the content"),
        ("order", {"order": nested(100_000)}, "JSON cannot express"),
        ("order", {1: 1, "1": 2}, "JSON cannot express"),
        (lambda content, metadata: object(), {}, "JSON cannot express"),
    ],
)
def test_a_key_that_cannot_be_read_is_rejected_in_one_line(key, content, why):
    with pytest.raises(RejectMessage, match=why) as caught:
        keys(key, (content, SQS))
    assert "\n" not in str(caught.value)


async def read(content, metadata):
    return content


def read_all(content, metadata):
    yield content


@pytest.mark.parametrize("key", ["order[", "", 7, read, read_all])
def test_what_is_no_key_is_refused_in_one_line(key):
    with pytest.raises(ConfigurationError, match=r"^key[^\n]+$"):
        message_key(key)


def test_a_fingerprint_is_short_whatever_the_value():
    assert len(fingerprint("x" * 1_000_000)) == 64
