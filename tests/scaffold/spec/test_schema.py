"""The JSON Schemas: that of a spec accepts and refuses what validation does, those of messages what the models do."""

import jsonschema
import pytest
from hypothesis import given
from scaffold.any_specs import few, specs, tables, valid

from loafer_kit.scaffold.spec import fields, payloads, schema, validation
from loafer_kit.scaffold.spec.schema import of_model
from loafer_kit.scaffold.spec.specs import Draft, Problem, SpecError


@given(specs)
@few
def test_the_schema_accepts_what_validation_accepts(values):
    """An editor that follows the schema marks no spec that works."""
    valid(values)
    jsonschema.validate(values, schema.service())


@pytest.mark.parametrize(
    "values",
    [
        {"name": "a"},
        {"name": "a", "queues": []},
        {"name": "a", "queues": [{"name": "a b"}]},
        {"name": "a", "queues": [{"name": "a", "wait_tme": 1}]},
        {"name": "a", "queues": [{"name": "a", "wait_time": 21}]},
        {"name": "a", "queues": [{"name": "a", "rate_limit": 0}]},
        {"name": "a", "queues": [{"name": "a", "kind": "kafka"}]},
    ],
)
def test_the_schema_refuses_what_it_can_see(values):
    """Unknown keys, bounds, choices and names are in it."""
    jsonschema.Draft202012Validator.check_schema(schema.service())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, schema.service())
    with pytest.raises(SpecError):
        validation.service(Draft(values))


def test_every_row_is_documented():
    """A row's text is what a user reads in the schema."""
    for field in (*fields.SERVICE, *fields.EVERY, *fields.TOPIC, *fields.PARAMETER):
        assert field.doc.endswith(".")


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
    assert is_valid(of_model(name, found), payloads.example(name, found))


@few
@given(tables)
def test_examples_fit_schemas_whatever_the_models_are(raw):
    """Names and types are drawn."""
    found = read(raw)
    for name in found:
        if payloads.why_no_example(name, found) is None:
            assert is_valid(of_model(name, found), payloads.example(name, found))


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
    schema = of_model("Order", found)
    message = {**payloads.example("Order", found), **change}
    assert is_valid(schema, message) is fits
    assert sorted(schema["$defs"]["Order"]["required"]) == [
        "anything", "extra", "lines", "must", "number", "price", "sent",
    ]  # fmt: skip
    assert schema["$defs"]["Order"]["properties"]["status"]["default"] == "placed"
    del message["must"]
    assert not is_valid(schema, message)
