"""A JSON Schema brings models to a spec."""

import json

import pytest

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sources import json_schemas
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft, SpecError

LINE = {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}}
ORDER = {
    "type": "object",
    "required": ["lines"],
    "properties": {"lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
    "$defs": {"line": LINE},
}


def schema(tmp_path, content, name="order.schema.json"):
    file = tmp_path / name
    file.write_text(json.dumps(content))
    return file


def draft(**values):
    queues = [{"name": "orders", "payload": "Order"}]
    return Draft({"name": "shop", "queues": queues, **values})


def test_an_object_and_what_it_is_made_of_become_models(tmp_path):
    """The outermost is named by the schema's title, or else by the file."""
    found = json_schemas.add(draft(), schema(tmp_path, ORDER))
    titled = json_schemas.add(draft(), schema(tmp_path, {**ORDER, "title": "Purchase order"}))

    assert found.values["payloads"] == {"Order": {"lines": "list[Line]"}, "Line": {"sku": "str"}}
    assert list(titled.values["payloads"]) == ["PurchaseOrder", "Line"]
    assert validation.service(found).queues[0].payload == "Order"


def test_the_models_of_a_spec_stay(tmp_path):
    """Those of the schema get names that are free."""
    found = json_schemas.add(draft(payloads={"Line": {"x": "Any"}}), schema(tmp_path, ORDER))

    assert found.values["payloads"] == {
        "Line": {"x": "Any"},
        "Order": {"lines": "list[Line2]"},
        "Line2": {"sku": "str"},
    }


def test_what_is_wrong_is_told_with_the_files_name(tmp_path):
    """Among the other problems of the spec; remote references are refused here too."""
    content = {"properties": {"x": {"$ref": "https://example.com/x.json"}}}
    found = json_schemas.add(draft(name="tests"), schema(tmp_path, content))

    with pytest.raises(SpecError) as caught:
        validation.service(found)

    first, second = map(str, caught.value.problems)
    assert "tests" in first
    assert second.startswith("'order.schema.json'.properties.x.'$ref': ")
    assert "nothing is fetched" in second


def test_a_schema_of_no_object_is_noted(tmp_path):
    """There is no model then."""
    found = json_schemas.add(draft(), schema(tmp_path, {"type": "string"}))

    assert found.values["payloads"] == {}
    assert "not an object" in str(found.notes[0])


def test_a_file_that_is_no_schema_is_an_error_of_one_line(tmp_path):
    """It names the file."""
    with pytest.raises(ConfigurationError, match="a JSON Schema is a table"):
        json_schemas.add(draft(), schema(tmp_path, []))
