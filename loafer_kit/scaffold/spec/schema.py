"""The JSON Schema of a spec, made from the rows that validate it."""

from collections.abc import Sequence
from typing import Any

from loafer_kit.scaffold.spec import names, payload_types, payloads
from loafer_kit.scaffold.spec.artefacts import NAMES
from loafer_kit.scaffold.spec.fields import EVERY, PARAMETER, SERVICE, TOPIC, TYPE, Field

Schema = dict[str, Any]


def service() -> Schema:
    """The schema of `loafer.toml` and other spec files of a service."""
    schema = _table(SERVICE, "A service that loafer-kit writes.")
    schema["properties"]["queues"] = {
        "type": "array",
        "description": "The queues whose messages the service handles.",
        "minItems": 1,
        "items": _table(EVERY, "A queue and the code that handles its messages."),
    }
    queue = schema["properties"]["queues"]["items"]["properties"]
    queue["topic"] = {
        "description": queue["topic"].pop("description"),
        "anyOf": [queue["topic"], _table(TOPIC, "A topic, and who creates it.")],
    }
    queue["types"] |= {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^(?:{payloads.KEY.pattern})$"},
        "additionalProperties": _table(TYPE, "A type of messages, and the code that handles it."),
    }
    schema["properties"]["parameters"] = {
        "type": "array",
        "description": "What differs between the stages of the service.",
        "items": _table(PARAMETER, "An environment variable that names of queues contain."),
    }
    schema["properties"]["payloads"] = _payloads()
    schema["required"].append("queues")
    schema["properties"]["with"] = {
        "type": "array",
        "description": "The artefacts that ship the service, as with `--with`.",
        "items": {"enum": list(NAMES)},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "loafer"} | schema


def _payloads() -> Schema:
    scalars = ", ".join(payload_types.SCALARS)
    fields = {
        "type": "object",
        "propertyNames": {"pattern": f"^(?:{payloads.KEY.pattern})$"},
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


def _table(fields: Sequence[Field], description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {field.name: _property(field) for field in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }


def _property(field: Field) -> Schema:
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
