"""Copies of messages, and what their headers say of a death."""

from datetime import UTC, datetime

import pytest
from pamqp import decode, encode

from loafer_kit.ext.amqp import letters
from loafer_kit.ext.amqp.letters import Death
from loafer_kit.testing.rabbitmq import amqp_message

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_copies_can_be_written_whatever_the_headers_are():
    """A text of another client that is not UTF-8 is read as bytes, which pamqp refuses to write."""
    message = amqp_message("1", headers={"raw": b"\xff", "deep": [{"raw": b"\x00"}]})
    copies = [
        letters.retried(message, persistent=True),
        letters.dead(message, "no", "orders", persistent=True),
        letters.revived(message, b"2"),
    ]
    for copy in copies:
        _, headers = decode.field_table(encode.field_table(copy.headers))
        assert (headers["raw"], headers["deep"]) == (b"\xff", [{"raw": b"\x00"}])


@pytest.mark.parametrize(
    ("headers", "death"),
    [
        ({}, Death()),
        ({"DeadLetterReason": "no"}, Death("no")),
        ({"DeadLetterReason": 7, "DeadLetterSourceQueue": b"\xff", "DeadLetterTime": "x"}, Death()),
        ({"DeadLetterSourceQueue": "orders"}, Death(None, "orders")),
        (
            {"DeadLetterReason": "no", "DeadLetterTime": "2026-01-01T12:00:00+00:00"},
            Death("no", None, NOON),
        ),
        (
            {"DeadLetterReason": "no", "DeadLetterTime": "0001-01-01"},
            Death("no"),
        ),
        ({"x-death": []}, Death()),
        ({"x-death": "mine"}, Death()),
        ({"x-death": [7]}, Death()),
        ({"x-death": [{"reason": "expired"}]}, Death("moved by RabbitMQ: expired")),
        (
            {"x-death": [{"reason": "maxlen", "queue": "orders", "time": NOON}, {"queue": "old"}]},
            Death("moved by RabbitMQ: maxlen", "orders", NOON),
        ),
        (
            {"DeadLetterSourceQueue": "orders", "x-death": [{"queue": "orders.dead"}]},
            Death(None, "orders"),
        ),
    ],
)
def test_a_death_is_read_from_headers_that_anybody_can_write(headers, death):
    """The service's word counts before RabbitMQ's; the newest death before older ones."""
    assert letters.death_of(headers) == death


def test_a_time_of_death_without_a_zone_can_be_compared():
    """A summary names the oldest of several letters."""
    death = letters.death_of({"DeadLetterReason": "no", "DeadLetterTime": "2026-01-01T12:00:00"})
    assert death.time is not None
    assert death.time.tzinfo is UTC
