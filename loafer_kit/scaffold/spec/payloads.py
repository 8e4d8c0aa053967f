"""The models of messages: validation, order of definition, attribute names, examples."""

import keyword
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.spec import names, payload_types
from loafer_kit.scaffold.spec.payload_types import SCALARS, Type
from loafer_kit.scaffold.spec.problems import Path, Problem

# A key of a JSON object: it reads the same in Python, TOML and JSON.
KEY = re.compile(r"[A-Za-z0-9_@$][A-Za-z0-9_@$:./ -]{0,99}")
MOST = 200

# The names that the generated module imports: a field of such a name would hide the import.
IMPORTED = frozenset(["Annotated", "Any", "Decimal", "Field", "Literal", "UUID", "dataclass", "dt"])
_HIDING = IMPORTED | {"bool", "dict", "float", "int", "list", "str"}
_LARGEST_EXAMPLE, _DEEPEST_EXAMPLE = 2000, 80


@dataclass(frozen=True, slots=True)
class PayloadSpec:
    """One model: the keys of a JSON object and their types."""

    name: str
    fields: Mapping[str, Type]


Payloads = Mapping[str, PayloadSpec]


def read(raw: object, problems: list[Problem]) -> Payloads:
    """The models of a spec's `payloads` table; everything invalid is added to `problems`."""
    if not isinstance(raw, Mapping):
        problems.append(Problem(("payloads",), "must be a table of models"))
        return {}
    if len(raw) > MOST:
        problems.append(Problem(("payloads",), f"has more than {MOST} models"))
        return {}
    found = {
        name: PayloadSpec(name, _fields(fields, ("payloads", name), problems))
        for name, fields in raw.items()
        if _is_model_name(name, problems)
    }
    problems.extend(_unknown_models(found))
    problems.extend(_endless_models(found))
    return found


def model(name: str) -> str | None:
    """The reason why a model cannot have this name, or None."""
    if name in IMPORTED:
        return f"{quoted(name)} is used by the generated code itself"
    return names.class_(name)


def _is_model_name(name: object, problems: list[Problem]) -> bool:
    why = model(name) if isinstance(name, str) else "the name of a model must be a text"
    if why:
        problems.append(Problem(("payloads", str(name)), why))
    return why is None


def _fields(raw: object, path: Path, problems: list[Problem]) -> Mapping[str, Type]:
    if not isinstance(raw, Mapping) or len(raw) > MOST:
        problems.append(Problem(path, f"must be a table of fields and types, {MOST} at most"))
        return {}
    fields: dict[str, Type] = {}
    for key, text in raw.items():
        place = (*path, str(key))
        if not isinstance(key, str) or not KEY.fullmatch(key):
            problems.append(Problem(place, f"cannot name a field: {KEY.pattern}"))
        elif not isinstance(text, str):
            problems.append(Problem(place, "must be a type, like 'str' or 'list[int] | None'"))
        else:
            try:
                fields[key] = payload_types.parse(text)
            except ValueError as error:
                problems.append(Problem(place, f"{quoted(text)} {error}"))
    return fields


def _unknown_models(found: Payloads) -> Iterator[Problem]:
    for payload in found.values():
        for key, type_ in payload.fields.items():
            for name in sorted(type_.models() - set(found)):
                hint = names.did_you_mean(name, [*found, *SCALARS])
                message = f"{quoted(name)} is neither a type nor a model{hint}"
                yield Problem(("payloads", payload.name, key), message)


def _endless_models(found: Payloads) -> Iterator[Problem]:
    """Models that always contain themselves: no message can fit them."""
    waiting = dict(found)
    while True:
        ended = [name for name, item in waiting.items() if not _required(item) & set(waiting)]
        if not ended:
            break
        for name in ended:
            del waiting[name]
    for name in waiting:
        yield Problem(("payloads", name), "always contains itself: make a field optional")


def _required(payload: PayloadSpec) -> set[str]:
    """The models that each message of this one contains."""
    return {
        type_.name
        for type_ in payload.fields.values()
        if not type_.optional and type_.name in type_.models()
    }


def in_order(found: Payloads) -> list[PayloadSpec]:
    """The models, each after those that it is made of, except in a cycle."""
    ordered: dict[str, PayloadSpec] = {}
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name in begun:
            return
        begun.add(name)
        for type_ in found[name].fields.values():
            for inner in sorted(type_.models()):
                visit(inner)
        ordered[name] = found[name]

    for name in found:
        visit(name)
    return list(ordered.values())


def attributes(keys: Collection[str], models: Collection[str]) -> dict[str, str]:
    """The Python attribute of each key: the key itself if it is a valid and free name."""
    chosen: dict[str, str] = {}
    for key in keys:
        name = key
        if not key.isidentifier() or key.startswith("_"):
            name = re.sub(r"[^A-Za-z0-9]+", "_", key).strip("_") or "field"
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
        if self._made > _LARGEST_EXAMPLE or self._depth > _DEEPEST_EXAMPLE:
            raise ValueError("nests so much that an example of it would be too large")
        found = self._of(type_, within)
        self._depth -= 1
        return found

    def _of(self, type_: Type, within: tuple[str, ...]) -> object:
        leads_back = not type_.models().isdisjoint(within)
        if type_.optional and leads_back:
            return None
        if type_.values:
            return type_.values[0]
        if type_.name in SCALARS:
            return SCALARS[type_.name][1]
        if type_.item is None:
            return self._model(self._found[type_.name], (*within, type_.name))
        if type_.name == "list":
            return [] if leads_back else [self.of(type_.item, within)]
        return {} if leads_back else {"key": self.of(type_.item, within)}

    def _model(self, payload: PayloadSpec, within: tuple[str, ...]) -> dict[str, object]:
        return {
            key: self.of(type_, within)
            for key, type_ in payload.fields.items()
            if not type_.optional or (self._everything and type_.models().isdisjoint(within))
        }
