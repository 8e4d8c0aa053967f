"""Finding the payload type in the annotation of any kind of callable."""

import dataclasses
import functools
import sys
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NewType, NotRequired, TypedDict, TypeVar

import postponed_annotations
import pydantic
import pytest
import typing_extensions

from loafer_kit.payloads.decoding import payload_annotation

T = TypeVar("T")


@dataclasses.dataclass
class Order:
    number: int


class Address(TypedDict):
    city: NotRequired[str]


class Payment(pydantic.BaseModel):
    amount: float


@pydantic.dataclasses.dataclass
class Refund:
    amount: float


class TextDict(typing_extensions.TypedDict):
    text: str


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


class PageDict(TypedDict, Generic[T]):
    items: list[T]


class PageModel(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Colour(Enum):
    RED = "red"


class Plain(Generic[T]):
    pass


BoundedOrder = TypeVar("BoundedOrder", bound=Order)
OrderId = NewType("OrderId", int)
OrderAgain = NewType("OrderAgain", Order)
Orders = typing_extensions.TypeAliasType("Orders", list[Order])
Nested = typing_extensions.TypeAliasType("Nested", "list[Nested] | Order")


def taking(annotation):
    async def handler(message, metadata):
        return True

    handler.__annotations__["message"] = annotation
    return handler


@pytest.mark.parametrize(
    "annotation",
    [
        Order,
        Address,
        Payment,
        Refund,
        TextDict,
        "Order",
        Page[Order],
        Page[int],
        Page,
        PageDict[Order],
        PageDict[int],
        PageModel[Order],
        PageModel[int],
        Order | None,
        typing.Optional["Order"],
        Order | Payment,
        Annotated[Order | Payment, "either"],
        Annotated[Order, pydantic.Field(description="an order")],
        list[Order],
        list["Order"],
        list[list[Order | None]],
        dict[str, Order],
        Mapping[str, list[Address]],
        tuple[Order, ...],
        OrderAgain,
        Orders,
        BoundedOrder,
    ],
    ids=str,
)
def test_an_annotation_that_names_a_payload_type_is_found(annotation):
    """Alone or within another type, as a type or as its name."""
    found = payload_annotation(taking(annotation))

    assert found is not None
    assert typing.get_origin(found) == typing.get_origin(annotation) or "Order" in str(annotation)


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        Any,
        object,
        str,
        bytes,
        dict,
        list,
        "dict",
        "Any",
        dict[str, Any],
        list[int],
        str | None,
        Literal["Order"],
        Literal[Colour.RED],
        Colour,
        Annotated[dict, Order],
        Annotated[dict, Order(1)],
        OrderId,
        Plain,
        Plain[int],
        T,
        Callable[..., Any],
        Order(1),
        pydantic.BaseModel,
    ],
    ids=str,
)
def test_any_other_annotation_asks_for_nothing(annotation, caplog):
    """Handlers written before keep working, and nothing is said about them."""
    assert payload_annotation(taking(annotation)) is None
    assert caplog.records == []


async def plain_function(order: Order, metadata):
    return True


def synchronous(order: Order, metadata):
    return True


def logged(function):
    @functools.wraps(function)
    async def wrapper(*args: Any, **keywords: Any) -> bool:
        return await function(*args, **keywords)

    return wrapper


