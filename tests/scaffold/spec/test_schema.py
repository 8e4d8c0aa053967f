"""The JSON Schema of a spec accepts and refuses what validation does."""

import jsonschema
import pytest
from hypothesis import given
from scaffold.any_specs import few, specs, valid

from loafer_kit.scaffold.spec import fields, schema, validation
from loafer_kit.scaffold.spec.problems import SpecError
from loafer_kit.scaffold.spec.specs import Draft


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
