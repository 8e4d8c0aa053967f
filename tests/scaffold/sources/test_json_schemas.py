"""JSON Schemas: the models they bring to a spec, whose types are never narrower than the schema."""

import base64
import datetime as dt
import json
from dataclasses import dataclass, make_dataclass
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal
from uuid import UUID

import jsonschema
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sources import json_schemas
from loafer_kit.scaffold.sources.documents import Node, References
from loafer_kit.scaffold.sources.import_results import ImportResult
from loafer_kit.scaffold.sources.json_schemas import Schemas
from loafer_kit.scaffold.spec import payloads, validation
from loafer_kit.scaffold.spec.specs import Draft, SpecError

NAMES = {
    "Annotated": Annotated,
    "Any": Any,
    "Base64Bytes": pydantic.Base64Bytes,
    "Decimal": Decimal,
    "IPv4Address": IPv4Address,
    "IPv6Address": IPv6Address,
    "Literal": Literal,
    "UUID": UUID,
    "dataclass": dataclass,
    "dt": dt,
}


def imported(schema):
    """The models of a schema, the root's name, and the notes."""
    result = ImportResult()
    models = {}
    root = Node(schema)
    name = Schemas(References(root, result.problem, None), result, models).payload([(root, "Root")])
    assert not result.problems
    return models, name, [message for _, message in result.notes]


def types_of(schema, **definitions):
    """The types of the field `x` of this schema, which is required, and the notes."""
    root = {"type": "object", "properties": {"x": schema}, "required": ["x"], **definitions}
    models, name, notes = imported(root)
    return models[name]["x"], notes


def adapter(models, name):
    """What validates a message as the generated models do."""
    problems = []
    found = payloads.read(models, problems)
    assert not problems, problems
    names = dict(NAMES)
    for payload in payloads.in_order(found):
        if payload.union:
            names[payload.name] = eval(payload.union.annotation, names)
            continue
        attributes = payloads.attributes(payload.fields, found)
        fields = [
            (
                attributes[key],
                Annotated[type_.annotation, pydantic.Field(alias=key)],
                *([type_.default] if type_.may_be_absent else []),
            )
            for key, type_ in payload.fields.items()
        ]
        names[payload.name] = make_dataclass(payload.name, fields, kw_only=True, slots=True)
    known = pydantic.TypeAdapter(names[name], config=None) if name in names else None
    if known is not None:
        known.rebuild(force=True, _types_namespace=names)
    return known


