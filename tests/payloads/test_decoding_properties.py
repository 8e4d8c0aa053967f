"""Typed handlers with generated types: fitting content arrives, other content is refused."""

import dataclasses
import datetime as dt
import enum
import sys
import typing
from typing import Annotated, Any, Generic, Literal, NotRequired, Required, TypeVar

import pydantic
import pytest
import typing_extensions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loafer_kit.exceptions import InvalidPayloadError
from loafer_kit.payloads.decoding import decoder_for

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Wrapped(Generic[T]):
    inner: T


class WrappedDict(typing_extensions.TypedDict, Generic[T]):
    inner: T


@dataclasses.dataclass
class Shape:
    """A type, pairs of content and what it becomes, and pairs of broken content and its place.

    In a place, None stands for one or more names that pydantic chooses.
    """

    annotation: Any
    fitting: st.SearchStrategy
    broken: st.SearchStrategy


def leaf(annotation, values, *broken, content=lambda value: value):
    fitting = values.map(lambda value: (content(value), value))
    return Shape(annotation, fitting, st.sampled_from(broken).map(lambda value: (value, ())))


LEAVES = [
    leaf(int, st.integers(-(2**31), 2**31), "x", [], None, 1.5),
    leaf(str, st.text(max_size=5), 5, {}, None),
    leaf(bool, st.booleans(), "perhaps", 7, []),
    leaf(float, st.floats(allow_nan=False, allow_infinity=False), "x", None),
    leaf(dt.date, st.dates(), "yesterday", [], content=dt.date.isoformat),
    leaf(Colour, st.sampled_from(Colour), "green", 1, content=lambda colour: colour.value),
    leaf(Literal["a", 1], st.sampled_from(["a", 1]), "b", 2, None),
    leaf(Annotated[int, pydantic.Field(ge=5)], st.integers(5, 99), 4, "x"),
]


def list_of(item):
    fitting = st.lists(item.fitting, max_size=2).map(
        lambda pairs: ([content for content, _ in pairs], [value for _, value in pairs])
    )
    broken = item.broken.map(lambda pair: ([pair[0]], (0, *pair[1])))
    return Shape(list[item.annotation], fitting, broken | st.just(({}, ())))


def dict_of(item):
    fitting = st.dictionaries(st.text(max_size=3), item.fitting, max_size=2).map(
        lambda pairs: tuple({key: pair[side] for key, pair in pairs.items()} for side in (0, 1))
    )
    broken = item.broken.map(lambda pair: ({"key": pair[0]}, ("key", *pair[1])))
    return Shape(dict[str, item.annotation], fitting, broken | st.just(([], ())))


def optional(item):
    broken = item.broken.filter(lambda pair: pair[0] is not None)
    return Shape(item.annotation | None, item.fitting | st.just((None, None)), broken)


def wrapped(generic):
    def make(item):
        def fitting(pair):
            value = {"inner": pair[1]}
            return {"inner": pair[0]}, value if generic is WrappedDict else generic(**value)

        broken = item.broken.map(lambda pair: ({"inner": pair[0]}, ("inner", *pair[1])))
        return Shape(generic[item.annotation], item.fitting.map(fitting), broken)

    return make


def either(tagged):
    """A union of types that a `kind` tells apart, with a discriminator or without."""

    def make(items):
        first, second = items
        types = [
            dataclasses.make_dataclass(
                f"Kind{kind}", [("kind", Literal[kind]), ("inner", item.annotation)]
            )
            for kind, item in (("a", first), ("b", second))
        ]
        fitting = [
            item.fitting.map(
                lambda pair, kind=kind, type_=type_: (
                    {"kind": kind, "inner": pair[0]},
                    type_(kind, pair[1]),
                )
            )
            for kind, type_, item in (("a", types[0], first), ("b", types[1], second))
        ]
        broken = first.broken.map(
            lambda pair: ({"kind": "a", "inner": pair[0]}, (None, "inner", *pair[1]))
        )
        union = types[0] | types[1]
        if tagged:
            union = Annotated[union, pydantic.Field(discriminator="kind")]
        return Shape(union, st.one_of(fitting), broken)

    return make


