"""A YAML document read with care: plain values only, no key twice, the line of each value."""

from collections.abc import Iterator
from typing import Any

import yaml

from loafer_kit.scaffold.problems import Path
from loafer_kit.scaffold.sources.lines import Lines


def read(text: str) -> tuple[object, Lines]:
    """The document's values and their lines; ValueError when it is no such document."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, {}
        lines = _lines(root)
        return loader.construct_document(root), lines
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    finally:
        loader.dispose()


def _lines(root: Any) -> Lines:
    lines: dict[Path, int] = {}
    for path, line in _places(root):
        if path in lines:
            raise ValueError(f"the key {path[-1]!a} is given twice (line {line})")
        lines[path] = line
    return lines


def _places(root: Any) -> Iterator[tuple[Path, int]]:
    """Each value once, however many aliases lead to it: aliases can multiply without end."""
    waiting: list[tuple[Path, Any]] = [((), root)]
    seen: set[int] = set()
    while waiting:
        path, node = waiting.pop()
        if node.id == "scalar" or id(node) in seen:
            continue
        seen.add(id(node))
        for step, item, line in _items(node):
            yield (*path, step), line
            waiting.append(((*path, step), item))


def _items(node: Any) -> Iterator[tuple[str | int, Any, int]]:
    if node.id == "sequence":
        for index, item in enumerate(node.value):
            yield index, item, item.start_mark.line + 1
    else:
        for key, value in node.value:
            yield str(key.value), value, key.start_mark.line + 1