STATUS = {"definitions": {"Status": {"type": "string", "enum": ["open", "paid"]}}}
REFERENCE = {"$ref": "#/definitions/Status"}
OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
OTHER = {"type": "object", "properties": {"b": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"allOf": [REFERENCE]}, "Literal['open', 'paid']"),
        ({"allOf": [REFERENCE], "default": "open"}, "Literal['open', 'paid']"),
        ({"type": "string", "allOf": [{"minLength": 1}]}, "str"),
        ({"allOf": [{"type": "string"}, {"format": "date"}]}, "date"),
        ({"allOf": [{"type": "number"}, {"type": "integer"}]}, "int"),
        ({"allOf": [{"type": ["string", "null"]}, {"type": ["null", "integer"]}]}, "Any"),
        ({"allOf": [{"enum": ["a", "b"]}, {"enum": ["b", "c"]}]}, "Literal['b']"),
        ({"allOf": [{"type": "array"}, {"items": {"type": "integer"}}]}, "list[int]"),
        ({"allOf": [OBJECT, OTHER]}, "RootX"),
        ({"allOf": [OBJECT], "nullable": True}, "Required[RootX | None]"),
        ({"type": "string", "anyOf": [{"minLength": 1}, {"pattern": "x"}]}, "str"),
        ({"type": ["string", "integer", "null"]}, "Required[int | str | None]"),
        ({"oneOf": [{"type": "string"}, {"type": "array"}]}, "str | list[Any]"),
        ({"oneOf": [{"type": "string"}, {}]}, "Any"),
        ({"oneOf": [OBJECT, OTHER]}, "RootX | RootX2"),
        ({**OBJECT, "anyOf": [{"required": ["b"]}, {"required": ["c"]}]}, "RootX"),
        ({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
         "list[Any]"),
        ({"type": "object", "patternProperties": {"^s": {"type": "string"}},
          "additionalProperties": {"type": "integer"}}, "dict[str, Any]"),
        ({"type": "string", "format": "ipv4"}, "IPv4Address"),
        ({"type": "string", "format": "duration"}, "timedelta"),
        ({"type": "string", "format": "byte"}, "Base64Bytes"),
        ({"type": "string", "contentEncoding": "base64"}, "Base64Bytes"),
        ({"type": ["string", "null"], "contentEncoding": "base64"}, "Required[Base64Bytes | None]"),
        ({"type": "string", "contentEncoding": "base64url"}, "str"),
        ({"type": "string", "contentEncoding": "quoted-printable"}, "str"),
        ({"type": "integer", "contentEncoding": "base64"}, "int"),
        ({"type": "string", "enum": ["größe", "b"]}, "str"),
        ({"type": ["number", "null"], "default": 3}, "Required[float | None]"),
    ],
)  # fmt: skip
def test_a_schema_is_merged_to_one_type(schema, expected):
    """Parts of `allOf` are merged, alternatives are a union."""
    assert types_of(schema, **STATUS)[0] == expected


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "types that exclude each other"),
        ({"enum": [1.5]}, "values that a spec cannot list"),
        ({"type": "string", "contentEncoding": "base64url"}, "contentEncoding 'base64url'"),
        ({"type": "string", "contentMediaType": "image/png"}, "not checked: contentMediaType"),
        ({"type": "string", "format": "email"}, "not checked: format 'email'"),
        ({"properties": {"a": {}}}, "no type: taken as an object"),
        ({"type": "object", "unevaluatedProperties": False}, "not checked: unevaluatedProperties"),
        ({"type": "object", "dependencies": {"a": ["b"]}}, "not checked: dependencies"),
        ({"$dynamicRef": "#node"}, "not checked: $dynamicRef"),
    ],
)
def test_what_a_type_cannot_say_is_noted(schema, message):
    """The type is wider then."""
    _, notes = types_of(schema)

    assert any(message in note for note in notes)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "default": "open"}, "str = 'open'"),
        ({"type": "boolean", "default": False}, "bool = False"),
        ({"type": "number", "default": 2}, "float = 2.0"),
        ({"type": ["integer", "null"], "default": 2}, "int | None = 2"),
        ({"allOf": [REFERENCE], "default": "open"}, "Literal['open', 'paid'] = 'open'"),
        ({"type": "array", "default": []}, "list[Any] | None"),
        ({"type": "string", "default": 5}, "str | None"),
        ({"type": "string", "format": "date", "default": "2030-01-31"}, "date | None"),
        ({"type": "string", "default": None}, "str | None"),
    ],
)
def test_the_default_of_a_field_is_kept(schema, expected):
    """If it is a text, a number or a boolean of its type."""
    models, name, _ = imported({"type": "object", "properties": {"x": schema}, **STATUS})

    assert models[name]["x"] == expected


