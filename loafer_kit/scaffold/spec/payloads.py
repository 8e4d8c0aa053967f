"""The models of messages: validation, order of definition, attribute names, examples, JSON Schemas."""

import keyword
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.spec import names, payload_types
from loafer_kit.scaffold.spec.payload_types import SCALARS, Type
from loafer_kit.scaffold.spec.specs import Path, Payloads, PayloadSpec, Problem

Schema = dict[str, Any]

MOST = 200

_HIDING = names.IMPORTED_BY_MODELS.keys() | {"bool", "dict", "float", "int", "list", "str"}
_LARGEST_EXAMPLE, _DEEPEST_EXAMPLE = 1000, 80


def read(raw: object, problems: list[Problem]) -> Payloads:
    """The models of a spec's `payloads` table; everything invalid is added to `problems`."""
    if not isinstance(raw, Mapping):
        problems.append(Problem(("payloads",), "must be a table of models"))
        return {}
    if len(raw) > MOST:
        problems.append(Problem(("payloads",), f"has more than {MOST} models"))
        return {}
    found = {
        name: _payload(name, fields, problems)
        for name, fields in raw.items()
        if _is_model_name(name, problems)
    }
    problems.extend(_unknown_models(found))
    problems.extend(_unions_of_others(found))
    problems.extend(_endless_models(found))
    return found


def _is_model_name(name: object, problems: list[Problem]) -> bool:
    why = names.model(name) if isinstance(name, str) else "the name of a model must be a text"
    if why:
        problems.append(Problem(("payloads", str(name)), why))
    return why is None


def _payload(name: str, raw: object, problems: list[Problem]) -> PayloadSpec:
    path: Path = ("payloads", name)
    if isinstance(raw, str):
        return PayloadSpec(name, {}, _type(raw, path, problems))
    return PayloadSpec(name, _fields(raw, path, problems))


def _type(text: str, path: Path, problems: list[Problem]) -> Type | None:
    try:
        return payload_types.parse(text)
    except ValueError as error:
        problems.append(Problem(path, f"{quoted(text)} {error}"))
    return None


def _unions_of_others(found: Payloads) -> Iterator[Problem]:
    """Unions of anything but models with fields."""
    for payload in found.values():
        parts = payload.union.choices if payload.union else ()
        if payload.union and (
            not parts
            or str(payload.union) != " | ".join(part.name for part in parts)
            or any(part.name in found and found[part.name].union for part in parts)
        ):
            yield Problem(("payloads", payload.name), "must be a union of models: 'Placed | Paid'")


def _fields(raw: object, path: Path, problems: list[Problem]) -> Mapping[str, Type]:
    if not isinstance(raw, Mapping) or len(raw) > MOST:
        problems.append(Problem(path, f"must be a table of fields and types, {MOST} at most"))
        return {}
    fields: dict[str, Type] = {}
    for key, text in raw.items():
        place = (*path, str(key))
        if not isinstance(key, str) or not names.KEY.fullmatch(key):
            problems.append(Problem(place, f"cannot name a field: {names.KEY.pattern}"))
        elif not isinstance(text, str):
            problems.append(Problem(place, "must be a type, like 'str' or 'list[int] | None'"))
        elif type_ := _type(text, place, problems):
            fields[key] = type_
    return fields


def _unknown_models(found: Payloads) -> Iterator[Problem]:
    for payload in found.values():
        named = {(key,): type_ for key, type_ in payload.fields.items()}
        for place, type_ in ({(): payload.union} if payload.union else named).items():
            for name in sorted(type_.models() - set(found)):
                hint = names.did_you_mean(name, [*found, *SCALARS])
                message = f"{quoted(name)} is neither a type nor a model{hint}"
                yield Problem(("payloads", payload.name, *place), message)


def _endless_models(found: Payloads) -> Iterator[Problem]:
    """Models that always contain themselves: no message can fit them."""
    waiting = dict(found)
    while True:
        ended = [name for name, item in waiting.items() if _ends(item, waiting)]
        if not ended:
            break
        for name in ended:
            del waiting[name]
    for name in waiting:
        yield Problem(("payloads", name), "always contains itself: make a field optional")


def _ends(payload: PayloadSpec, endless: Collection[str]) -> bool:
    """Whether a message can fit the model without a model of `endless`."""
    return all(
        type_.optional
        or type_.may_be_absent
        or any(choice.name not in endless for choice in type_.choices or (type_,))
        for type_ in payload.types
    )


def in_order(found: Payloads) -> list[PayloadSpec]:
    """The models, each after those that it is made of, except in a cycle; then the unions."""
    ordered: dict[str, PayloadSpec] = {}
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name in begun:
            return
        begun.add(name)
        for type_ in found[name].types:
            for inner in sorted(type_.models()):
                visit(inner)
        ordered[name] = found[name]

    unions = [name for name in found if found[name].union]
    for name in [*(name for name in found if not found[name].union), *unions]:
        visit(name)
    return sorted(ordered.values(), key=lambda payload: payload.union is not None)


