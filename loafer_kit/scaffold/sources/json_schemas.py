"""JSON Schema: references within a document, and the models that a schema describes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from urllib.parse import unquote

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import ImportResult, draft_of
from loafer_kit.scaffold.spec.payload_types import LITERAL, Type
from loafer_kit.scaffold.spec.payloads import KEY, model
from loafer_kit.scaffold.spec.problems import Path, Problem
from loafer_kit.scaffold.spec.specs import Draft


class References:
    """Follows `$ref` within one document. It fetches nothing and reads no other file."""

    def __init__(self, root: Node, result: ImportResult) -> None:
        self._root = root
        self._result = result

    def follow(self, node: Node) -> Node:
        """The target of a place that is a reference, else the place; without a value on an error."""
        seen = {node.path}
        found = node
        while "$ref" in found:
            target = self._target(found["$ref"])
            if target is None:
                return node.with_value(None)
            if target.path in seen:
                self._result.problem(node, "the reference leads back to itself")
                return node.with_value(None)
            seen.add(target.path)
            found = target
        return found

    def down(self, node: Node, *steps: str) -> Node:
        """The place further down, following each reference on the way."""
        for step in steps:
            node = self.follow(self.follow(node)[step])
        return node

    def _target(self, reference: Node) -> Node | None:
        text = reference.value
        if not isinstance(text, str) or not text.startswith("#"):
            self._result.problem(
                reference,
                f"{quoted(str(text))} leads out of the document, and nothing is fetched: "
                "bundle the document into one file first",
            )
            return None
        target = self._root
        for part in text[1:].split("/")[1:]:
            step = unquote(part).replace("~1", "/").replace("~0", "~")
            is_index = isinstance(target.value, list) and step.isdigit()
            target = target[int(step[:9]) if is_index else step]
        if not target.is_there:
            self._result.problem(reference, f"{quoted(text)} leads nowhere")
            return None
        return target


_ANY = Type("Any")
_FORMATS = {
    "date": "date",
    "date-time": "datetime",
    "decimal": "Decimal",
    "time": "time",
    "uuid": "UUID",
}
# A model checks types only.
_CHECKS = frozenset(
    [
        "contains", "dependentRequired", "dependentSchemas", "else", "exclusiveMaximum",
        "exclusiveMinimum", "if", "maxItems", "maxLength", "maxProperties", "maximum", "minItems",
        "minLength", "minProperties", "minimum", "multipleOf", "not", "pattern",
        "patternProperties", "propertyNames", "then", "uniqueItems",
    ]
)  # fmt: skip


class Schemas:
    """Converts schemas to models, each schema once, however many places refer to it.

    Adds the models to `models` under free names.
    """

    def __init__(
        self, references: References, result: ImportResult, models: dict[str, dict[str, str]]
    ) -> None:
        self._references = references
        self._result = result
        self._names: dict[Path, str] = {}
        self._open: list[Path] = []
        self._models = models

    def payload(self, node: Node, name: str) -> str | None:
        """The name of the model of a message's payload; None if the payload is not an object."""
        type_ = self._type(node, name)
        if type_.name in type_.models() and not type_.optional:
            return type_.name
        self._result.note(
            node, "is not an object with properties: the handler gets the decoded content"
        )
        return None

    def _type(self, node: Node, hint: str) -> Type:
        schema = self._references.follow(node)
        if schema.path != node.path and schema.path:
            hint = str(schema.path[-1])
        else:
            hint = schema["title"].text or hint
        if schema.path in self._names:
            return Type(self._names[schema.path])
        if schema.path in self._open:
            self._result.note(schema, "contains itself: taken as any value")
            return _ANY
        self._open.append(schema.path)
        found = self._of_schema(schema, hint)
        self._open.pop()
        return found.or_none() if schema["nullable"].value is True else found

    def _of_schema(self, schema: Node, hint: str) -> Type:
        kinds = _kinds(schema)
        found = self._of_kind(schema, kinds, hint)
        return found.or_none() if "null" in kinds and found != _ANY else found

    def _of_kind(self, schema: Node, kinds: Sequence[str], hint: str) -> Type:
        for word in ("oneOf", "anyOf"):
            if schema[word].is_there:
                return self._alternatives(schema[word], hint)
        if schema["const"].is_there or schema["enum"].is_there:
            return self._enumeration(schema)
        if schema["properties"].is_there or schema["allOf"].is_there:
            return self._object(schema, hint)
        kinds = [kind for kind in kinds if kind != "null"]
        if len(kinds) != 1:
            if kinds:
                self._result.note(schema, f"is one of {', '.join(kinds)}: taken as any value")
            return _ANY
        return self._single(schema, kinds[0], hint)

    def _single(self, schema: Node, kind: str, hint: str) -> Type:
        if kind == "object":
            values = schema["additionalProperties"]
            return Type(
                "dict", self._type(values, hint) if isinstance(values.value, dict) else _ANY
            )
        if kind == "array":
            items = schema["items"]
            return Type("list", self._type(items, hint) if isinstance(items.value, dict) else _ANY)
        format_ = str(schema["format"].value)
        if kind == "number":
            return Type("Decimal" if format_ == "decimal" else "float")
        if kind == "string":
            return Type(_FORMATS.get(format_, "str"))
        if kind in ("integer", "boolean"):
            return Type("int" if kind == "integer" else "bool")
        self._result.note(schema, "has an unknown type: taken as any value")
        return _ANY

    def _alternatives(self, choices: Node, hint: str) -> Type:
        found = [choice for choice in choices.elements() if _kinds(choice) != ["null"]]
        if len(found) != 1:
            self._result.note(choices, "has alternatives: taken as any value")
            return _ANY
        only = self._type(found[0], hint)
        return only.or_none() if len(list(choices.elements())) > 1 else only

    def _enumeration(self, schema: Node) -> Type:
        values = [node.value for node in schema["enum"].elements()] or [schema["const"].value]
        wanted = [value for value in values if value is not None]
        texts = [value for value in wanted if isinstance(value, str)]
        numbers = [value for value in wanted if type(value) is int and abs(value) < 10**18]
        plain = all(LITERAL.fullmatch(text) for text in texts)
        if not wanted or len(texts) + len(numbers) < len(wanted) or not plain:
            self._result.note(schema, "has values that a spec cannot list: taken as any value")
            return _ANY
        found = Type("Literal", values=tuple(dict.fromkeys([*texts, *numbers])))
        return found.or_none() if None in values else found

    def _object(self, schema: Node, hint: str) -> Type:
        properties = dict(self._properties(schema, {schema.path}))
        if not properties:
            return Type("dict", _ANY)
        name = self._free_name(hint)
        self._names[schema.path] = name
        self._result.places["payloads", name] = schema.path
        fields = self._models[name] = {}
        required = {node.value for node in self._required(schema, {schema.path})}
        for key, node in properties.items():
            if not KEY.fullmatch(key):
                self._result.note(node, "is left out: its name cannot name a field")
                continue
            type_ = self._type(node, f"{name} {key}")
            fields[key] = str(type_ if key in required else type_.or_none())
            self._result.places["payloads", name, key] = node.path
        self._note_checks(schema, properties)
        return Type(name)

    def _parts(self, schema: Node, seen: set[Path]) -> Iterator[Node]:
        """The parts of `allOf`, each once."""
        for item in schema["allOf"].elements():
            part = self._references.follow(item)
            if part.path not in seen:
                seen.add(part.path)
                yield part

    def _properties(self, schema: Node, seen: set[Path]) -> Iterator[tuple[str, Node]]:
        for part in self._parts(schema, seen):
            yield from self._properties(part, seen)
        yield from schema["properties"].items()

    def _required(self, schema: Node, seen: set[Path]) -> Iterator[Node]:
        for part in self._parts(schema, seen):
            yield from self._required(part, seen)
        yield from (node for node in schema["required"].elements() if node.text)

    def _note_checks(self, schema: Node, properties: dict[str, Node]) -> None:
        nodes = [schema, *(self._references.follow(node) for node in properties.values())]
        found = {key for node in nodes for key, _ in node.items() if key in _CHECKS}
        if schema["additionalProperties"].value is False:
            found.add("additionalProperties")
        if found:
            self._result.note(schema, f"not checked: {', '.join(sorted(found))}")

    def _free_name(self, text: str) -> str:
        words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])|[0-9]+", text, re.ASCII)
        stem = "".join(word[0].upper() + word[1:] for word in words)[:60]
        if not stem or model(stem):
            stem = f"{stem}Payload" if stem[:1].isalpha() else f"Payload{stem}"
        name, number = stem, 2
        while name in self._models:
            name, number = f"{stem}{number}", number + 1
        return name


def _kinds(schema: Node) -> list[str]:
    kinds = schema["type"].value
    return (
        [str(kind) for kind in kinds]
        if isinstance(kinds, list)
        else [str(kinds)] * (kinds is not None)
    )


_SUFFIXES = {**documents.JSON, **documents.YAML}


def add(draft: Draft, path: FilePath) -> Draft:
    """The draft with the models of a schema; its title or its file names the outermost."""
    document = documents.load(path, _SUFFIXES, what="a JSON Schema")
    before = draft.values.get("payloads")
    models = dict(before) if isinstance(before, Mapping) else {}
    hint = path.name.partition(".")[0]
    found = draft_of(document, lambda root: _import(root, hint, models))

    def placed(problems: Sequence[Problem]) -> list[Problem]:
        return [replace(problem, path=(path.name, *problem.path)) for problem in problems]

    return replace(
        draft,
        values={**draft.values, "payloads": models},
        origin=draft.origin or str(path),
        problems=[*draft.problems, *placed(found.problems)],
        notes=[*draft.notes, *placed(found.notes)],
    )


def _import(root: Node, hint: str, models: dict[str, dict[str, str]]) -> ImportResult:
    result = ImportResult()
    Schemas(References(root, result), result, models).payload(root, hint)
    return result
