"""How values enter each language."""

import ast
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from loafer_kit.scaffold.rendering import quoting
from loafer_kit.scaffold.rendering.filters import QuotingExtension

values = (
    st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
)
HOSTILE = [
    "'", '"', '"""', "\\", "\n", "\r\n", "\0", "\u2028", "\x7f", "{{ 7*7 }}", "{% raw %}", "${x}", "#",
    "```", "\U0001f600", "\ud800",
]  # fmt: skip


@given(values)
def test_a_python_literal_means_its_value(value):
    """Whatever the value holds, Python reads it back."""
    assert ast.literal_eval(quoting.python(value)) == value


def test_a_text_is_in_double_quotes():
    """As black has it, also where black does not come: in YAML and in Markdown."""
    assert quoting.python("orders") == '"orders"'
    assert quoting.python("it's") == '"it\'s"'
    assert quoting.python('"') == "'\"'"


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**63), 2**63 - 1))
def test_a_toml_value_means_its_value(value):
    """Whatever the value holds, TOML reads it back."""
    assert tomllib.loads(f"x = {quoting.toml(value)}") == {"x": value}


@given(st.text())
def test_a_literal_is_one_line_of_ascii(value):
    """Nothing that a reader or an editor could take for the end of the literal."""
    for text in (quoting.python(value), quoting.toml(value)):
        assert text.isascii()
        assert text.isprintable()


@pytest.mark.parametrize("value", HOSTILE)
def test_prose_takes_no_character_that_a_parser_knows(value):
    """What is not a plain name is refused."""
    with pytest.raises(ValueError, match="cannot stand in a sentence"):
        quoting.prose(value)


@given(st.text())
def test_a_value_without_a_filter_is_an_identifier_or_refused(value):
    """A template cannot forget to quote."""
    template = Environment(extensions=[QuotingExtension]).from_string("{{ x }}")

    try:
        assert template.render(x=value) == value
        assert not value or (value.isidentifier() and value.isascii())
    except ValueError:
        assert not value.isidentifier() or not value.isascii()


def test_values_are_never_rendered_themselves():
    """A value that looks like a template stays what it is."""
    template = Environment(extensions=[QuotingExtension]).from_string("{{ x|py }}")

    assert template.render(x="{{ 7 * 7 }}") == '"{{ 7 * 7 }}"'