@dataclasses.dataclass
class Fields:
    """What a type with fields is made of: (name, shape, whether it is required)."""

    listed: list[tuple[str, Shape, bool]]

    def fitting(self, build):
        contents = st.fixed_dictionaries(
            {name: shape.fitting for name, shape, required in self.listed if required},
            optional={name: shape.fitting for name, shape, required in self.listed if not required},
        )
        return contents.map(
            lambda pairs: (
                {name: pair[0] for name, pair in pairs.items()},
                build({name: pair[1] for name, pair in pairs.items()}),
            )
        )

    def broken(self):
        name, shape, required = self.listed[0]
        others = {other: fields.fitting.map(lambda p: p[0]) for other, fields, _ in self.listed[1:]}
        wrong = st.tuples(st.fixed_dictionaries(others), shape.broken).map(
            lambda both: ({**both[0], name: both[1][0]}, (name, *both[1][1]))
        )
        missing = st.fixed_dictionaries(others).map(lambda content: (content, (name,)))
        return (wrong | missing if required else wrong) | st.just(("no object", ()))


def dataclass_of(fields):
    ordered = sorted(fields.listed, key=lambda field: not field[2])
    made = dataclasses.make_dataclass(
        "Made",
        [
            (
                (name, shape.annotation)
                if required
                else (name, shape.annotation, dataclasses.field(default="absent"))
            )
            for name, shape, required in ordered
        ],
        frozen=True,
    )
    return Shape(made, fields.fitting(lambda values: made(**values)), fields.broken())


def typed_dict_of(make, total):
    def build(fields):
        annotations = {}
        for name, shape, required in fields.listed:
            marked = shape.annotation
            if required != total:
                marked = (Required if required else NotRequired)[marked]
            annotations[name] = marked
        made = make("Made", annotations, total=total)
        return Shape(made, fields.fitting(dict), fields.broken())

    return build


def model_of(fields):
    made = pydantic.create_model(
        "Made",
        **{
            name: (shape.annotation, ... if required else "absent")
            for name, shape, required in fields.listed
        },
    )
    return Shape(
        made, fields.fitting(lambda values: made.model_construct(**values)), fields.broken()
    )


def shapes(*, in_model=False):
    """Any types; before Python 3.12, no TypedDict of `typing` itself."""
    modules = [typing, typing_extensions] if sys.version_info >= (3, 12) else [typing_extensions]
    made = st.sampled_from(modules)
    typed_dicts = st.builds(typed_dict_of, made.map(lambda module: module.TypedDict), st.booleans())
    generics = [Wrapped, WrappedDict]

    def extended(inner):
        fields = st.lists(st.tuples(inner, st.booleans()), min_size=1, max_size=3).map(
            lambda listed: Fields([(f"field_{n}", *field) for n, field in enumerate(listed)])
        )
        kinds = [
            inner.map(list_of),
            inner.map(dict_of),
            inner.map(optional),
            st.builds(lambda make, item: make(item), st.sampled_from(generics).map(wrapped), inner),
            st.builds(
                lambda make, items: make(items), st.booleans().map(either), st.tuples(inner, inner)
            ),
            fields.map(dataclass_of),
            st.builds(lambda make, given: make(given), typed_dicts, fields),
        ]
        if in_model:
            kinds.append(fields.map(model_of))
        return st.one_of(kinds)

    return st.recursive(st.sampled_from(LEAVES), extended, max_leaves=6)


def payloads():
    """A type that mentions a payload type."""
    anything = shapes() | shapes(in_model=True)
    as_field = anything.map(lambda shape: Fields([("top", shape, True)]))
    kinds = [dataclass_of, typed_dict_of(typing_extensions.TypedDict, total=False), model_of]
    return st.one_of(anything.map(wrapped(Wrapped)), *(as_field.map(kind) for kind in kinds))


def decoder(annotation):
    def handler(message, metadata):
        return True

    handler.__annotations__["message"] = annotation
    return decoder_for(handler)


def appears(place, reason):
    """Tell whether the reason names the place: its names in this order."""
    position = 0
    for name in place:
        if name is not None:
            position = reason.find(str(name), position)
            if position < 0:
                return False
    return True


@given(payloads(), st.data())
@settings(suppress_health_check=list(HealthCheck))
def test_what_fits_arrives_as_its_type_and_what_does_not_is_refused(shape, data):
    """However dataclasses, TypedDicts and models are nested in each other and in other types."""
    decode = decoder(shape.annotation)

    content, value = data.draw(shape.fitting)
    assert decode(content) == value
    assert decode(value) == value

    content, place = data.draw(shape.broken)
    with pytest.raises(InvalidPayloadError) as caught:
        decode(content)
    assert str(caught.value).startswith("does not fit ")
    assert appears(place, str(caught.value)), (place, str(caught.value))
