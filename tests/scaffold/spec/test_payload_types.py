"""The types of a payload's fields: what a spec writes, and what generated code writes."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.rendering import quoting
from loafer_kit.scaffold.spec import payload_types
from loafer_kit.scaffold.spec.payload_types import Type

scalars = st.sampled_from(sorted(payload_types.SCALARS)).map(Type)
values = st.from_regex(payload_types.LITERAL, fullmatch=True) | st.integers(-(10**17), 10**17)
literals = st.lists(values, min_size=1, max_size=4, unique=True).map(
    lambda values: Type("Literal", values=tuple(values))
)
models = st.from_regex(r"M[a-z]{1,9}", fullmatch=True).map(Type)
items = st.recursive(
    scalars | literals | models,
    lambda inner: st.builds(
        Type, st.sampled_from(["list", "dict"]), inner | inner.map(Type.or_none)
    ),
    max_leaves=5,
)
unions = st.lists(items, min_size=2, max_size=3).map(payload_types.union)
nested = items | unions
types = nested | nested.map(Type.or_none)
fields = (
    types
    | types.map(lambda type_: replace(type_.or_none(), required=True))
    | literals.map(lambda type_: replace(type_, default=type_.values[0]))
    | st.booleans().map(lambda value: Type("bool", default=value))
    | st.floats(-1e17, 1e17).map(lambda value: Type("float", default=value))
)


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("str", "str"),
        ("datetime | None", "dt.datetime | None"),
        ("list[ OrderLine ] | None", "list[OrderLine] | None"),
        ("dict[str, list[UUID | None]]", "dict[str, list[UUID | None]]"),
        ("Literal['open', \"paid\"]", 'Literal["open", "paid"]'),
        ("Literal[1,2,-3]", "Literal[1, 2, -3]"),
        ("Literal['']", 'Literal[""]'),
        ("Order|Refund | None", "Order | Refund | None"),
        ("list[None | int | str]", "list[int | str | None]"),
        ("Required[str | None]", "str | None"),
        ("Literal['a:b', 'c'] = 'a:b'", 'Literal["a:b", "c"]'),
        ("str | None = ''", "str | None"),
        ("float = 1.5", "float"),
    ],
)
def test_a_type_is_an_annotation(text, annotation):
    """Generated code writes the same, with the module `datetime` before its classes."""
    assert payload_types.parse(text).annotation == annotation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a Python annotation"),
        ("| None", "not a Python annotation"),
        ("list", r"has list without its types: use list\[T\], dict\[str, T\], Literal"),
        ("list[str", "not a Python annotation"),
        ("str str", "not a Python annotation"),
        ("Literal['a',", "not a Python annotation"),
        ("Literal['a', 'a']", "one twice"),
        ("Literal[()]", "names no value"),
        ("Literal['a{{ 7 }}']", "a Literal value that is not"),
        ("Literal[True]", "a Literal value that is not"),
        ("Literal[1.5]", "a Literal value that is not"),
        ("__import__('os')", "a part that is not a type"),
        ("dt.date", "a part that is not a type"),
        ("Optional[str]", "a part that is not a type"),
        ("int | 'str'", "a part that is not a type"),
        ("None | None", "a part that is not a type"),
        ("Union", "Union without its types"),
        ("Required[str]", r"for T \| None"),
        ("Required[str | None] = 'a'", r"for T \| None"),
        ("list[Required[str | None]]", "a part that is not a type"),
        ("str = 1", "has a default that is not"),
        ("int = True", "has a default that is not"),
        ("bool = 1", "has a default that is not"),
        ("date = '2030-01-31'", "has a default that is not"),
        ("str =", "has a default that is not"),
        ("str = open", "has a default that is not"),
        ("str = 'a{{ 7 }}'", "has a default that is not"),
        ("Literal['a'] = 'b'", "has a default that is not"),
        ("float = 1e999", "has a default that is not"),
        ("dict[int, str]", "a part that is not a type"),
        ("'Order'", "a part that is not a type"),
        ("1a", "not a Python annotation"),
        ("1 if 1else 2", "not a Python annotation"),
        ("a\0", "not a Python annotation"),
        ("list[" * 200 + "str" + "]" * 200, "longer than"),
        ("list[" * 60 + "str" + "]" * 60, "nests more than 50 levels deep"),
    ],
)
def test_text_that_is_not_a_type_is_refused_with_a_reason(text, message):
    """The reason follows the text in an error's line."""
    with pytest.raises(ValueError, match=message):
        payload_types.parse(text)


@given(fields)
def test_every_type_can_be_written_and_read_again(type_):
    """The text that a spec keeps means the same type."""
    assert payload_types.parse(str(type_)) == type_


@given(types)
def test_every_type_passes_the_quoting_filter(type_):
    """It gives the annotation; in quotes for a model that is defined later."""
    assert quoting.annotation(str(type_)) == type_.annotation
    assert eval(quoting.annotation(str(type_), forward=True)) == type_.annotation  # noqa: S307


@given(st.text(max_size=60))
def test_any_text_is_a_type_or_a_value_error(text):
    """No other exception, whatever a document says."""
    with contextlib.suppress(ValueError):
        type_ = payload_types.parse(text)
        assert payload_types.parse(str(type_)) == type_