def test_large_schemas_give_wider_types():
    """Long enumerations, very many fields and large examples refuse nothing."""
    codes = [f"{a}{b}" for a in "ABCDEFGHIJKLMNOP" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    wide = {"type": "object", "properties": {f"f{n}": {} for n in range(300)}}

    assert types_of({"type": "string", "enum": codes})[0] == "str"
    assert types_of({"enum": [*codes, 1]})[0] == "str | int"
    kind, notes = types_of(wide)
    assert kind == "dict[str, Any]"
    assert any("more than 200 fields" in note for note in notes)


def test_a_schema_whose_example_is_too_large_gives_no_model():
    """The handler gets the decoded content, and a note says so."""
    schemas = {
        f"S{n}": {
            "type": "object",
            "properties": {f"f{i}": {"$ref": f"#/$defs/S{n + 1}"} for i in range(9)},
            "required": [f"f{i}" for i in range(9)],
        }
        for n in range(8)
    }

    models, name, notes = imported({"$ref": "#/$defs/S0", "$defs": {**schemas, "S8": OBJECT}})

    assert (models, name) == ({}, None)
    assert any("an example of it would be too large" in note for note in notes)


def test_optional_parts_of_a_large_schema_keep_their_types():
    """Its example leaves out what may be absent."""
    schemas = {
        f"S{n}": {
            "type": "object",
            "properties": {f"f{i}": {"$ref": f"#/$defs/S{n + 1}"} for i in range(9)},
        }
        for n in range(8)
    }
    models, name, _ = imported({"$ref": "#/$defs/S0", "$defs": {**schemas, "S8": OBJECT}})
    draft = Draft({"name": "a", "queues": [{"name": "q", "payload": name}], "payloads": models})

    found = validation.service(draft).payloads

    assert len(found) == 9
    assert len(json.dumps(payloads.example(name, found))) < 100_000


def test_alternatives_that_multiply_end():
    """There is a bound on the number of types."""
    schemas = {
        f"S{n}": {"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [
            {"properties": {f"b{i}": {"$ref": f"#/$defs/S{n + 1}"}}} for i in range(9)
        ]}
        for n in range(30)
    }  # fmt: skip

    imported({"$ref": "#/$defs/S0", "$defs": {**schemas, "S30": OBJECT}})


def test_names_come_from_titles_and_are_whole():
    """A title wins over the key of a reference; a name is cut only beyond 90 characters."""
    key = "io.github.example.dtos.ExamplePayloadDto"
    long = "A" + "b" * 70
    root = {
        "type": "object",
        "properties": {
            "a": {"$ref": f"#/$defs/{key}"},
            "b": {"$ref": f"#/$defs/{long}"},
            "größe": {"type": "integer"},
            "注文": {"type": "string"},
            "注": {"type": "string"},
        },
        "$defs": {key: {**OBJECT, "title": "ExamplePayloadDto"}, long: OTHER},
    }

    models, name, _ = imported(root)

    assert set(models) == {"Root", "ExamplePayloadDto", long}
    assert list(models[name])[2:] == ["größe", "注文", "注"]


def test_attributes_are_snake_case():
    """The key is the alias; names that code cannot have are changed."""
    keys = ["orderId", "OrderID", "größe", "注文", "注", "class", "2nd", "@type", "order-id"]

    found = payloads.attributes(keys, [])

    assert list(found.values()) == [
        "order_id",
        "order_id_2",
        "groe",
        "field",
        "field_2",
        "class_",
        "field_2nd",
        "type",
        "order_id_3",
    ]


leaves = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["string", "null"]},
        {"type": ["integer", "string"]},
        {"type": "string", "minLength": 1},
        {"minimum": 2},
        {"enum": ["a", "b", 1, None]},
        {"enum": ["a", 2.5, True]},
        {"const": "a"},
        {"const": 1},
        {"type": "array"},
        {"type": "object"},
        {"nullable": True, "type": "string"},
        {"$ref": "#/$defs/Leaf"},
        {"$ref": "#/$defs/Item"},
        {},
        True,
    ]
)
keys = st.sampled_from(["a", "b", "orderId", "größe"])


def composed(inner):
    several = st.lists(inner, min_size=1, max_size=3)
    tables = st.dictionaries(keys, inner, min_size=1, max_size=3)
    objects = st.builds(
        lambda fields, required, more: {
            "type": "object",
            "properties": fields,
            "required": required,
            **more,
        },
        tables,
        st.lists(keys, max_size=2, unique=True),
        st.sampled_from([{}, {"additionalProperties": False}, {"default": {}}]),
    )
    return st.one_of(
        objects,
        several.map(lambda parts: {"allOf": parts}),
        several.map(lambda parts: {"anyOf": parts}),
        several.map(lambda parts: {"oneOf": parts}),
        inner.map(lambda item: {"type": "array", "items": item}),
        inner.map(lambda item: {"type": "object", "additionalProperties": item}),
        st.tuples(objects, several).map(lambda both: {**both[0], "anyOf": both[1]}),
        st.tuples(objects, several).map(lambda both: {**both[0], "allOf": both[1]}),
        st.tuples(leaves, several).map(
            lambda both: {**(both[0] if isinstance(both[0], dict) else {}), "allOf": both[1]}
        ),
    )


