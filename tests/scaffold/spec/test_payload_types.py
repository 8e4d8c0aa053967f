"""The types of a payload's fields: what a spec writes, and what it is in Python."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.rendering import quoting
from loafer_kit.scaffold.spec import payload_types
from loafer_kit.scaffold.spec.payload_types import Enumeration, ListOf, MapOf, Maybe, Model, Scalar

scalars = st.sampled_from(sorted(payload_types.SCALARS)).map(Scalar)
literals = st.from_regex(payload_types.LITERAL, fullmatch=True) | st.integers(-(10**17), 10**17)
enumerations = st.lists(literals, min_size=1, max_size=4, unique=True).map(
    lambda values: Enumeration(tuple(values))
)
models = st.from_regex(r"[A-Z][a-z]{1,9}", fullmatch=True).map(Model)
items = st.recursive(
    scalars | enumerations | models,
    lambda inner: st.builds(ListOf, inner | inner.map(Maybe)) | st.builds(MapOf, inner),
    max_leaves=5,
)
types = items | items.map(Maybe)


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("string", "str"),
        ("datetime?", "dt.datetime | None"),
        ("list[ OrderLine ]?", "list[OrderLine] | None"),
        ("map[list[uuid?]]", "dict[str, list[UUID | None]]"),
        ("'open' | 'paid'", "Literal['open', 'paid']"),
        ("1|2|-3", "Literal[1, 2, -3]"),
        ("''", "Literal['']"),
    ],
)
def test_a_type_is_written_as_an_annotation(text, annotation):
    """The language is small: names, lists, maps, values, and `?` for what may be null."""
    assert payload_types.annotation(payload_types.parse(text)) == annotation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks a type"),
        ("?", "lacks a type before '?'"),
        ("list", r"lacks '\[' at its end"),
        ("list[string", r"lacks '\]' at its end"),
        ("string string", "goes on before 'string'"),
        ("'a' |", "lacks a value"),
        ("'a' | 'a'", "a value twice"),
        ("'a{{ 7 }}'", "cannot be read from"),
        ("__import__('os')", "goes on|cannot be read"),
        ("1a", "cannot be read"),
        ("list[" * 200 + "string" + "]" * 200, "longer than"),
        ("map[" * 60 + "string" + "]" * 60, "nests more than 50 levels deep"),
    ],
)
def test_what_is_no_type_is_refused_with_a_reason(text, message):
    """The reason follows the text in an error's line."""
    with pytest.raises(ValueError, match=message):
        payload_types.parse(text)


@given(types)
def test_every_type_can_be_written_and_read_again(type_):
    """The text that a spec keeps means the same type."""
    assert payload_types.parse(str(type_)) == type_


@given(types)
def test_every_annotation_passes_the_quoting_filter(type_):
    """Nothing but names, subscripts, alternatives and constants comes out."""
    assert quoting.annotation(payload_types.annotation(type_))


@given(st.text(max_size=60))
def test_any_text_is_a_type_or_a_value_error(text):
    """No other exception, whatever a document says."""
    with contextlib.suppress(ValueError):
        type_ = payload_types.parse(text)
        assert payload_types.parse(str(type_)) == type_