def attributes(keys: Collection[str], models: Collection[str]) -> dict[str, str]:
    """The Python attribute of each key: the key in snake case, made a valid and free name."""
    chosen: dict[str, str] = {}
    for key in keys:
        plain = unicodedata.normalize("NFKD", key).encode("ascii", "ignore").decode()
        name = names.snake_case(plain) or "field"
        name = f"field_{name}" if name[0].isdigit() else name
        if keyword.iskeyword(name) or name in _HIDING or name in models:
            name += "_"
        used = (set(keys) - {key}) | set(chosen.values())
        stem, number = name, 2
        while name in used:
            name, number = f"{stem.rstrip('_')}_{number}", number + 1
        chosen[key] = name
    return chosen


def example(name: str, found: Payloads, *, everything: bool = True) -> dict[str, object]:
    """A message that fits a model, always the same; ValueError if it would be too large.

    Without `everything` it has the required fields only.
    """
    return cast("dict[str, object]", _Examples(found, everything).of(Type(name), ()))


def why_no_example(name: str, found: Payloads) -> str | None:
    """The reason why a model has no example, or None."""
    try:
        example(name, found)
    except ValueError as error:
        return str(error)
    return None


class _Examples:
    """Makes examples until there are too many."""

    def __init__(self, found: Payloads, everything: bool) -> None:
        self._found = found
        self._everything = everything
        self._made = self._depth = 0

    def of(self, type_: Type, within: tuple[str, ...]) -> object:
        self._made += 1
        self._depth += 1
        if self._made > 2 * _LARGEST_EXAMPLE or self._depth > _DEEPEST_EXAMPLE:
            raise ValueError("nests so much that an example of it would be too large")
        found = self._of(type_, within)
        self._depth -= 1
        return found

    def _of(self, type_: Type, within: tuple[str, ...]) -> object:
        if type_.choices:
            return self._of(self._best(type_.choices, within), within)
        leads_back = not type_.models().isdisjoint(within)
        if type_.optional and leads_back:
            return None
        if type_.values or type_.name in SCALARS:
            return type_.values[0] if type_.values else SCALARS[type_.name][1]
        if type_.item is None:
            payload = self._found[type_.name]
            return (
                self._of(payload.union, within) if payload.union else self._model(payload, within)
            )
        is_empty = leads_back or self._is_large
        if type_.name == "list":
            return [] if is_empty else [self.of(type_.item, within)]
        return {} if is_empty else {"key": self.of(type_.item, within)}

    def _best(self, choices: Collection[Type], within: tuple[str, ...]) -> Type:
        """The first choice that does not lead back to a model around it."""
        free = [choice for choice in choices if choice.models().isdisjoint(within)]
        return next(iter(free or choices))

    @property
    def _is_large(self) -> bool:
        """Whether what may be absent is left out because the example is large already."""
        return self._made > _LARGEST_EXAMPLE or self._depth > _DEEPEST_EXAMPLE // 2

    def _model(self, payload: PayloadSpec, within: tuple[str, ...]) -> dict[str, object]:
        inside = (*within, payload.name)
        return {
            key: self.of(type_, inside)
            for key, type_ in payload.fields.items()
            if not type_.may_be_absent
            or (self._everything and not self._is_large and type_.models().isdisjoint(inside))
        }


# JSON Schema.

_SCHEMAS: dict[str, Schema] = {
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


def schema(name: str, found: Payloads) -> Schema:
    """The schema of messages that fit a model; those of the models are in its `$defs`."""
    waiting, definitions = [name], dict[str, Schema]()
    while waiting:
        payload = found[waiting.pop()]
        if payload.name not in definitions:
            definitions[payload.name] = (
                _schema_of(payload.union) if payload.union else _schema_of_fields(payload.fields)
            )
            waiting += sorted(set().union(*(type_.models() for type_ in payload.types)))
    return {**_reference(name), "$defs": definitions}


def _schema_of_fields(fields: Mapping[str, Type]) -> Schema:
    return {
        "type": "object",
        "properties": {key: _schema_of(type_) for key, type_ in fields.items()},
        "required": [key for key, type_ in fields.items() if not type_.may_be_absent],
    }


def _schema_of(type_: Type) -> Schema:
    schema = _schema_of_values(type_)
    if type_.optional:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return schema if type_.default is None else {**schema, "default": type_.default}


def _schema_of_values(type_: Type) -> Schema:
    if type_.choices:
        return {"anyOf": [_schema_of(choice) for choice in type_.choices]}
    if type_.values:
        return {"enum": list(type_.values)}
    if type_.item is not None:
        inner = _schema_of(type_.item)
        if type_.name == "list":
            return {"type": "array", "items": inner}
        return {"type": "object", "additionalProperties": inner}
    if type_.models():
        return _reference(type_.name)
    return dict(_SCHEMAS.get(type_.name, {"type": "string"}))


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
