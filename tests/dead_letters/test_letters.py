"""Letters: what is read from them, what is chosen, and the copies that are made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.dead_letters.letters import Choice
from loafer_kit.dead_letters.sqs import SQS, copy_of, letter_of
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws.dead_letters import dead_letter_entry

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def text(value):
    return {"DataType": "String", "StringValue": value}


def rejected(reason="ValueError: no", *, body="{}", attributes=None, system=None):
    """A letter that a service made of a message of the queue orders."""
    original = {
        "MessageId": "m1",
        "Body": body,
        "Attributes": system or {},
        "MessageAttributes": attributes or {},
    }
    entry = dead_letter_entry(original, reason, "orders", fifo=False)
    message = {
        "MessageId": "d1",
        "Body": entry["MessageBody"],
        "Attributes": {"ApproximateReceiveCount": "4", "SentTimestamp": "1764309441000"},
        "MessageAttributes": entry.get("MessageAttributes", {}),
    }
    return letter_of("orders-dead", message)


def plain(body="{}", *, attributes=None, **system):
    """A letter that SQS moved."""
    return letter_of(
        "orders-dead",
        {
            "MessageId": "d1",
            "Body": body,
            "Attributes": system,
            "MessageAttributes": attributes or {},
        },
    )


def test_what_the_service_wrote_is_read():
    """Reason, exception, source and the id of the original."""
    letter = rejected("KeyError: 'id'")
    assert (letter.reason, letter.exception) == ("KeyError: 'id'", "KeyError")
    assert (letter.source, letter.original_id, letter.receive_count) == ("orders", "m1", 4)
    assert letter.sent.isoformat() == "2025-11-28T05:57:21+00:00"


@pytest.mark.parametrize("taken", [7, 8, 9])
def test_the_combined_attribute_is_read(taken):
    """Beside eight attributes, what the service writes is one."""
    letter = rejected("no", attributes={f"a{n}": text("x") for n in range(taken)})
    assert (letter.reason, letter.source) == ("no", "orders")
    assert len(copy_of(letter, "orders", "d")["MessageAttributes"]) == taken


def test_a_letter_with_ten_attributes_keeps_them_all():
    """There was no room for a reason."""
    letter = rejected(attributes={f"a{n}": text("x") for n in range(10)})
    assert (letter.reason, letter.source) == (None, None)
    assert len(copy_of(letter, "orders", "d")["MessageAttributes"]) == 10


def test_the_word_of_sqs_counts_before_an_attribute():
    """Any sender can write the attribute that names a source."""
    arn = "arn:aws:sqs:eu-west-1:123456789012:orders"
    forged = {"DeadLetterSourceQueue": text("payments")}
    assert plain(attributes=forged, DeadLetterQueueSourceArn=arn).source == arn


@pytest.mark.parametrize("value", ["", "[]", "{", "[" * 100_000, '{"DeadLetterReason": 7}'])
def test_a_strange_combined_attribute_does_no_harm(value):
    """It may be a sender's own."""
    assert plain(attributes={"DeadLetter": text(value)}).reason in (None, "7")


@pytest.mark.parametrize("reason", ["unknown version: 7", "no", "", "timeout: 7"])
def test_a_reason_in_words_has_no_exception(reason):
    """Only the runtime writes the name of a class before a colon."""
    assert rejected(reason).exception is None