schemas = st.recursive(leaves, composed, max_leaves=6)
DEFINITIONS = {
    "Leaf": {"type": "string", "enum": ["a", "b"]},
    "Item": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "next": {"$ref": "#/$defs/Item"}},
        "required": ["a"],
    },
}
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", 2.5, 1.0]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)


def made(draw, schema, depth=0):
    """A value that may fit a schema: the validator decides."""
    if not isinstance(schema, dict) or depth > 6 or draw(st.integers(0, 15)) == 0:
        return draw(values)
    if "$ref" in schema:
        return made(draw, DEFINITIONS[schema["$ref"].rpartition("/")[2]], depth + 1)
    parts = list(schema.get("allOf", []))
    parts += [draw(st.sampled_from(schema[word])) for word in ("anyOf", "oneOf") if word in schema]
    found = [made(draw, part, depth + 1) for part in parts]
    own = {key: value for key, value in schema.items() if key not in ("allOf", "anyOf", "oneOf")}
    if own or not parts:
        found.append(of_kind(draw, own, depth))
    tables = [item for item in found if isinstance(item, dict)]
    if tables:
        return {key: value for table in tables for key, value in table.items()}
    return draw(st.sampled_from(found))


def of_kind(draw, schema, depth):
    if "enum" in schema or "const" in schema:
        return draw(st.sampled_from(schema.get("enum") or [schema["const"]]))
    kinds = schema.get("type", ["null", "integer", "string", "object"])
    kind = draw(st.sampled_from([kinds] if isinstance(kinds, str) else kinds))
    if kind == "object":
        wanted = {
            key: made(draw, part, depth + 1)
            for key, part in schema.get("properties", {}).items()
            if key in schema.get("required", []) or draw(st.booleans())
        }
        more = schema.get("additionalProperties")
        return {**wanted, "zz": made(draw, more, depth + 1)} if more else wanted
    if kind == "array":
        return [made(draw, schema.get("items"), depth + 1)]
    plain = {
        "string": st.sampled_from(["", "a", "b", "2"]),
        "integer": st.integers(-(2**70), 2**70) | st.just(1.0),
        "number": st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
        "null": st.none(),
    }
    return draw(plain[kind])


