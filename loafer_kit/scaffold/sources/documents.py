"""Documents: spec files and those of other tools, their values, lines and references.

Limits on size, depth and numbers apply to all of them.
"""

import functools
import json
import os
import stat
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from errno import ENOENT
from pathlib import Path as FilePath
from typing import cast
from urllib.parse import unquote, urljoin

from loafer_kit.exceptions import ConfigurationError, MissingExtraError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import lines
from loafer_kit.scaffold.spec.specs import Draft, Path

LARGEST = 1024 * 1024
_STANDARD_INPUT = "standard input"
_DEEPEST = 100
_GREATEST = 10**100
_MOST_FILES = 100
# Finding the lines of a larger document would take too long.
_LARGEST_WITH_LINES = 2 * LARGEST

# The values, and a function that finds their lines.
Parsed = tuple[object, Callable[[], lines.Lines]]
Formats = Mapping[str, Callable[[str], Parsed]]


@dataclass(frozen=True, slots=True)
class Document(Draft):
    """The values of a file, and its folder; None for standard input."""

    folder: FilePath | None = None


def load(path: FilePath, formats: Formats, *, what: str, largest: int = LARGEST) -> Document:
    """The document in a file, whose suffix tells the format; `-` is standard input.

    `what` names the kind of document in errors.
    """
    if str(path) == "-":
        path = FilePath(_STANDARD_INPUT)
        text = _decoded(sys.stdin.buffer.read(largest + 1), path, what, largest)
        return _document(path, text, _either(formats), what)
    parse = formats.get(path.suffix.lower())
    if parse is None:
        why = f"{what} ends in {', '.join(formats)}"
        raise ConfigurationError(f"{path}: {why if path.exists() else os.strerror(ENOENT)}")
    return _document(path, _text(path, what, largest), parse, what)


def _either(formats: Formats) -> Callable[[str], Parsed]:
    """A parser of a text whose suffix does not tell the format: JSON if it begins like it."""
    json_ = formats.get(".json", _json)
    other = formats.get(".yaml") or formats.get(".toml") or json_
    return lambda text: json_(text) if text.lstrip().startswith(("{", "[")) else other(text)


def _document(path: FilePath, text: str, parse: Callable[[str], Parsed], what: str) -> Document:
    try:
        values, found = parse(text)
        refuse_depth(values)
        _refuse_numbers(values)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path}: nested too deeply") from error
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{path}: {what} is a table of keys and values")
    if len(text) > _LARGEST_WITH_LINES:
        found = dict
    known = functools.cache(found)
    table = cast("Mapping[str, object]", values)
    folder = path.parent if path.parent.is_dir() and path.name != _STANDARD_INPUT else None
    return Document(table, str(path), lambda place: lines.find(known(), place), folder=folder)


def _text(path: FilePath, what: str, largest: int) -> str:
    try:
        if path.is_file() and path.stat().st_size > largest:
            raise ConfigurationError(f"{path}: larger than {largest} bytes: too large for {what}")
        text = content(path, largest)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    return _decoded(text, path, what, largest)


def content(file: FilePath, largest: int) -> bytes:
    """The content of a regular file of at most `largest` bytes; a symbolic link is followed.

    ConfigurationError for any other file; OSError if it cannot be read.
    """
    # A pipe would otherwise be waited for, and a device might never end.
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
        found = os.fstat(opened.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"{file} is not a regular file: replace it by one")
        read = opened.read(largest + 1) if found.st_size <= largest else None
    if read is None or len(read) > largest:
        raise ConfigurationError(f"{file} is larger than {largest} bytes: make it smaller")
    return read


def _decoded(text: bytes, path: FilePath, what: str, largest: int) -> str:
    if len(text) > largest:
        raise ConfigurationError(f"{path}: larger than {largest} bytes: too large for {what}")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 (byte {error.start})") from error


def refuse_depth(values: object) -> None:
    """Raise RecursionError if the values nest too deeply for a recursive function."""
    for depth, _ in enumerate(_levels(values)):
        if depth == _DEEPEST:
            raise RecursionError("it is nested too deeply")


def _refuse_numbers(values: object) -> None:
    """Raise ValueError for an integer too large to print."""
    for level in _levels(values):
        if any(isinstance(item, int) and abs(item) > _GREATEST for item in level):
            raise ValueError("it holds a number that is too large")


def _levels(values: object) -> Iterator[list[object]]:
    """The values by depth, the outermost first."""
    level = [values]
    while level:
        yield level
        tables = [item for item in level if isinstance(item, (dict, list))]
        level = [
            inner
            for item in tables
            for inner in (item.values() if isinstance(item, dict) else item)
        ]


