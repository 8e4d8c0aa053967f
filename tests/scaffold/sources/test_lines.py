"""The line of each value in TOML and JSON."""

import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.sources import lines

scalars = st.booleans() | st.integers() | st.text(st.characters(codec="ascii"), max_size=9)
tables = st.dictionaries(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.=", min_size=1), inner),
        max_leaves=9,
    ),
)  # fmt: skip


@given(tables, st.integers(0, 2))
def test_every_value_of_a_json_document_has_a_line(document, indent):
    """The lines are those of a document's values, all of them and no others."""
    text = json.dumps(document, indent=indent or None)

    assert set(lines.of_json(text)) == {(), *_paths(document)}


@given(tables)
def test_every_value_of_a_toml_document_has_a_line(document):
    """Also in arrays and inline tables, with keys and strings of any kind."""
    text = "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in document.items())
    assert tomllib.loads(text) == document

    assert set(lines.of_toml(text)) == _paths(document)


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(_toml(item) for item in value) + "\n]"
    return json.dumps(value).replace("\x7f", "\\u007f")


def _paths(value, path=()):
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    found = {path} if path else set()
    for step, item in items:
        found |= _paths(item, (*path, step))
    return found
