"""Typed handlers: what their annotations make of a message's content."""

import dataclasses
import datetime as dt
from typing import NotRequired, TypedDict

import pydantic
import pytest

from loafer_kit.exceptions import InvalidPayloadError
from loafer_kit.payloads import decoder_for
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route, is_undecodable


@dataclasses.dataclass
class Line:
    article: str
    count: int = 1


@dataclasses.dataclass
class Order:
    number: int
    lines: list[Line]


class Address(TypedDict):
    city: str


class Customer(TypedDict):
    name: str
    addresses: list[Address]
    born: NotRequired[dt.date]


class Payment(pydantic.BaseModel):
    amount: float


class Provider(AbstractProvider):
    async def fetch_messages(self):
        return []

    async def confirm_message(self, message):
        return None


def test_a_dataclass_is_built_with_its_nested_types():
    """The handler gets the dataclass, not a dict."""

    async def handler(order: Order, metadata):
        return True

    decode = decoder_for(handler)
    assert decode({"number": 7, "lines": [{"article": "nut"}]}) == Order(7, [Line("nut", 1)])


def test_a_typed_dict_is_checked_and_stays_a_dict():
    """Nested ones and optional keys included, on every supported Python."""

    async def handler(customer: Customer, metadata):
        return True

    decode = decoder_for(handler)
    customer = {"name": "Ada", "addresses": [{"city": "London"}]}
    assert decode(customer) == customer
    assert decode({**customer, "born": "1815-12-10"})["born"] == dt.date(1815, 12, 10)
    with pytest.raises(
        InvalidPayloadError, match=r"does not fit Customer: addresses.0.city: Field required"
    ):
        decode({"name": "Ada", "addresses": [{}]})


def test_a_pydantic_model_is_built():
    """From a class-based handler's method too."""

    class Handler:
        async def handle(self, payment: Payment, *args):
            return True

    assert decoder_for(Handler().handle)({"amount": 3}) == Payment(amount=3.0)


def test_a_batch_handler_names_the_type_of_its_items():
    """`list[Order]` decodes each message as an Order."""

    async def handler(payments: list[Payment], metadata):
        return True

    assert decoder_for(handler, batch=True)({"amount": 3}) == Payment(amount=3.0)


@pytest.mark.parametrize("annotation", [dict, str, object, "Unknown", None])
def test_other_annotations_leave_the_content_alone(annotation):
    """Handlers written before keep working."""

    async def handler(message, metadata):
        return True

    handler.__annotations__["message"] = annotation
    assert decoder_for(handler) is None


def test_a_callable_object_is_seen_through():
    """Its `__call__` names the type."""

    class Handler:
        async def __call__(self, payment: Payment, metadata):
            return True

    assert decoder_for(Handler())({"amount": 1}) == Payment(amount=1.0)


async def test_a_message_that_does_not_fit_is_undecodable_with_all_reasons():
    """The route rejects it without calling the handler."""
    called = []

    async def handler(order: Order, metadata):
        called.append(order)

    route = Route(Provider(), handler)
    with pytest.raises(InvalidPayloadError) as info:
        await route.deliver({"number": "x"})
    assert is_undecodable(info.value)
    assert "number: Input should be a valid integer" in str(info.value)
    assert "lines: Field required" in str(info.value)
    assert called == []


async def test_a_message_that_fits_arrives_typed():
    """End to end through the route."""

    async def handler(order: Order, metadata):
        return order

    assert await Route(Provider(), handler).deliver({"number": 1, "lines": []}) == Order(1, [])
