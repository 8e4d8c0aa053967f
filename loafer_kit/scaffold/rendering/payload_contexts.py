"""The template variables for payloads: the models in the order of their code."""

from typing import Any

from loafer_kit.scaffold.spec import payloads
from loafer_kit.scaffold.spec.payloads import Payloads, PayloadSpec
from loafer_kit.scaffold.spec.specs import ServiceSpec

# The line that imports each type.
_IMPORTS = {
    "date": "import datetime as dt",
    "datetime": "import datetime as dt",
    "time": "import datetime as dt",
    "Decimal": "from decimal import Decimal",
    "UUID": "from uuid import UUID",
}


def models(spec: ServiceSpec) -> list[dict[str, Any]]:
    """The models, each after those that it is made of."""
    written: set[str] = set()
    found: list[dict[str, Any]] = []
    for payload in payloads.in_order(spec.payloads):
        attributes = payloads.attributes(payload.fields, spec.payloads)
        fields = [
            {
                "name": attributes[key],
                "type": str(type_),
                "forward": not written.issuperset(type_.models()),
                "alias": key if attributes[key] != key else "",
                "optional": type_.optional,
            }
            for key, type_ in payload.fields.items()
        ]
        written.add(payload.name)
        found.append({"name": payload.name, "role": _role(payload, spec), "fields": fields})
    return found


def imports(found: Payloads) -> list[str]:
    """The lines that import what the models are made of, as isort orders them."""
    types = [type_ for payload in found.values() for type_ in payload.fields.values()]
    used = set().union(*(type_.names() for type_ in types))
    typing = ["Annotated"] if has_aliases(found) else []
    typing += ["Any"] if "Any" in used else []
    typing += ["Literal"] if any("Literal[" in str(type_) for type_ in types) else []
    lines = {line for name, line in _IMPORTS.items() if name in used}
    lines.add("from dataclasses import dataclass")
    if typing:
        lines.add(f"from typing import {', '.join(typing)}")
    return sorted(lines, key=lambda line: (line.startswith("from"), line))


def has_aliases(found: Payloads) -> bool:
    """Whether a key of a model cannot be an attribute's name."""
    return any(
        attribute != key
        for payload in found.values()
        for key, attribute in payloads.attributes(payload.fields, found).items()
    )


def _role(payload: PayloadSpec, spec: ServiceSpec) -> str:
    queues = [queue.queue_name for queue in spec.queues if queue.payload == payload.name]
    if queues:
        return f"What a message of {' and of '.join(queues)} carries"
    users = [
        other.name
        for other in spec.payloads.values()
        if any(payload.name in type_.models() for type_ in other.fields.values())
    ]
    return f"A part of {' and '.join(users)}" if users else "What nothing uses yet"
