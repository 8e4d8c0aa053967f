"""Trace headers: where they are read from, and what they may cost a message."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.ext.aws import trace_headers
from loafer_kit.ext.aws.dead_letters import dead_letter_entry

TRACE, SPAN = "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
XRAY = f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={SPAN};Sampled=1"
OTHER = TRACEPARENT.replace(SPAN, "1" * 16)

REASONS = ("DeadLetterReason", "DeadLetterSourceQueue", "DeadLetterMessageId")


def text(value):
    return {"DataType": "String", "StringValue": value}


def own(count):
    return {f"own-{number}": text("x") for number in range(count)}


def message(attributes=None, xray=None, body="body"):
    system = {} if xray is None else {"AWSTraceHeader": xray}
    return {
        "MessageId": "id",
        "Body": body,
        "MessageAttributes": attributes or {},
        "Attributes": system,
    }


def envelope(**attributes):
    listed = {name: {"Type": "String", "Value": value} for name, value in attributes.items()}
    return json.dumps({"Type": "Notification", "Message": "1", "MessageAttributes": listed})


def test_attributes_are_read():
    attributes = {"traceparent": text(TRACEPARENT), "tracestate": text("a=1"), "own": text("x")}
    assert trace_headers.read(message(attributes, XRAY)) == {
        "traceparent": TRACEPARENT,
        "tracestate": "a=1",
    }


def test_the_envelope_of_sns_is_read():
    body = envelope(traceparent=TRACEPARENT, baggage="a=1")
    assert trace_headers.read(message(body=body)) == {
        "traceparent": TRACEPARENT,
        "baggage": "a=1",
    }


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (XRAY, "01"),
        (XRAY.replace("Sampled=1", "Sampled=0"), "00"),
        (XRAY.replace(";", " ; ") + ";Lineage=a:1", "01"),
        (XRAY.partition(";Sampled")[0], "00"),
        (XRAY.replace(SPAN, SPAN.upper()), "01"),
    ],
)
def test_the_header_of_x_ray_is_read(header, flags):
    expected = {"traceparent": f"00-{TRACE}-{SPAN}-{flags}"}
    assert trace_headers.read(message(xray=header)) == expected
    assert trace_headers.read(message({"traceparent": text("broken")}, header)) == expected


@pytest.mark.parametrize(
    "received",
    [
        message(xray="Root=1"),
        message(xray=f"Root=1-{TRACE[:8]}-{TRACE[8:]}"),
        message(xray=""),
        message({"traceparent": {"DataType": "Binary", "BinaryValue": b"x"}}),
        message({"traceparent": "no attribute"}),
        message({"tracestate": text("a=1"), "baggage": text("a=1")}),
        message(body='{"traceparent"'),
        message(body='["traceparent"]'),
        message(body='{"traceparent": 1}'),
        message(body='{"Type": "Notification", "MessageAttributes": "traceparent"}'),
        message(body='{"Type": "Notification", "MessageAttributes": {"traceparent": 1}}'),
        {"Body": None, "MessageAttributes": None, "Attributes": None},
        {},
    ],
)
def test_what_is_no_context_is_ignored(received):
    assert trace_headers.read(received) == {}


@given(st.text() | st.none(), st.text() | st.none(), st.text())
def test_nothing_that_is_received_makes_it_fail(traceparent, xray, body):
    attributes = {} if traceparent is None else {"traceparent": text(traceparent)}
    trace_headers.read(message(attributes, xray, body))


def test_without_headers_a_send_is_as_it_was():
    parameters = {"MessageBody": "x", "MessageAttributes": own(2)}
    assert trace_headers.add(parameters, {}) == parameters


def test_headers_take_the_place_of_others():
    """The state of another trace does not stay behind."""
    old = {"traceparent": text(TRACEPARENT), "tracestate": text("old=1"), **own(1)}
    sent = trace_headers.add({"MessageBody": "x", "MessageAttributes": old}, {"traceparent": OTHER})
    assert sent["MessageAttributes"] == {**own(1), "traceparent": text(OTHER)}


HEADERS = {"traceparent": TRACEPARENT, "tracestate": "a=1", "baggage": "b=1"}


@pytest.mark.parametrize(("count", "added"), [(7, 3), (8, 2), (9, 1), (10, 0)])
def test_a_send_has_ten_attributes_at_most(count, added):
    """The most important header comes first; where none fits, X-Ray's carries it."""
    sent = trace_headers.add({"MessageBody": "x", "MessageAttributes": own(count)}, HEADERS)
    assert list(sent["MessageAttributes"]) == [*own(count), *list(HEADERS)[:added]]
    system = {} if added else {"AWSTraceHeader": text(XRAY)}
    assert sent.get("MessageSystemAttributes", {}) == system


