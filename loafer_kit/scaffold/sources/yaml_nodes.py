"""Reads YAML: plain values only, no duplicate keys, limited aliases, the line of each value."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from loafer_kit.scaffold.sources.lines import Lines
from loafer_kit.scaffold.spec.specs import Path

_MOST, _DEEPEST = 60_000, 200
_BOOLEAN, _TIMESTAMP = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"
# PyYAML resolves a plain `=` to a type that its safe loaders cannot construct.
_VALUE = "tag:yaml.org,2002:value"

# What PyYAML raises for a tag that does not fit its value, like `!!bool x`.
_TAG_ERRORS = (AttributeError, IndexError, KeyError, TypeError, OverflowError)


class _BoundedLoader(yaml.SafeLoader):
    """Stops reading where a document has too many nodes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._nodes += 1
        if self._nodes > _MOST:
            raise ValueError(f"it has more than {_MOST} values: too large")
        return super().compose_node(parent, index)


def _resolvers(*without: str) -> Any:
    """PyYAML's rules for plain words except those of some tags."""
    return {
        first: [(tag, rule) for tag, rule in rules if tag not in without]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class SpecLoader(_BoundedLoader):
    """Reads plain words like YAML 1.1."""

    yaml_implicit_resolvers = _resolvers(_VALUE)


class DocumentLoader(_BoundedLoader):
    """Reads plain words like YAML 1.2: `on` and `2010-09-09` are texts."""

    yaml_implicit_resolvers = _resolvers(_BOOLEAN, _TIMESTAMP, _VALUE)


# PyYAML matches from the beginning of a word only: the pattern itself has the end.
DocumentLoader.add_implicit_resolver(
    _BOOLEAN, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)


class TemplateLoader(DocumentLoader):
    """Expands CloudFormation's short tags: `!Ref X` is `{"Ref": X}`."""


def _short_tag(loader: Any, name: str, node: Any) -> object:
    value: Any
    if node.id == "scalar":
        value = loader.construct_scalar(node)
        if name == "GetAtt":
            value = value.split(".", 1)
    elif node.id == "sequence":
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


TemplateLoader.add_multi_constructor("!", _short_tag)


def read(text: str, loader_class: type[yaml.SafeLoader] = SpecLoader) -> tuple[object, Lines]:
    """The document's values and their lines; ValueError if it cannot be read."""
    try:
        return _document(loader_class(text))
    except yaml.YAMLError as error:
        raise ValueError(_in_one_line(error)) from error
    except _TAG_ERRORS as error:
        raise ValueError("one of its values cannot be read as its tag says") from error


def _document(loader: Any) -> tuple[object, Lines]:
    try:
        root = loader.get_single_node()
        if root is None:
            return None, {}
        lines = _lines(root)  # before the values: it refuses aliases that multiply
        return loader.construct_document(root), lines
    finally:
        loader.dispose()


def _in_one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        mark = error.problem_mark
        told = ": ".join(part for part in (error.context, error.problem) if part)
        return f"{' '.join(told.split())} (line {mark.line + 1}, column {mark.column + 1})"
    return " ".join(str(error).replace('in "<unicode string>", ', "").split())


def _lines(root: Any) -> Lines:
    """The line of each value; ValueError for aliases that multiply, or contain themselves."""
    lines: dict[Path, int] = {}
    waiting: list[tuple[Path, Any]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        for step, item, line in _items(node):
            place = (*path, step)
            if place in lines:
                raise ValueError(f"the key {step!a} is given twice (line {line})")
            if len(lines) == _MOST or len(place) > _DEEPEST:
                raise ValueError("its aliases, or its nesting, make it too large")
            lines[place] = line
            waiting.append((place, item))
    return lines


def _items(node: Any) -> Iterator[tuple[str | int, Any, int]]:
    if node.id == "sequence":
        for index, item in enumerate(node.value):
            yield index, item, item.start_mark.line + 1
    elif node.id == "mapping":
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise ValueError(f"a key must be a plain text (line {line})")
            yield str(key.value), value, line
