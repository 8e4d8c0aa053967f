"""JSON Schemas: of a spec, made from the rows that validate it, and of the messages that fit a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from loafer_kit.scaffold.spec import names, payload_types, payloads
from loafer_kit.scaffold.spec.fields import (
    ARTEFACT_NAMES,
    EVERY,
    PARAMETER,
    SERVICE,
    TOPIC,
    TYPE,
    Field,
)
from loafer_kit.scaffold.spec.payload_types import Type
from loafer_kit.scaffold.spec.specs import Payloads

Schema = dict[str, Any]

_SCALARS: dict[str, Schema] = {
    "Any": {},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "float": {"type": "number"},
    "int": {"type": "integer"},
    "time": {"type": "string", "format": "time"},
    "timedelta": {"type": "string", "format": "duration"},
    "IPv4Address": {"type": "string", "format": "ipv4"},
    "IPv6Address": {"type": "string", "format": "ipv6"},
    "UUID": {"type": "string", "format": "uuid"},
}


def service() -> Schema:
    """The schema of `loafer.toml` and other spec files of a service."""
    schema = _rows(SERVICE, "A service that loafer-kit writes.")
    schema["properties"]["queues"] = {
        "type": "array",
        "description": "The queues whose messages the service handles.",
        "minItems": 1,
        "items": _rows(EVERY, "A queue and the code that handles its messages."),
    }
    queue = schema["properties"]["queues"]["items"]["properties"]
    queue["topic"] = {
        "description": queue["topic"].pop("description"),
        "anyOf": [queue["topic"], _rows(TOPIC, "A topic, and who creates it.")],
    }
    queue["types"] |= {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^(?:{names.KEY.pattern})$"},
        "additionalProperties": _rows(TYPE, "A type of messages, and the code that handles it."),
    }
    schema["properties"]["parameters"] = {
        "type": "array",
        "description": "What differs between the stages of the service.",
        "items": _rows(PARAMETER, "An environment variable that names of queues contain."),
    }
    schema["properties"]["payloads"] = _payloads()
    schema["required"].append("queues")
    schema["properties"]["with"] = {
        "type": "array",
        "description": "The artefacts that ship the service, as with `--with`.",
        "items": {"enum": list(ARTEFACT_NAMES)},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "loafer"} | schema


def _payloads() -> Schema:
    scalars = ", ".join(payload_types.SCALARS)
    fields = {
        "type": "object",
        "propertyNames": {"pattern": f"^(?:{names.KEY.pattern})$"},
        "maxProperties": payloads.MOST,
        "additionalProperties": {
            "type": "string",
            "description": (
                f"A Python annotation: {scalars}; a model; list[...]; dict[str, ...]; "
                "Literal['a', 'b']; T | U. A field whose type ends in `| None` may be absent or "
                "null, unless it is `Required[T | None]`; `T = 'open'` has a default."
            ),
        },
    }
    union = {"type": "string", "description": "A union of models: 'Placed | Paid'."}
    return {
        "type": "object",
        "description": "The models of messages, each a table of a JSON object's keys and types.",
        "propertyNames": {"pattern": f"^(?:{names.IDENTIFIER.pattern})$"},
        "maxProperties": payloads.MOST,
        "additionalProperties": {"anyOf": [fields, union]},
    }


def _rows(fields: Sequence[Field], description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {field.name: _row(field) for field in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }


def _row(field: Field) -> Schema:
    schema: Schema = {
        "type": ["object", "string"] if field.kind == "object" else field.kind,
        "description": field.doc,
        "enum": list(field.choices) or None,
        "pattern": f"^(?:{field.pattern.pattern})$" if field.pattern else None,
        "minimum": field.minimum,
        "exclusiveMinimum": field.more_than,
        "maximum": field.maximum,
    }
    return {key: value for key, value in schema.items() if value is not None}


def of_model(name: str, found: Payloads) -> Schema:
    """The schema of messages that fit a model; those of the models are in its `$defs`."""
    waiting, definitions = [name], dict[str, Schema]()
    while waiting:
        payload = found[waiting.pop()]
        if payload.name not in definitions:
            definitions[payload.name] = (
                _type(payload.union) if payload.union else _object(payload.fields)
            )
            waiting += sorted(set().union(*(type_.models() for type_ in payload.types)))
    return {**_reference(name), "$defs": definitions}


def _object(fields: Mapping[str, Type]) -> Schema:
    return {
        "type": "object",
        "properties": {key: _type(type_) for key, type_ in fields.items()},
        "required": [key for key, type_ in fields.items() if not type_.may_be_absent],
    }


def _type(type_: Type) -> Schema:
    schema = _not_null(type_)
    if type_.optional:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return schema if type_.default is None else {**schema, "default": type_.default}


def _not_null(type_: Type) -> Schema:
    if type_.choices:
        return {"anyOf": [_type(choice) for choice in type_.choices]}
    if type_.values:
        return {"enum": list(type_.values)}
    if type_.item is not None:
        inner = _type(type_.item)
        if type_.name == "list":
            return {"type": "array", "items": inner}
        return {"type": "object", "additionalProperties": inner}
    if type_.models():
        return _reference(type_.name)
    return dict(_SCALARS.get(type_.name, {"type": "string"}))


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