def test_a_publish_to_sns_without_room_goes_without():
    sent = trace_headers.add({"Message": "x", "MessageAttributes": own(10)}, HEADERS, sqs=False)
    assert sent == {"Message": "x", "MessageAttributes": own(10)}


@pytest.mark.parametrize("body", ["x" * 260_000, "ß" * 130_000])
def test_a_large_message_does_not_grow(body):
    """It could become too large for its queue."""
    sent = trace_headers.add({"MessageBody": body}, HEADERS)
    assert "MessageAttributes" not in sent
    assert sent["MessageSystemAttributes"] == {"AWSTraceHeader": text(XRAY)}
    assert "MessageAttributes" in trace_headers.add({"MessageBody": "x" * 200_000}, HEADERS)


_contexts = st.sampled_from(
    [
        {},
        {"traceparent": text(TRACEPARENT)},
        {"traceparent": text(TRACEPARENT), "tracestate": text("a=1")},
        {"traceparent": text(TRACEPARENT), "tracestate": text("a=1"), "baggage": text("b=1")},
    ]
)


@given(st.integers(0, 10), _contexts, st.booleans(), st.sampled_from([None, XRAY]))
def test_reasons_survive_whatever_the_context(count, context, injected, xray):
    """They are those of a message without a context, and the letter still has one."""
    attributes = dict(list((own(count) | context).items())[:10])
    headers = HEADERS if injected and not trace_headers.read(message(attributes, xray)) else None
    letter = dead_letter_entry(
        message(attributes, xray), "why", "orders", fifo=False, headers=headers
    )
    without = dead_letter_entry(message(own(count)), "why", "orders", fifo=False)

    def reasons(entry):
        return {
            name: value
            for name, value in entry.get("MessageAttributes", {}).items()
            if name.startswith("DeadLetter")
        }

    names = letter.get("MessageAttributes", {}).keys()
    assert reasons(letter) == reasons(without)
    assert len(names) <= 10
    assert own(count).keys() <= names
    as_received = {
        "MessageAttributes": letter.get("MessageAttributes"),
        "Attributes": {
            name: value["StringValue"]
            for name, value in letter.get("MessageSystemAttributes", {}).items()
        },
    }
    expected = trace_headers.read(message(attributes, xray)) or headers or {}
    assert trace_headers.read(as_received).get("traceparent") == expected.get("traceparent")


@given(st.integers(0, 10), _contexts)
def test_what_is_injected_leaves_the_reasons_room(count, context):
    """A message that was published with a context, then rejected."""
    published = trace_headers.add(
        {"MessageBody": "x", "MessageAttributes": own(count) | context}, HEADERS
    )
    letter = dead_letter_entry(message(published["MessageAttributes"]), "why", "orders", fifo=False)
    plain = dead_letter_entry(message(own(count)), "why", "orders", fifo=False)
    kept = {name for name in plain["MessageAttributes"] if name.startswith("DeadLetter")}
    assert kept <= letter["MessageAttributes"].keys()
    assert len(letter["MessageAttributes"]) <= 10


def test_an_attribute_of_ones_own_named_baggage_is_kept():
    """Without a trace context it is none."""
    attributes = {**own(7), "baggage": text("two suitcases")}
    letter = dead_letter_entry(message(attributes), "why", "orders", fifo=False)
    assert attributes.keys() <= letter["MessageAttributes"].keys()