def _toml(text: str) -> Parsed:
    return tomllib.loads(text), lambda: lines.of_toml(text)


def _json(text: str) -> Parsed:
    values = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    return values, lambda: lines.of_json(text)


def _unique(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!a} is given twice")
    return values


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")


def yaml(loader: str) -> Callable[[str], Parsed]:
    """A parser of YAML that uses one of the loaders of `yaml_nodes`."""

    def parse(text: str) -> Parsed:
        try:
            from loafer_kit.scaffold.sources import yaml_nodes
        except ImportError as error:
            raise MissingExtraError("Reading YAML", "scaffold") from error
        values, found = yaml_nodes.read(text, getattr(yaml_nodes, loader))
        return values, lambda: found

    return parse


TOML: Formats = {".toml": _toml}
JSON: Formats = {".json": _json}
SPEC_YAML: Formats = dict.fromkeys([".yaml", ".yml"], yaml("SpecLoader"))
YAML: Formats = dict.fromkeys([".yaml", ".yml"], yaml("DocumentLoader"))
#: The formats of JSON Schemas, and of the files that references lead to.
DATA: Formats = {**JSON, **YAML}
_YAML_WITH_TAGS = dict.fromkeys([".yaml", ".yml"], yaml("TemplateLoader"))
#: The formats of CloudFormation's templates; a file that ends in `.template` has either.
TEMPLATE: Formats = {**_YAML_WITH_TAGS, ".template": _either(_YAML_WITH_TAGS), **JSON}

_SPEC = {**TOML, **SPEC_YAML, **JSON}
#: The suffixes of spec files.
SPEC_SUFFIXES = tuple(_SPEC)