def test_a_copy_keeps_everything_but_the_death():
    """Attributes of all types and the trace context stay."""
    kept = {
        "traceparent": text(TRACEPARENT),
        "tracestate": text("a=1"),
        "baggage": text("b=2"),
        "count": {"DataType": "Number.int", "StringValue": "7"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    letter = rejected(attributes=kept)
    letter.message["Attributes"]["AWSTraceHeader"] = "Root=1-5759e988-bd862e3fe1be46a994272793"
    copy = copy_of(letter, "orders", "d")
    assert copy["MessageAttributes"] == kept
    assert copy["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"].startswith("Root=1-")
    assert "MessageGroupId" not in copy


def test_a_copy_for_a_fifo_queue_has_its_group_and_the_given_id():
    """Without a group, each letter is its own."""
    first = copy_of(plain(MessageGroupId="g", MessageDeduplicationId="old"), "steps.fifo", "new")
    assert (first["MessageGroupId"], first["MessageDeduplicationId"]) == ("g", "new")
    assert copy_of(plain(), "steps.fifo", "new")["MessageGroupId"] == "d1"


def test_a_fair_queues_group_goes_from_standard_to_standard():
    """On a FIFO queue, a group means another thing."""
    letter = plain(MessageGroupId="tenant")
    assert copy_of(letter, "orders", "d")["MessageGroupId"] == "tenant"
    fifo = letter_of("steps-dead.fifo", letter.message)
    assert "MessageGroupId" not in copy_of(fifo, "orders", "d")


@pytest.mark.parametrize(
    ("where", "is_chosen"),
    [
        ("exception == 'ValueError'", True),
        ("contains(reason, 'no')", True),
        ("body.order.number > `6`", True),
        ("attributes.tries > `2`", True),
        ("attributes.tries", True),
        ("attributes.nothing", False),
        ("body.order.missing", False),
        ("body.empty", False),
        ("contains(body.missing, 'x')", False),  # a type error for this letter alone
        ("receive_count == `4` && source == 'orders'", True),
        ("sent < '2026'", True),
    ],
)
def test_where_looks_at_facts_attributes_and_body(where, is_chosen):
    """Letters are chosen where the expression is true."""
    letter = rejected(
        body='{"order": {"number": 7}, "empty": []}',
        attributes={"tries": {"DataType": "Number", "StringValue": "3"}},
    )
    assert Choice(where).matches(letter) is is_chosen


def test_where_sees_a_body_that_is_not_json_as_text():
    """Such a letter cannot be decoded; it can be chosen."""
    assert Choice("starts_with(body, 'not')").matches(plain("not JSON"))


@pytest.mark.parametrize("where", ["", "body.", "[", "nothing(body)", "length(body, body)", "a b"])
def test_an_expression_that_cannot_be_read_is_named(where):
    """The error is one line."""
    with pytest.raises(ConfigurationError, match="is not a JMESPath expression") as caught:
        Choice(where).matches(plain())
    assert "\n" not in str(caught.value)


def test_ids_are_those_of_the_letter_or_its_original():
    """A log of the service names the original."""
    letter = rejected()
    assert [Choice(ids=frozenset([name])).matches(letter) for name in ("d1", "m1", "x")] == [
        True,
        True,
        False,
    ]


@given(
    st.text(),
    st.dictionaries(
        st.sampled_from("abc"),
        st.one_of(
            st.binary().map(lambda value: {"DataType": "Binary", "BinaryValue": value}),
            st.text().map(text),
        ),
    ),
)
def test_an_exported_letter_is_imported_unchanged(body, attributes):
    """Binary attributes pass through base64."""
    letter = plain(body, attributes=attributes, SentTimestamp="1")
    assert SQS.imported(SQS.exported(letter)) == letter


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        "text",
        {},
        {"queue": "q", "MessageId": "m", "Body": 7},
        {"queue": "q", "MessageId": "m", "Body": "b", "MessageAttributes": [7]},
        {"queue": "q", "MessageId": "m", "Body": "b", "MessageAttributes": {"a": 7}},
        {
            "queue": "q",
            "MessageId": "m",
            "Body": "b",
            "MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": "%"}},
        },
        {"queue": "q", "MessageId": "m", "Body": "b", "Attributes": {"SentTimestamp": 7}},
        {"queue": "q", "MessageId": "m", "Body": "b", "Attributes": {"SentTimestamp": "9" * 30}},
        {"queue": "q", "MessageId": "m", "Body": "b", "Attributes": {"SentTimestamp": "9" * 16}},
        {
            "queue": "q",
            "MessageId": "m",
            "Body": "b",
            "Attributes": {"ApproximateReceiveCount": "many"},
        },
    ],
)
def test_other_values_are_refused(values):
    """A file may be anything."""
    with pytest.raises(ValueError, match="an exported letter"):
        SQS.imported(values)