@given(st.dictionaries(keys, schemas, min_size=1, max_size=3), st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_model_accepts_whatever_its_schema_accepts(properties, data):
    """For any schema, and any value that a JSON Schema validator accepts."""
    root = {"type": "object", "properties": properties, "$defs": DEFINITIONS}
    models, name, _ = imported(root)
    assert name is not None
    model = adapter(models, name)
    validator = jsonschema.Draft202012Validator(root)
    for _ in range(6):
        value = made(data.draw, root)
        if isinstance(value, dict) and validator.is_valid(value):
            model.validate_python(value)


def test_a_schema_of_the_command_line_keeps_its_union(tmp_path):
    """A root of alternatives becomes a union of models."""
    file = tmp_path / "event.json"
    file.write_text(
        json.dumps({"oneOf": [{**OBJECT, "title": "Placed"}, {**OTHER, "title": "Paid"}]})
    )

    draft = json_schemas.add(
        Draft({"name": "shop", "queues": [{"name": "q", "payload": "Event"}]}), file
    )

    assert draft.values["payloads"]["Event"] == "Placed | Paid"
    assert validation.service(draft).payloads["Event"].union is not None


@given(st.binary(max_size=200))
def test_whatever_is_in_base64_is_accepted_and_decoded(content):
    """With the line breaks of an e-mail and without."""
    adapter = pydantic.TypeAdapter(pydantic.Base64Bytes)

    for text in (base64.b64encode(content), base64.encodebytes(content)):
        assert adapter.validate_json(json.dumps(text.decode())) == content


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


def read(tmp_path, schema):
    (tmp_path / "order.json").write_text(json.dumps(schema))
    return json_schemas.add(Draft({"name": "shop"}), tmp_path / "order.json")


STREET = {"type": "object", "properties": {"street": {"type": "string"}}}


@pytest.mark.parametrize(
    ("reference", "definition", "root"),
    [
        ("#address", {"$anchor": "address"}, {}),
        ("#address", {"$id": "#address"}, {}),
        ("#address", {"id": "#address"}, {}),
        ("https://example.com/order#address", {"$anchor": "address"}, {"$id": "order"}),
        ("address", {"$id": "address"}, {}),
        ("/schemas/address", {"$id": "/schemas/address"}, {"$id": "https://example.com/a/b"}),
        ("https://example.com/address", {"$id": "/address"}, {"$id": "https://example.com/a"}),
        ("https://example.com/address#", {"id": "https://example.com/address#"}, {}),
        ("https://example.com/a#/$defs/Address", {}, {"$id": "https://example.com/a"}),
    ],
)
def test_a_reference_may_name_a_schema(tmp_path, reference, definition, root):
    """By its `$id` or its anchor, in this file."""
    if "$id" in root:
        root = {"$id": "https://example.com/" + root["$id"].removeprefix("https://example.com/")}
    properties = {"to": {"$ref": reference}}
    definitions = {"Address": {**definition, **STREET}}

    draft = read(tmp_path, {**root, "properties": properties, "$defs": definitions})

    assert not draft.problems
    assert draft.values["payloads"] == {
        "Order": {"to": "Address | None"},
        "Address": {"street": "str | None"},
    }


def test_a_schema_with_an_id_has_definitions_of_its_own(tmp_path):
    """A pointer in it begins there; one that leads nowhere there begins at the document."""
    inner = {
        "$id": "https://example.com/address",
        "$defs": {"Street": {"type": "integer"}},
        "properties": {"a": {"$ref": "#/$defs/Street"}, "b": {"$ref": "#/$defs/Town"}},
    }
    definitions = {"Street": {"type": "string"}, "Town": {"type": "boolean"}}

    draft = read(tmp_path, {"properties": {"to": inner}, "$defs": definitions})

    assert draft.values["payloads"]["OrderTo"] == {"a": "int | None", "b": "bool | None"}


@pytest.mark.parametrize("reference", ["#nowhere", "address", "https://[/a", "https://a.com/b#c"])
def test_a_name_that_no_schema_has_is_a_problem(tmp_path, reference):
    """It is no name of the whole document."""
    draft = read(tmp_path, {"properties": {"to": {"$ref": reference}}})

    (problem,) = draft.problems
    assert problem.path == ("order.json", "properties", "to", "$ref")


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ({}, {"Order": {"total": "int", "id": "str"}}),
        ({"$schema": "https://json-schema.org/draft/2019-09/schema"}, None),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, {"Base": {"id": "str | None"}}),
    ],
)
def test_keys_beside_a_reference_count_since_draft_2019_09(tmp_path, dialect, expected):
    """They are one schema with what it refers to, also at the end of several references."""
    definitions = {
        "More": {"$ref": "#/$defs/Base", "required": ["id"]},
        "Base": {"type": "object", "properties": {"id": {"type": "string"}}},
    }
    beside = {"required": ["total"], "properties": {"total": {"type": "integer"}}}

    draft = read(tmp_path, {**dialect, "$ref": "#/$defs/More", **beside, "$defs": definitions})

    assert draft.values["payloads"] == (expected or {"Order": {"total": "int", "id": "str"}})


def test_a_description_beside_a_reference_changes_nothing(tmp_path):
    """There is one model of the schema."""
    plain = {"$ref": "#/$defs/Address"}
    properties = {"to": plain, "at": {**plain, "description": "where", "examples": [{}]}}

    draft = read(
        tmp_path,
        {"properties": properties, "required": ["to", "at"], "$defs": {"Address": STREET}},
    )

    assert draft.values["payloads"]["Order"] == {"to": "Address", "at": "Address"}


def test_a_schema_of_no_object_is_noted(tmp_path):
    """There is no model then."""
    found = json_schemas.add(draft(), schema(tmp_path, {"type": "string"}))

    assert found.values["payloads"] == {}
    assert "not an object" in str(found.notes[0])


def test_a_file_that_is_no_schema_is_an_error_of_one_line(tmp_path):
    """It names the file."""
    with pytest.raises(ConfigurationError, match="a JSON Schema is a table"):
        json_schemas.add(draft(), schema(tmp_path, []))
