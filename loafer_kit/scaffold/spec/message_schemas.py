"""The JSON Schema of a queue's messages, made from the models of a spec."""

from typing import Any

from loafer_kit.scaffold.spec.payload_types import Type
from loafer_kit.scaffold.spec.payloads import Payloads

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


def _object(fields: Any) -> Schema:
    return {
        "type": "object",
        "properties": {key: _type(type_) for key, type_ in fields.items()},
        "required": [key for key, type_ in fields.items() if not type_.may_be_absent],
    }


def _type(type_: Type) -> Schema:
    schema = _plain(type_)
    if type_.optional:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return schema if type_.default is None else {**schema, "default": type_.default}


def _plain(type_: Type) -> Schema:
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
