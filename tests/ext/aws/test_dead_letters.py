"""What a dead letter carries."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.ext.aws.dead_letters import dead_letter_entry


def message(attributes=None, system=None):
    return {
        "MessageId": "id-1",
        "ReceiptHandle": "handle",
        "Body": "body",
        "Attributes": system or {},
        "MessageAttributes": attributes or {},
    }


def attributes(count):
    return {
        f"own-{number}": {"DataType": "String", "StringValue": "x", "StringListValues": []}
        for number in range(count)
    }


def test_reason_source_and_id_are_added():
    """The original's body and attributes stay, three attributes join them."""
    entry = dead_letter_entry(message(attributes(2)), "why", "orders", fifo=False)
    assert entry["MessageBody"] == "body"
    values = {name: value["StringValue"] for name, value in entry["MessageAttributes"].items()}
    assert values == {
        "own-0": "x",
        "own-1": "x",
        "DeadLetterReason": "why",
        "DeadLetterSourceQueue": "orders",
        "DeadLetterMessageId": "id-1",
    }
    assert "MessageGroupId" not in entry


@pytest.mark.parametrize(("own", "added"), [(7, 3), (8, 1), (9, 1), (10, 0)])
def test_sqs_takes_ten_attributes(own, added):
    """Where there is no room for three, one carries all; the original's own are never dropped."""
    entry = dead_letter_entry(message(attributes(own)), "why", "orders", fifo=False)
    names = entry["MessageAttributes"].keys()
    assert len(names) == own + added
    assert attributes(own).keys() <= names
    if added == 1:
        combined = json.loads(entry["MessageAttributes"]["DeadLetter"]["StringValue"])
        assert combined["DeadLetterReason"] == "why"


def test_dead_letter_of_a_dead_letter_has_the_newest_reason():
    """A message that was redriven and is rejected again needs no further room."""
    first = dead_letter_entry(message(attributes(7)), "first", "orders", fifo=False)
    again = message(first["MessageAttributes"])
    second = dead_letter_entry(again, "second", "orders", fifo=False)
    assert len(second["MessageAttributes"]) == 10
    assert second["MessageAttributes"]["DeadLetterReason"]["StringValue"] == "second"


def test_a_fifo_dead_letter_keeps_its_group_and_is_told_apart_by_the_message_id():
    """The message's own deduplication id may be that of another message."""
    system = {"MessageGroupId": "g", "MessageDeduplicationId": "d", "AWSTraceHeader": "Root=1"}
    entry = dead_letter_entry(message(system=system), "why", "orders.fifo", fifo=True)
    assert (entry["MessageGroupId"], entry["MessageDeduplicationId"]) == ("g", "id-1")
    assert entry["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"] == "Root=1"


@pytest.mark.parametrize(
    ("source", "system", "kept"),
    [
        ("orders", {"MessageGroupId": "tenant"}, {"MessageGroupId": "tenant"}),
        ("orders", {}, {}),
        ("orders.fifo", {"MessageGroupId": "g", "MessageDeduplicationId": "d"}, {}),
    ],
)
def test_a_standard_dead_letter_queue_is_fair_as_its_source(source, system, kept):
    """The group of a fair queue is kept; no deduplication id, which a standard queue refuses."""
    entry = dead_letter_entry(message(system=system), "why", source, fifo=False)
    assert {name: value for name, value in entry.items() if "Id" in name[1:]} == kept


def test_without_a_reason_it_is_the_original():
    """A message with no byte to spare goes as it came, and without an older reason."""
    letter = dead_letter_entry(message(attributes(1)), "why", "orders", fifo=False)
    for own in (attributes(1), letter["MessageAttributes"]):
        entry = dead_letter_entry(message(own), None, "orders", fifo=False)
        assert entry["MessageAttributes"].keys() == {"own-0"}
    assert "MessageAttributes" not in dead_letter_entry(message(), None, "orders", fifo=False)


@given(reason=st.text())
def test_any_reason_can_be_sent(reason):
    """SQS refuses empty values and most control characters, and so they are left out."""
    entry = dead_letter_entry(message(), reason, "orders", fifo=False)
    value = entry["MessageAttributes"]["DeadLetterReason"]["StringValue"]
    assert 1 <= len(value) <= 1_000
    assert all(
        character in "\t\n\r" or 0x20 <= ord(character) <= 0xD7FF or ord(character) >= 0xE000
        for character in value
    )
    assert "\ufffe" not in value
    assert "\uffff" not in value
