"""The names of resources in CloudFormation and Terraform."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.shipping.identifiers import identifiers


@pytest.mark.parametrize(
    ("name", "camel_case", "snake_case"),
    [
        ("orders", "Orders", "orders"),
        ("orders-created.fifo", "OrdersCreated", "orders_created"),
        ("orders_queue", "Orders", "orders"),
        ("queue", "Queue", "queue"),
        ("a-very-long-name", "AVeryLongName", "a_very_long_name"),
        ("HTTPErrors", "HTTPErrors", "http_errors"),
        ("1st", "The1st", "the_1st"),
        ("--", "Unnamed", "unnamed"),
    ],
)
def test_an_identifier_reads_well(name, camel_case, snake_case):
    """As one would name a resource."""
    (identifier,) = identifiers([name]).values()

    assert (identifier.camel_case, identifier.snake_case) == (camel_case, snake_case)


def test_what_would_be_called_the_same_is_numbered():
    """From the second on."""
    found = identifiers(["orders", "orders_queue", "Orders.fifo"])

    assert [word.camel_case for word in found.values()] == ["Orders", "Orders2", "Orders3"]
    assert [word.snake_case for word in found.values()] == ["orders", "orders_2", "orders_3"]


@given(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,12}(\.fifo)?", fullmatch=True), unique=True))
def test_identifiers_never_collide(names):
    """Each name has one of its own, also where case is all that differs, or nothing does."""
    found = identifiers(names)

    assert list(found) == names
    words = [word.camel_case for word in found.values()]
    labels = [word.snake_case for word in found.values()]
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9]*", word) for word in words)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", label) for label in labels)
    assert len({word.lower() for word in words}) == len(set(labels)) == len(names)
