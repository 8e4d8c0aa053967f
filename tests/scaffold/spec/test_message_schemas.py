"""The JSON Schema of messages: it accepts what the models accept, and examples of them."""

import jsonschema
import pytest
from hypothesis import given
from scaffold.any_specs import few, tables

from loafer_kit.scaffold.spec import message_schemas, payloads
from loafer_kit.scaffold.spec.problems import Problem

MODELS = {
    "Order": {
        "number": "int",
        "status": "Literal['placed', 'paid'] = 'placed'",
        "lines": "list[Line]",
        "parent": "Order | None",
        "extra": "dict[str, float]",
        "either": "int | str | None",
        "must": "Required[str | None]",
        "sent": "datetime",
        "anything": "Any",
        "price": "Decimal",
    },
    "Line": {"name": "str"},
    "Event": "Order | Line",
}


def read(raw):
    problems: list[Problem] = []
    found = payloads.read(raw, problems)
    return found if not problems else {}


def is_valid(schema, value):
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    return validator(schema).is_valid(value)


@pytest.mark.parametrize("name", MODELS)
def test_the_example_of_a_model_fits_its_schema(name):
    """Models that contain themselves and unions too."""
    found = read(MODELS)
    assert is_valid(message_schemas.of_model(name, found), payloads.example(name, found))


@few
@given(tables)
def test_examples_fit_schemas_whatever_the_models_are(raw):
    """Names and types are drawn."""
    found = read(raw)
    for name in found:
        if payloads.why_no_example(name, found) is None:
            assert is_valid(message_schemas.of_model(name, found), payloads.example(name, found))


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"number": "1"}, False),
        ({"number": 1.5}, False),
        ({"status": "lost"}, False),
        ({"lines": [{"name": 1}]}, False),
        ({"parent": None}, True),
        ({"extra": {"a": "b"}}, False),
        ({"either": None}, True),
        ({"either": []}, False),
        ({"must": None}, True),
    ],
)
def test_a_schema_says_what_a_field_may_be(change, fits):
    """Only fields that may be absent may be left out."""
    found = read(MODELS)
    schema = message_schemas.of_model("Order", found)
    message = {**payloads.example("Order", found), **change}
    assert is_valid(schema, message) is fits
    assert sorted(schema["$defs"]["Order"]["required"]) == [
        "anything", "extra", "lines", "must", "number", "price", "sent",
    ]  # fmt: skip
    assert schema["$defs"]["Order"]["properties"]["status"]["default"] == "placed"
    del message["must"]
    assert not is_valid(schema, message)