def read(path: FilePath) -> Draft:
    """The draft in a spec file, whose suffix tells the format."""
    return load(path, _SPEC, what="a spec file")


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a document and its path; the value of a missing place is None."""

    value: object
    path: Path = ()

    def __getitem__(self, step: str | int) -> "Node":
        inner: object = None
        if isinstance(self.value, Mapping):
            inner = self.value.get(step)
        elif isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            inner = self.value[step]
        return Node(inner, (*self.path, step))

    def __contains__(self, step: str) -> bool:
        return isinstance(self.value, Mapping) and step in self.value

    def at(self, *steps: str | int) -> "Node":
        """The place further down."""
        node = self
        for step in steps:
            node = node[step]
        return node

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """The keys and places of a table; nothing for another value."""
        if isinstance(self.value, Mapping):
            for key, value in self.value.items():
                yield str(key), Node(value, (*self.path, str(key)))

    def elements(self) -> Iterator["Node"]:
        """The places of a list; nothing for another value."""
        if isinstance(self.value, list):
            for index, value in enumerate(self.value):
                yield Node(value, (*self.path, index))

    @property
    def is_there(self) -> bool:
        """Whether there is a value other than null."""
        return self.value is not None

    @property
    def text(self) -> str | None:
        """The value if it is a non-empty text."""
        return self.value if isinstance(self.value, str) and self.value else None

    @property
    def parsed(self) -> "Node":
        """The place with its text parsed as JSON; the value None if it is not JSON."""
        try:
            return self.with_value(json.loads(self.text or "null", strict=False))
        except (ValueError, RecursionError):
            return self.with_value(None)

    def with_value(self, value: object) -> "Node":
        """Another value with this path."""
        return Node(value, self.path)


class References:
    """Follows `$ref` within a document, and to files in the document's folder. It fetches nothing.

    A reference may also name a JSON Schema by its `$id` or `$anchor`. `problem` is called for each
    reference that leads nowhere.
    """

    def __init__(
        self, root: Node, problem: Callable[[Node, str], None], folder: FilePath | None
    ) -> None:
        self._root = root
        self._problem = problem
        self._folder = folder.resolve() if folder else None
        #: The other files by the step that begins the paths of their places, each with its folder.
        self._files: dict[Path, tuple[FilePath, Node]] = {}
        #: The schemas of each file that have an `$id` or `$anchor`, by what references call them.
        self._identified: dict[Path, dict[str, Node]] = {}

    def follow(self, node: Node) -> Node:
        """The target of a place that is a reference, else the place; without a value on an error."""
        return self.chain(node)[-1]

    def chain(self, node: Node) -> list[Node]:
        """A place and those that references lead to from there; on an error one without a value."""
        chain, seen = [node], {node.path}
        while "$ref" in chain[-1]:
            try:
                target = self._target(chain[-1]["$ref"])
            except ConfigurationError as error:
                self._problem(chain[-1]["$ref"], str(error))
                return [node.with_value(None)]
            if target.path in seen:
                self._problem(node, "the reference leads back to itself")
                return [node.with_value(None)]
            seen.add(target.path)
            chain.append(target)
        return chain

    def down(self, node: Node, *steps: str) -> Node:
        """The place further down, following each reference on the way."""
        for step in steps:
            node = self.follow(self.follow(node)[step])
        return node

    def _target(self, reference: Node) -> Node:
        text = reference.value
        if not isinstance(text, str):
            raise ConfigurationError(_leads_out(text))
        folder, root = self._files.get(reference.path[:1], (self._folder, self._root))
        name, _, fragment = text.partition("#")
        resource, base = _resource(root, reference.path)
        starts = [resource, root]
        if name:
            base = _joined(base, name)
            known = self._identifiers(root).get(base)
            if known is None:
                root = known = self._file(name, folder)
                _, base = _resource(root, root.path)
            starts = [known]
        if fragment.startswith("/") or not fragment:
            targets = [_pointed(start, fragment) for start in starts]
        else:
            targets = [self._identifiers(root).get(_joined(base, f"#{fragment}"), Node(None))]
        for target in targets:
            if target.is_there:
                return target
        raise ConfigurationError(f"{quoted(text)} leads nowhere")

    def _identifiers(self, root: Node) -> dict[str, Node]:
        """The places of a file that have an `$id` or an `$anchor`, by their URIs."""
        if root.path not in self._identified:
            found = self._identified[root.path] = {}
            waiting = [(root, "")]
            while waiting:
                node, base = waiting.pop()
                if identifier := _identifier(node):
                    uri = _joined(base, identifier).removesuffix("#")
                    found.setdefault(uri, node)
                    base = uri.partition("#")[0]
                if anchor := node["$anchor"].text:
                    found.setdefault(_joined(base, f"#{anchor}"), node)
                waiting += [(inner, base) for _, inner in node.items()]
                waiting += [(inner, base) for inner in node.elements()]
        return self._identified[root.path]

    def _file(self, name: str, folder: FilePath | None) -> Node:
        """The root of another file, which must be in the folder of the document."""
        if "://" in name or name.startswith("//"):
            raise ConfigurationError(_leads_out(name))
        try:
            path = (folder / unquote(name)).resolve() if folder else None
        except ValueError as error:  # of a NUL
            raise ConfigurationError(f"{quoted(name)} cannot name a file") from error
        if path is None or self._folder is None or not path.is_relative_to(self._folder):
            raise ConfigurationError(
                f"{quoted(name)} leads out of the document's folder: nothing outside is read"
            )
        # A text that no key of the document has, so that places are told apart.
        place: Path = (f"{path.relative_to(self._folder)}#",)
        if place not in self._files:
            if len(self._files) >= _MOST_FILES:
                raise ConfigurationError(f"the document has more than {_MOST_FILES} files")
            found = load(path, DATA, what="a referenced file")
            self._files[place] = path.parent, Node(found.values, place)
        return self._files[place][1]


def _leads_out(reference: object) -> str:
    return (
        f"{quoted(str(reference))} leads out of the document, and nothing is fetched: "
        "bundle the document into one file first"
    )


def _pointed(start: Node, pointer: str) -> Node:
    """The place that a JSON pointer leads to."""
    target = start
    for part in pointer.split("/")[1:]:
        step = unquote(part).replace("~1", "/").replace("~0", "~")
        is_index = isinstance(target.value, list) and step.isdigit()
        target = target[int(step[:9]) if is_index else step]
    return target


def _identifier(node: Node) -> str | None:
    """The `$id` of a JSON Schema; draft 4 has `id`, which is often a property of something else."""
    old = node["id"].text or ""
    return node["$id"].text or (old if old.startswith("#") or "://" in old else None)


def _resource(root: Node, path: Path) -> tuple[Node, str]:
    """The innermost schema around a place that has an `$id`, or the root, and its URI."""
    node = resource = root
    base = ""
    for number in range(len(root.path), len(path) + 1):
        identifier = _identifier(node)
        if identifier and not identifier.startswith("#"):
            resource, base = node, _joined(base, identifier).removesuffix("#")
        if number < len(path):
            node = node[path[number]]
    return resource, base


def _joined(base: str, uri: str) -> str:
    try:
        return urljoin(base, uri)
    except ValueError:  # of an address that is no IPv6 address
        return uri
