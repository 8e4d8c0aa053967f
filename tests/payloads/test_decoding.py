"""Typed handlers: validation of a message's content."""

import dataclasses
import datetime as dt
import functools
import pathlib
import subprocess
import sys
import threading
import typing
from collections.abc import Iterable, Sequence
from typing import Annotated, Generic, Literal, NotRequired, TypeVar

import postponed_annotations
import pydantic
import pytest
import typing_extensions
from typing_extensions import TypedDict

from loafer_kit.exceptions import ConfigurationError, InvalidPayloadError
from loafer_kit.payloads.decoding import decoder_for, is_undecodable
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route


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


T = TypeVar("T")


class Tree(TypedDict):
    value: int
    trees: NotRequired["list[Tree]"]
    best: "Tree | None"


class PageDict(TypedDict, Generic[T]):
    items: list[T]
    first: T | None


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


class PageModel(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Marked(TypedDict, total=False):
    """What only the metadata of a field says."""

    city: Annotated[str, pydantic.Field(min_length=2)]
    zip: Annotated[int, pydantic.Field(alias="zip-code")]


class Strict(TypedDict):
    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")

    city: str


class New(TypedDict):
    address: Address


@dataclasses.dataclass
class Branch:
    leaf: "Leaf"


class Leaf(TypedDict):
    branch: Branch | None
    address: Address


@dataclasses.dataclass
class Everywhere:
    one: Address
    many: list[Address]
    named: dict[str, Address]
    maybe: Address | None
    pair: tuple[Address, int]
    either: Address | Line


@dataclasses.dataclass
class Created:
    kind: Literal["created"]
    number: int


@dataclasses.dataclass
class Cancelled:
    kind: Literal["cancelled"]
    reason: str


class CreatedDict(TypedDict):
    kind: Literal["created"]
    number: int


class CancelledDict(TypedDict):
    kind: Literal["cancelled"]
    reason: str


def taking(annotation):
    async def handler(message, metadata):
        return True

    handler.__annotations__["message"] = annotation
    return handler


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
    """Nested ones and optional keys included."""

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


TOWN = {"city": "Rome"}

FITTING = [
    (Order | None, {"number": 1, "lines": []}, Order(1, [])),
    (Annotated[Order, "an order"], {"number": 1, "lines": []}, Order(1, [])),
    (list[Line], [{"article": "nut"}], [Line("nut")]),
    (Sequence[Line | None], [{"article": "nut"}, None], [Line("nut"), None]),
    (dict[str, Line], {"a": {"article": "nut"}}, {"a": Line("nut")}),
    (Page[Line], {"items": [{"article": "nut"}]}, Page([Line("nut")])),
    (PageModel[Line], {"items": [{"article": "nut"}]}, PageModel[Line](items=[Line("nut")])),
    (
        PageDict[Line],
        {"items": [{"article": "nut"}], "first": None},
        {"items": [Line("nut")], "first": None},
    ),
    (PageDict[Address], {"items": [TOWN], "first": TOWN}, {"items": [TOWN], "first": TOWN}),
    (Page[Address], {"items": [TOWN]}, Page([TOWN])),
    (list[Address] | None, [TOWN], [TOWN]),
    (New, {"address": TOWN}, {"address": TOWN}),
    (Strict, TOWN, TOWN),
    (Marked, {"city": "Rome", "zip-code": "7"}, {"city": "Rome", "zip": 7}),
    (
        Tree,
        {"value": "1", "best": {"value": 2, "best": None}, "trees": [{"value": "3", "best": None}]},
        {"value": 1, "best": {"value": 2, "best": None}, "trees": [{"value": 3, "best": None}]},
    ),
    (
        Branch,
        {"leaf": {"branch": {"leaf": {"branch": None, "address": TOWN}}, "address": TOWN}},
        Branch({"branch": Branch({"branch": None, "address": TOWN}), "address": TOWN}),
    ),
    (
        Leaf,
        {"branch": {"leaf": {"branch": None, "address": TOWN}}, "address": TOWN},
        {"branch": Branch({"branch": None, "address": TOWN}), "address": TOWN},
    ),
    (
        Everywhere,
        {
            "one": TOWN,
            "many": [TOWN],
            "named": {"a": TOWN},
            "maybe": None,
            "pair": [TOWN, 1],
            "either": TOWN,
        },
        Everywhere(TOWN, [TOWN], {"a": TOWN}, None, (TOWN, 1), TOWN),
    ),
    (Created | Cancelled, {"kind": "created", "number": 1}, Created("created", 1)),
    (
        Annotated[Created | Cancelled, pydantic.Field(discriminator="kind")],
        {"kind": "cancelled", "reason": "late"},
        Cancelled("cancelled", "late"),
    ),
    (
        Annotated[CreatedDict | CancelledDict, pydantic.Field(discriminator="kind")],
        {"kind": "created", "number": "1"},
        {"kind": "created", "number": 1},
    ),
    (
        postponed_annotations.Parcel,
        {"boxes": [{"part": {"article": "nut", "parts": []}}], "inside": {"boxes": []}},
        postponed_annotations.Parcel(
            [{"part": {"article": "nut", "parts": []}}], postponed_annotations.Parcel([])
        ),
    ),
]


@pytest.mark.parametrize(("annotation", "content", "decoded"), FITTING, ids=str)
def test_content_is_decoded_wherever_the_payload_type_stands(annotation, content, decoded):
    """Alone, in unions, containers and generics; TypedDicts at any depth."""
    assert decoder_for(taking(annotation))(content) == decoded


@pytest.mark.parametrize(
    ("annotation", "content", "reason"),
    [
        (Order | None, {"number": 1}, "does not fit Order | None: lines: Field required"),
        (list[Line], [{}], "does not fit list[Line]: 0.article: Field required"),
        (list[Line], {}, "does not fit list[Line]: Input should be a valid list"),
        (
            Page[Line],
            {"items": [{}]},
            "does not fit Page[Line]: items.0.article: Field required",
        ),
        (PageModel[Line], {"items": 1}, "does not fit PageModel[Line]: items: Input should be"),
        (PageDict[int], {"items": ["x"], "first": 1}, "does not fit PageDict[int]: items.0: Input"),
        (Annotated[Order, "an order"], {}, "does not fit Order: number: Field required; lines:"),
        (Marked, {"city": "R"}, "does not fit Marked: city: String should have at least 2"),
        (Strict, {**TOWN, "x": 1}, "does not fit Strict: x: Extra inputs are not permitted"),
        (Tree, {"value": 1, "best": {}}, "best.value: Field required; best.best: Field required"),
        (Branch, {"leaf": {"branch": None, "address": {}}}, "leaf.address.city: Field required"),
        (
            postponed_annotations.Parcel,
            {"boxes": [{"part": {"parts": [{}]}}]},
            "boxes.0.part.article: Field required; boxes.0.part.parts.0.article: Field required",
        ),
        (
            Created | Cancelled,
            {"kind": "paid"},
            "does not fit Created | Cancelled: Created.kind: Input should be 'created'",
        ),
        (
            Annotated[Created | Cancelled, pydantic.Field(discriminator="kind")],
            {"kind": "cancelled"},
            "does not fit Created | Cancelled: cancelled.reason: Field required",
        ),
    ],
    ids=str,
)
def test_content_that_does_not_fit_is_refused_with_the_place(annotation, content, reason):
    """The type is named as the handler names it."""
    with pytest.raises(InvalidPayloadError) as caught:
        decoder_for(taking(annotation))(content)
    assert reason in str(caught.value)


def test_a_payload_that_is_one_already_stays_what_it_is():
    """A translator may have made it."""
    order = Order(1, [])

    assert decoder_for(taking(Order))(order) is order
    assert decoder_for(taking(Order | None))(order) is order


class StrictModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    day: dt.date
    count: int = 0


class HalfStrict(TypedDict):
    day: Annotated[dt.date, pydantic.Field(strict=True)]
    count: int


@pytest.mark.parametrize("annotation", [StrictModel, list[StrictModel] | StrictModel, HalfStrict])
def test_a_strict_model_takes_what_json_has_no_other_way_to_say(annotation):
    """A date is a text there; a number still is none."""
    decode = decoder_for(taking(annotation))

    dumped = pydantic.TypeAdapter(dict | StrictModel).dump_python(
        decode({"day": "2030-01-31", "count": 1})
    )
    assert dumped == {"day": dt.date(2030, 1, 31), "count": 1}
    assert decode({"day": dt.date(2030, 1, 31), "count": 1}) == decode(
        {"day": "2030-01-31", "count": 1}
    )
    with pytest.raises(InvalidPayloadError, match=r"day: Input should be a valid date"):
        decode({"day": 5.5, "count": 1})
    if annotation is StrictModel:
        with pytest.raises(InvalidPayloadError, match=r"count: Input should be a valid integer"):
            decode({"day": "2030-01-31", "count": "1"})


@dataclasses.dataclass
class Lax:
    path: pathlib.Path
    secret: pydantic.SecretStr
    pair: tuple[int, int]


def test_only_what_is_strict_is_taken_as_json():
    """Everything else is spared the way there and back."""
    with pytest.raises(InvalidPayloadError, match="pair: Input should be a valid tuple"):
        decoder_for(taking(Lax))({"path": "/", "secret": "x", "pair": 5})


class Untyped:
    pass


@dataclasses.dataclass
class OrderPage(Page[Order]):
    number: int


class OrderPageDict(PageDict[Order]):
    number: int


@dataclasses.dataclass
class FilledPage(Page[Order]):
    items: list[Order]


class OrderPageModel(PageModel[Order]):
    pass


class Further(Strict, total=False):
    street: str
    further: "Further"


def test_types_that_derive_from_others_have_their_fields():
    """Of a generic base too, where they say what its type variable is."""
    order = {"number": 1, "lines": []}

    assert decoder_for(taking(FilledPage))({"items": [order]}) == FilledPage([Order(1, [])])
    page = decoder_for(taking(OrderPageModel))({"items": [order]})
    assert page == OrderPageModel(items=[Order(1, [])])
    decode = decoder_for(taking(Further))
    assert decode({**TOWN, "further": TOWN}) == {**TOWN, "further": TOWN}
    with pytest.raises(InvalidPayloadError, match=r"Further: further\.city: Field required"):
        decode({**TOWN, "further": {}})


@dataclasses.dataclass
class Locked:
    lock: threading.Lock


class Lazy(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(defer_build=True)

    thing: "Missing"  # noqa: F821


@pytest.mark.parametrize(
    ("annotation", "shown", "reason"),
    [
        (Locked, "Locked", "Unable to generate pydantic-core schema for"),
        (list[Locked] | None, "list[Locked] | None", "Unable to generate pydantic-core schema"),
        (Order | Untyped, "Order | Untyped", "Unable to generate pydantic-core schema for"),
        (Lazy, "Lazy", "name 'Missing' is not defined"),
        (postponed_annotations.Unfinished, "Unfinished", "name 'Unseen' is not defined"),
        (OrderPage, "OrderPage", "OrderPage.items is of the type variable T of a base"),
        (list[OrderPageDict], "list[OrderPageDict]", "OrderPageDict.items is of the type variable"),
        (Iterable[Order], "Iterable[Order]", "iterables are not validated before they are used"),
        (
            Annotated[Order | Line, pydantic.Field(discriminator="number")],
            "Order | Line",
            "Dataclass 'Order' needs field 'number' to be of type `Literal`",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_validated_is_refused_when_the_route_is_made(annotation, shown, reason):
    """In one line that names handler, annotation, reason and the way out."""
    handler = taking(annotation)

    with pytest.raises(ConfigurationError) as caught:
        Route(Provider(), handler)

    told = str(caught.value)
    name = f"{handler.__module__}.taking.<locals>.handler"
    assert told.startswith(f"The handler {name} takes {shown}, which cannot be validated: {reason}")
    assert told.endswith("annotate with Any to take messages as they are.")
    assert "\n" not in told


class Old(typing.TypedDict):
    city: str


class OldInside(typing.TypedDict):
    address: Old


@dataclasses.dataclass
class Outer:
    inside: OldInside | None


class OuterModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(defer_build=True)

    by_name: dict[str, Old]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes them since Python 3.12")
@pytest.mark.parametrize(
    ("annotation", "refused"),
    [(Old, "Old"), (list[Old | Line], "Old"), (Outer, "OldInside"), (OuterModel, "Old")],
    ids=str,
)
def test_a_typed_dict_of_typing_is_refused_before_python_3_12(annotation, refused):
    """At any depth, in one line that names it and says what to use."""
    with pytest.raises(ConfigurationError) as caught:
        Route(Provider(), taking(annotation))

    assert (
        f": {refused} is a typing.TypedDict: use typing_extensions.TypedDict before Python 3.12. "
        in str(caught.value)
    )
    assert "\n" not in str(caught.value)


Orders = typing_extensions.TypeAliasType("Orders", list[Order])


@pytest.mark.parametrize(
    "annotation",
    [
        list[Order],
        "list[Order]",
        Sequence[Order],
        Iterable[Order],
        Annotated[list[Order], 1],
        Orders,
    ],
    ids=str,
)
def test_a_batch_handler_may_name_its_list_in_many_ways(annotation):
    """Any annotation that accepts a list."""
    decode = decoder_for(taking(annotation), batch=True)

    assert decode({"number": 1, "lines": []}) == Order(1, [])


@pytest.mark.parametrize(
    "annotation",
    [Order, Page[Order], dict[str, Order], list[Order] | None, PageModel[Order]],
    ids=str,
)
def test_a_batch_handler_that_takes_no_list_is_refused(annotation):
    """Its annotation would be ignored."""
    with pytest.raises(ConfigurationError, match="takes a list of messages, as in list"):
        decoder_for(taking(annotation), batch=True)


async def test_a_batch_handler_gets_items_of_any_type():
    """Unions included."""
    decode = decoder_for(taking(list[Created | Cancelled]), batch=True)

    assert decode({"kind": "created", "number": 1}) == Created("created", 1)


@pytest.mark.parametrize(
    "annotation", [dict, list, list[int], "Unknown", Annotated[list, 1]], ids=str
)
def test_other_annotations_leave_the_content_alone(annotation):
    """Handlers written before keep working, batch handlers too."""
    assert decoder_for(taking(annotation)) is None
    assert decoder_for(taking(annotation), batch=True) is None


def test_a_handler_without_payload_types_does_without_pydantic():
    """Its service starts as fast as before."""
    code = (
        "import sys, typing\n"
        "from loafer_kit.payloads.decoding import decoder_for\n"
        "async def handler(message: dict[str, typing.Any], metadata): ...\n"
        "assert decoder_for(handler) is None\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_a_plain_function_takes_typed_messages():
    """Through its thread; so do partials of it and objects with `handle`."""

    def handler(order: Order, metadata):
        return order

    class ClassBased:
        def handle(self, order: Order, *args):
            return order

    for each in (handler, functools.partial(handler), ClassBased()):
        assert await Route(Provider(), each).deliver({"number": 1, "lines": []}) == Order(1, [])
        with pytest.raises(InvalidPayloadError):
            await Route(Provider(), each).deliver({})


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
