"""A place in a document, whatever stands there."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loafer_kit.scaffold.spec.problems import Path


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the way to it; a place that is not there has the value None."""

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
        """The keys and places of a table; nothing where there is none."""
        if isinstance(self.value, Mapping):
            for key, value in self.value.items():
                yield str(key), Node(value, (*self.path, str(key)))

    def elements(self) -> Iterator["Node"]:
        """The places of a list; nothing where there is none."""
        if isinstance(self.value, list):
            for index, value in enumerate(self.value):
                yield Node(value, (*self.path, index))

    @property
    def is_there(self) -> bool:
        """Whether there is a value other than null."""
        return self.value is not None

    @property
    def text(self) -> str | None:
        """The value if it is a text with something in it."""
        return self.value if isinstance(self.value, str) and self.value else None

    @property
    def parsed(self) -> "Node":
        """The place with what its text says as a JSON document; None where it is none."""
        try:
            return self.with_value(json.loads(self.text or "null"))
        except (ValueError, RecursionError):
            return self.with_value(None)

    def with_value(self, value: object) -> "Node":
        """Another value, in the name of this place."""
        return Node(value, self.path)
