"""What a route uses at the broker: names and delays."""

import pytest

from loafer_kit.ext.amqp.options import AMQPOptions, Topology, rounded_up


@pytest.mark.parametrize(
    ("delay", "milliseconds"),
    [
        (0.0001, 10),
        (0.25, 250),
        (0.2501, 260),
        (1.01, 1_100),
        (45, 45_000),
        (61, 61_000),
        (123.4, 130_000),
        (3_600, 3_600_000),
    ],
)
def test_delays_are_rounded_up_to_two_digits(delay, milliseconds):
    """Each delay has its queue: any other would hold its messages back behind longer ones."""
    assert rounded_up(delay) == milliseconds


@pytest.mark.parametrize(
    ("given", "name"), [(None, "orders.dead"), ("letters", "letters"), ("", "")]
)
def test_the_dead_letter_queue_is_named_after_the_queue_unless_it_is_named(given, name):
    """The empty name means none."""
    assert Topology("orders", AMQPOptions(dead_letter_queue=given)).dead_letter_queue == name
