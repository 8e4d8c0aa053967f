"""What a template is told about payloads: models in the order of their code, ready to be written."""

from typing import Any

from loafer_kit.scaffold.spec import payload_types, payloads
from loafer_kit.scaffold.spec.payload_types import Maybe
from loafer_kit.scaffold.spec.payloads import Payloads, PayloadSpec
from loafer_kit.scaffold.spec.specs import ServiceSpec

# What each word of an annotation needs; plain `import`s come first.
_IMPORTS = {
    "dt.": "import datetime as dt",
    "Decimal": "from decimal import Decimal",
    "UUID": "from uuid import UUID",
}
_TYPING = ("Any", "Literal")


def models(spec: ServiceSpec) -> list[dict[str, Any]]:
    """The models, each after those that it is made of."""
    written: set[str] = set()
    found: list[dict[str, Any]] = []
    for payload in payloads.in_order(spec.payloads):
        attributes = payloads.attributes(payload.fields, spec.payloads)
        fields = [
            {
                "name": attributes[key],
                "annotation": _annotation(type_, written),
                "alias": key if attributes[key] != key else "",
                "optional": isinstance(type_, Maybe),
            }
            for key, type_ in payload.fields.items()
        ]
        written.add(payload.name)
        found.append({"name": payload.name, "role": _role(payload, spec), "fields": fields})
    return found


def imports(found: Payloads) -> list[str]:
    """The lines that import what the models are made of, as isort orders them."""
    annotations = " ".join(_annotations(found))
    typing = [name for name in _TYPING if name in annotations]
    lines = [line for word, line in _IMPORTS.items() if word in annotations]
    lines.append("from dataclasses import dataclass")
    if has_aliases(found):
        typing.insert(0, "Annotated")
    if typing:
        lines.append(f"from typing import {', '.join(typing)}")
    return sorted(lines, key=lambda line: (line.startswith("from"), line))


def has_aliases(found: Payloads) -> bool:
    """Whether a key of a model cannot be an attribute's name."""
    return any(
        attribute != key
        for payload in found.values()
        for key, attribute in payloads.attributes(payload.fields, found).items()
    )


def _annotations(found: Payloads) -> list[str]:
    return [
        payload_types.annotation(type_)
        for payload in found.values()
        for type_ in payload.fields.values()
    ]


def _annotation(type_: payload_types.Type, written: set[str]) -> str:
    """The annotation, in quotes while a model in it is still to come."""
    text = payload_types.annotation(type_)
    return text if written.issuperset(payload_types.models(type_)) else repr(text)


def _role(payload: PayloadSpec, spec: ServiceSpec) -> str:
    queues = [queue.queue_name for queue in spec.queues if queue.payload == payload.name]
    if queues:
        return f"What a message of {' and of '.join(queues)} carries"
    users = [
        other.name
        for other in spec.payloads.values()
        if any(payload.name in payload_types.models(type_) for type_ in other.fields.values())
    ]
    return f"A part of {' and '.join(users)}" if users else "What nothing uses yet"
