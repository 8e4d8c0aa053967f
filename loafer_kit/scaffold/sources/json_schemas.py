"""JSON Schema: the models that a schema describes."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.sources.documents import Node, References
from loafer_kit.scaffold.sources.import_results import ImportResult, draft_of
from loafer_kit.scaffold.spec import names, payloads
from loafer_kit.scaffold.spec.payload_types import LITERAL, LONGEST, Type, union
from loafer_kit.scaffold.spec.specs import Draft, Path, Problem

_ANY, _NULL = Type("Any"), Type("None")
_FORMATS = {
    "byte": "Base64Bytes",  # OpenAPI's
    "date": "date",
    "date-time": "datetime",
    "decimal": "Decimal",
    "duration": "timedelta",
    "ipv4": "IPv4Address",
    "ipv6": "IPv6Address",
    "time": "time",
    "uuid": "UUID",
}
_NUMBERS = frozenset(["double", "float", "int32", "int64"])
# A model checks types only.
_CHECKS = frozenset(
    [
        "$dynamicRef", "$recursiveRef", "additionalItems", "contains", "contentMediaType",
        "contentSchema", "dependencies", "dependentRequired", "dependentSchemas", "else",
        "exclusiveMaximum", "exclusiveMinimum", "if", "maxContains", "maxItems", "maxLength",
        "maxProperties", "maximum", "minContains", "minItems", "minLength", "minProperties", "minimum",
        "multipleOf", "not", "pattern", "patternProperties", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties", "uniqueItems",
    ]
)  # fmt: skip
# These say nothing about the type of a value.
_WITHOUT_TYPE = frozenset(
    [
        "$comment", "$defs", "$id", "$schema", "allOf", "anyOf", "default", "definitions",
        "deprecated", "description", "discriminator", "example", "examples", "nullable", "oneOf",
        "readOnly", "title", "writeOnly",
    ]
)  # fmt: skip
# These change nothing beside a `$ref`; a field's default is read there in any case.
_BESIDE = _WITHOUT_TYPE - {"allOf", "anyOf", "oneOf"} | {"$ref"}
_KINDS = ("null", "boolean", "integer", "number", "string", "array", "object")
_EVERY_KIND = frozenset(_KINDS)
# A document with more parts than this is a bomb, or at least no description of a message.
_MOST_TYPES = 5000
_LONGEST_TITLE, _LONGEST_NAME = 60, 100
_LONGEST_TYPE = LONGEST - len(" | None") - len("Required[]")


class Schemas:
    """Converts schemas to models, each schema once, however many places refer to it.

    Adds the models to `models` under free names. A type is never narrower than its schema: what it
    cannot express becomes a wider type and a note.
    """

    def __init__(
        self,
        references: References,
        result: ImportResult,
        models: dict[str, object],
        *,
        reads_beside: bool = False,
    ) -> None:
        self._references = references
        #: Whether keys beside a `$ref` count, as they do since draft 2019-09.
        self._reads_beside = reads_beside
        self._result = result
        self._names: dict[frozenset[Path], str] = {}
        self._open: list[frozenset[Path]] = []
        self._models = models
        self._made = 0

    def payload(self, schemas: Sequence[tuple[Node, str]]) -> str | None:
        """The name of the model of a message's payload, or of the union of the models of several.

        Each schema has a name for its model. None, and a note, if one is not an object with properties.
        """
        node, hint = schemas[0]
        before = set(self._models)
        type_ = union([self._type([schema], name) for schema, name in schemas])
        parts = type_.choices or (type_,)
        if why := self._why_no_model(type_, parts):
            for name in set(self._models) - before:
                del self._models[name]
            self._names = {key: name for key, name in self._names.items() if name in self._models}
            self._result.note(node, f"{why}: the handler gets the decoded content")
            return None
        if not type_.choices:
            return type_.name
        stem = "Or".join(part.name for part in parts)
        if len(schemas) == 1:
            stem = self._hint(node, self._references.follow(node), hint)
        name = self._free_name(stem)
        self._result.places["payloads", name] = node.path
        self._models[name] = str(type_)
        return name

    def _why_no_model(self, type_: Type, parts: Sequence[Type]) -> str | None:
        if type_.optional or not all(part.name in part.models() for part in parts):
            return "is not an object with properties"
        found = payloads.read(self._models, [])
        reasons = (payloads.why_no_example(name, found) for name in sorted(type_.models()))
        return next(filter(None, reasons), None)

    def _type(
        self, nodes: Sequence[Node], hint: str, resolved: frozenset[Path] = frozenset()
    ) -> Type:
        """The type of the values that fit all of the schemas.

        `resolved` are the paths of alternatives of which the schemas have one already.
        """
        starts = [start for node in nodes for start in self._followed(node)]
        starts = [start for start in starts if isinstance(start.value, Mapping)]
        if not starts:
            return _ANY
        key = frozenset(start.path for start in starts)
        if key in self._names:
            return Type(self._names[key])
        if key in self._open:
            self._result.note(starts[0], "contains itself: taken as any value")
            return _ANY
        self._made += 1
        if self._made > _MOST_TYPES:
            self._result.note(Node(None), f"has more than {_MOST_TYPES} types: the others are Any")
            return _ANY
        if len(nodes) == 1:
            hint = self._hint(nodes[0], starts[0], hint)
        self._open.append(key)
        found = self._of_parts(list(self._parts(starts)), hint, resolved)
        self._open.pop()
        return found

    def _hint(self, node: Node, schema: Node, hint: str) -> str:
        """The name for a schema: its title, or the key that references give."""
        title = schema["title"].text
        if title and len(title) <= _LONGEST_TITLE and re.search("[A-Za-z]", title):
            return title
        if schema.path != node.path and schema.path:
            return str(schema.path[-1])
        return hint

    def _parts(self, starts: Iterable[Node]) -> Iterator[Node]:
        """The schemas and the parts of their `allOf`, each once."""
        seen: set[Path] = set()
        waiting = list(reversed(list(starts)))
        while waiting:
            for part in self._followed(waiting.pop()):
                if part.path not in seen and isinstance(part.value, Mapping):
                    seen.add(part.path)
                    yield part
                    waiting += reversed(list(part["allOf"].elements()))

    def _followed(self, node: Node) -> list[Node]:
        """The schema that a place refers to, after the keys that stand beside references to it."""
        *places, target = self._references.chain(node)
        if not self._reads_beside:
            return [target]
        tables = [dict(place.items()) for place in places]
        return [
            place.with_value({key: item.value for key, item in table.items() if key != "$ref"})
            for place, table in zip(places, tables, strict=True)
            if not set(table) <= _BESIDE
        ] + [target]

    def _of_parts(self, parts: list[Node], hint: str, resolved: frozenset[Path]) -> Type:
        kinds = self._kinds(parts)
        if not kinds:
            return _ANY
        for part in parts:
            for word in ("oneOf", "anyOf"):
                choices = part[word]
                if choices.path not in resolved and self._tells_more(choices, parts, kinds):
                    return self._alternatives(choices, parts, hint, resolved)
        found = self._enumeration(parts, kinds) or self._of_kinds(parts, kinds, hint)
        is_nullable = _is_nullable(parts) or ("null" in kinds and kinds != _EVERY_KIND)
        return found.or_none() if is_nullable and found != _ANY else found

    def _kinds(self, parts: list[Node]) -> set[str]:
        """The kinds of JSON that fit all parts; empty, and a note, if none does."""
        kinds = set(_KINDS)
        for part in parts:
            named = set(_kinds(part))
            if named - _EVERY_KIND:
                self._result.note(part, "has an unknown type: taken as any value")
                return set()
            if named:
                kinds &= named | {"integer"} if "number" in named else named
        if not kinds:
            self._result.note(parts[0], "has types that exclude each other: taken as any value")
        if "number" in kinds and kinds != _EVERY_KIND:
            kinds.discard("integer")
        return kinds

    def _tells_more(self, choices: Node, parts: list[Node], kinds: set[str]) -> bool:
        """Whether alternatives have types or properties; they may have required keys only."""
        found = [self._references.follow(choice) for choice in choices.elements()]
        if not found or any(choice.path in {part.path for part in parts} for choice in found):
            return False
        if kinds == _EVERY_KIND and not _have(parts, "properties"):
            return True
        inner = [part for choice in found for part in self._parts([choice])]
        return _have(inner, "properties", "type", "enum", "const")

    def _alternatives(
        self, choices: Node, parts: list[Node], hint: str, resolved: frozenset[Path]
    ) -> Type:
        """The union of the alternatives, each together with the other parts."""
        more = resolved | {choices.path}
        has_others = any(set(dict(part.items())) - _WITHOUT_TYPE for part in parts)
        found = []
        for choice in choices.elements():
            if _kinds(choice) == ["null"]:
                found.append(_NULL)
                continue
            inner = hint
            if has_others and "$ref" not in choice:
                inner = f"{hint} {choice['title'].text or int(choice.path[-1]) + 1}"
            found.append(self._type([*parts, choice] if has_others else [choice], inner, more))
        types = [type_ for type_ in found if type_ is not _NULL]
        if not types or _ANY in types:
            self._result.note(choices, "has alternatives: taken as any value")
            return _ANY
        type_ = union(types)
        is_nullable = len(types) < len(found) or _is_nullable(parts)
        return self._bounded(type_.or_none() if is_nullable else type_, choices, _ANY)

    def _bounded(self, type_: Type, node: Node, wider: Type) -> Type:
        """The type, or a wider one if it is too long for a spec."""
        if len(str(type_)) <= _LONGEST_TYPE:
            return type_
        self._result.note(node, f"is too long to list: taken as {wider}")
        return wider

    def _enumeration(self, parts: list[Node], kinds: set[str]) -> Type | None:
        """The values of the enumerations of all parts; None if a spec cannot list them."""
        listed = [part for part in parts if part["const"].is_there or any(part["enum"].elements())]
        if not listed:
            return None
        values = _values(listed[0])
        for part in listed[1:]:
            others = _values(part)
            values = [value for value in values if value in others]
        wanted = [value for value in values if value is not None]
        texts = [value for value in wanted if isinstance(value, str)]
        numbers = [value for value in wanted if type(value) is int and abs(value) < 10**18]
        plain = all(LITERAL.fullmatch(text) for text in texts)
        if not wanted or len(texts) + len(numbers) < len(wanted) or not plain:
            what = "a wider type" if kinds != _EVERY_KIND else "any value"
            self._result.note(listed[0], f"has values that a spec cannot list: taken as {what}")
            return None
        literal = Type("Literal", values=tuple(dict.fromkeys([*texts, *numbers])))
        wider = union([Type("str")] * bool(texts) + [Type("int")] * bool(numbers))
        found = self._bounded(literal, listed[0], wider)
        return found.or_none() if None in values else found

    def _of_kinds(self, parts: list[Node], kinds: set[str], hint: str) -> Type:
        if kinds == _EVERY_KIND:
            if not _have(parts, "properties"):
                return _ANY
            self._result.note(parts[0], "has properties but no type: taken as an object")
            kinds = {"object"}
        wanted = [kind for kind in _KINDS if kind in kinds and kind != "null"]
        types = [self._single(parts, kind, hint) for kind in wanted]
        return union(types) if types else _ANY

    def _single(self, parts: list[Node], kind: str, hint: str) -> Type:
        formats = [format_ for part in parts if (format_ := part["format"].text)]
        match kind:
            case "object":
                return self._object(parts, hint)
            case "array":
                is_tuple = _have(parts, "prefixItems") or any(
                    isinstance(part["items"].value, list) for part in parts
                )
                return Type("list", _ANY if is_tuple else self._inner(parts, "items", hint))
            case "number":
                return Type("Decimal" if "decimal" in formats else "float")
            # Other encodings may lack the padding that pydantic requires.
            case "string" if any(part["contentEncoding"].value == "base64" for part in parts):
                return Type("Base64Bytes")
            case "string":
                return Type(next((_FORMATS[item] for item in formats if item in _FORMATS), "str"))
        return Type("int" if kind == "integer" else "bool")

    def _inner(self, parts: list[Node], word: str, hint: str) -> Type:
        """The type of the items of an array, or of the values of an object."""
        schemas = [part[word] for part in parts if isinstance(part[word].value, Mapping)]
        return self._type(schemas, hint) if schemas else _ANY

    def _object(self, parts: list[Node], hint: str) -> Type:
        properties: dict[str, list[Node]] = {}
        for part in parts:
            for name, node in part["properties"].items():
                properties.setdefault(name, []).append(node)
        if not properties:
            is_mixed = _have(parts, "patternProperties")
            values = _ANY if is_mixed else self._inner(parts, "additionalProperties", hint)
            return Type("dict", values)
        if len(properties) > payloads.MOST or len(self._models) >= payloads.MOST:
            self._result.note(
                parts[0], f"has more than {payloads.MOST} fields or models: taken as a dict"
            )
            return Type("dict", _ANY)
        name = self._free_name(hint)
        self._names[self._open[-1]] = name
        self._result.places["payloads", name] = parts[0].path
        fields: dict[str, str] = {}
        self._models[name] = fields
        required = {
            node.value for part in parts for node in part["required"].elements() if node.text
        }
        for field, nodes in properties.items():
            if not names.KEY.fullmatch(field):
                self._result.note(nodes[0], "is left out: its name cannot name a field")
                continue
            type_ = self._type(nodes, f"{name} {field}")
            fields[field] = str(self._field(type_, nodes, is_required=field in required))
            self._result.places["payloads", name, field] = nodes[0].path
        self._note_checks(parts, properties)
        return Type(name)

    def _field(self, type_: Type, nodes: list[Node], *, is_required: bool) -> Type:
        """The type of a field with its default, or with the need to be there."""
        if is_required:
            return replace(type_, required=True) if type_.optional else type_
        given = [node["default"] for node in nodes if "default" in node]
        given += [self._references.follow(node)["default"] for node in nodes]
        default = next((node for node in given if node.is_there), None)
        if default is None:
            return type_.or_none()
        value: Any = default.value
        if type_.name == "float" and type(value) is int and type_.accepts(value):
            value = float(value)
        with_default = replace(type_, default=value)
        if type_.accepts(value) and len(str(with_default)) <= _LONGEST_TYPE:
            return with_default
        self._result.note(default, "is left out: a spec has no such default")
        return type_.or_none()

    def _note_checks(self, parts: list[Node], properties: Mapping[str, list[Node]]) -> None:
        fields = [node for nodes in properties.values() for node in nodes]
        nodes = [*parts, *map(self._references.follow, fields)]
        found = {key for node in nodes for key, _ in node.items() if key in _CHECKS}
        for node in nodes:
            format_ = node["format"].text
            if format_ and format_ not in _FORMATS and format_ not in _NUMBERS:
                found.add(f"format {quoted(format_)}")
            encoding = node["contentEncoding"].text
            if encoding and encoding != "base64":
                found.add(f"contentEncoding {quoted(encoding)}")
        if any(part["additionalProperties"].value is False for part in parts):
            found.add("additionalProperties")
        if found:
            self._result.note(parts[0], f"not checked: {', '.join(sorted(found))}")

    def _free_name(self, text: str) -> str:
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])|[0-9]+", plain)
        stem = ""
        for word in words:
            stem += (word[0].upper() + word[1:]) if len(stem + word) <= _LONGEST_NAME - 10 else ""
        if not stem or names.model(stem):
            stem = f"{stem}Payload" if stem[:1].isalpha() else f"Payload{stem}"
        name, number = stem, 2
        while name in self._models:
            name, number = f"{stem}{number}", number + 1
        return name


def _kinds(schema: Node) -> list[str]:
    kinds = schema["type"].value
    if kinds is None:
        return []
    return [str(kind) for kind in kinds] if isinstance(kinds, list) else [str(kinds)]


def _values(schema: Node) -> list[object]:
    return [node.value for node in schema["enum"].elements()] or [schema["const"].value]


def _have(parts: Iterable[Node], *words: str) -> bool:
    return any(part[word].is_there for part in parts for word in words)


def _is_nullable(parts: Iterable[Node]) -> bool:
    return any(part["nullable"].value is True for part in parts)


def add(draft: Draft, path: FilePath) -> Draft:
    """The draft with the models of a schema; its title or its file names the outermost."""
    document = documents.load(path, documents.DATA, what="a JSON Schema")
    before = draft.values.get("payloads")
    models = dict(before) if isinstance(before, Mapping) else {}

    def read(root: Node) -> ImportResult:
        result = ImportResult()
        is_old = "draft-0" in str(root["$schema"].value)
        references = References(root, result.problem, document.folder)
        schemas = Schemas(references, result, models, reads_beside=not is_old)
        schemas.payload([(root, path.name.partition(".")[0])])
        return result

    def placed(problems: Sequence[Problem]) -> list[Problem]:
        return [replace(problem, path=(path.name, *problem.path)) for problem in problems]

    found = draft_of(document, read)
    return replace(
        draft,
        values={**draft.values, "payloads": models},
        origin=draft.origin or str(path),
        problems=[*draft.problems, *placed(found.problems)],
        notes=[*draft.notes, *placed(found.notes)],
    )