class Counted:
    """A decorator that is an object."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function

    async def __call__(self, *args):
        return await self.function(*args)


class ClassBased:
    async def handle(self, order: Order, *args):
        return True

    async def handle_text(self, order: "Order", metadata: "Unknown"):  # noqa: F821
        return True

    @staticmethod
    async def handle_static(order: Order, metadata):
        return True

    @classmethod
    async def handle_class(cls, order: Order, metadata):
        return True

    @logged
    async def handle_logged(self, order: Order, metadata):
        return True

    async def handle_with(self, database: str, order: Order, metadata):
        return True

    handle_partly = functools.partialmethod(handle_with, "database")


class CallableObject:
    async def __call__(self, order: Order, metadata):
        return True


async def with_database(database: Address, order: Order, metadata):
    return True


async def with_options(order: Order, metadata, *, option: "Unknown" = 0):  # noqa: F821
    return True


async def as_they_come(*messages: Order):
    return True


@pytest.mark.parametrize(
    "handler",
    [
        plain_function,
        synchronous,
        logged(plain_function),
        logged(logged(synchronous)),
        Counted(plain_function),
        ClassBased().handle,
        ClassBased().handle_text,
        ClassBased().handle_static,
        ClassBased.handle_static,
        ClassBased.__dict__["handle_static"],
        ClassBased().handle_class,
        ClassBased().handle_logged,
        ClassBased().handle_partly,
        logged(ClassBased().handle),
        CallableObject(),
        functools.partial(CallableObject()),
        functools.partial(with_database, {}),
        functools.partial(functools.partial(with_database, {}), metadata={}),
        functools.partial(ClassBased().handle_with, "database"),
        logged(functools.partial(with_database, {})),
        with_options,
        functools.partial(with_options, option=1),
        as_they_come,
        lambda order, metadata: True,
    ],
    ids=lambda handler: getattr(handler, "__qualname__", type(handler).__name__),
)
def test_a_handler_of_any_kind_is_seen_through(handler):
    """Functions, methods, partials, decorated functions and callable objects."""
    if getattr(handler, "__name__", "") == "<lambda>":
        handler.__annotations__["order"] = "Order"

    assert payload_annotation(handler) is Order


class Base(Generic[T]):
    async def handle(self, message: T, *args):
        return True

    async def handle_many(self, messages: "list[T] | None", *args):
        return True


Again = TypeVar("Again")


class Between(Base[Again], Generic[Again]):
    pass


class OrderHandler(Between[Order]):
    pass


class ListHandler(Base[list[Again]], Generic[Again]):
    pass


class OrdersHandler(ListHandler[Order]):
    pass


def test_a_generic_handler_takes_what_its_subclass_says():
    """The type variable is what the subclass put in its place."""
    assert payload_annotation(OrderHandler().handle) is Order
    assert payload_annotation(OrderHandler().handle_many) == list[Order] | None
    assert payload_annotation(OrdersHandler().handle) == list[Order]
    assert payload_annotation(Between().handle) is None


def test_a_handler_without_a_parameter_asks_for_nothing():
    """Nor does one that no signature is known of."""

    async def nothing():
        return True

    assert payload_annotation(nothing) is None
    assert payload_annotation(print) is None
    assert payload_annotation(dict) is None


def test_only_the_annotation_that_is_asked_for_is_resolved():
    """Names of other parameters may be known to type checkers alone."""
    assert payload_annotation(postponed_annotations.handle_parcel) is postponed_annotations.Parcel
    assert payload_annotation(postponed_annotations.call_back, 1) is postponed_annotations.Parcel
    assert payload_annotation(postponed_annotations.handle_anything) is None


@pytest.mark.parametrize(
    ("handler", "annotation"),
    [
        (postponed_annotations.handle_unseen, "Unseen"),
        (postponed_annotations.handle_unseen_parcel, "Parcel | Unseen"),
        (taking("Order."), "Order."),
        (taking("the body"), "the body"),
        (taking("typing.Missing"), "typing.Missing"),
        (taking("list[Missing]"), "list[Missing]"),
        (taking(list["Missing"]), "list"),  # noqa: F821
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_annotation_that_cannot_be_resolved_is_told(handler, annotation, caplog):
    """It may have meant a payload type: one line names the handler, the annotation and the way out."""
    assert payload_annotation(handler) is None
    [record] = caplog.records
    assert record.levelname == "WARNING"
    told = record.getMessage()
    assert told.startswith(f"handler.unchecked handler={handler.__module__}.{handler.__qualname__}")
    assert annotation in told
    assert "\n" not in told
    assert "TYPE_CHECKING" in told


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of Python 3.12")
def test_the_syntax_of_python_3_12_is_seen_through(caplog):
    """Aliases are evaluated late, and type parameters are known to their function alone."""
    namespace = {"Order": Order, "__name__": __name__}
    exec(  # noqa: S102 - our own text
        "type Late = list[Order]\n"
        "type Never = list[Missing]\n"
        "type Json = dict[str, Json] | list[Json] | str\n"
        "async def late(message: Late, metadata): ...\n"
        "async def never(message: Never, metadata): ...\n"
        "async def json(message: Json, metadata): ...\n"
        "async def bounded[M: Order](message: 'list[M]', metadata): ...\n",
        namespace,
    )
    assert payload_annotation(namespace["late"]) is namespace["Late"]
    assert payload_annotation(namespace["json"]) is None
    assert payload_annotation(namespace["bounded"]) is not None
    assert caplog.records == []
    assert payload_annotation(namespace["never"]) is None
    assert "name 'Missing' is not defined" in caplog.text
