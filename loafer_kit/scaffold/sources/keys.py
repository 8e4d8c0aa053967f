"""Keys: which of a node's a source reads, and which of the others are worth a note."""

from collections.abc import Mapping
from dataclasses import dataclass

from loafer_kit.scaffold.sources.nodes import Node

_NOTHING: tuple[object, ...] = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one kind of node; each that is not listed here is noted where it is met.

    `said` are read. `silent` never matter to a consumer: ids, descriptions, what a provider
    computes, what belongs to another protocol. `defaults` are values that AWS has by itself, as
    lower-case texts: a key that has one of them says nothing.
    """

    said: frozenset[str]
    silent: frozenset[str]
    defaults: Mapping[str, tuple[str, ...]]

    def unsaid(self, node: Node) -> list[str]:
        """The keys of a table that the spec does not say."""
        return [key for key, item in node.items() if self._is_worth_a_note(key, item.value)]

    def _is_worth_a_note(self, key: str, value: object) -> bool:
        # `x-` begins the extensions of AsyncAPI, and what templates keep for YAML's aliases.
        if key in self.said or key in self.silent or key.startswith("x-") or value in _NOTHING:
            return False
        return str(value).lower() not in self.defaults.get(key, ())


def keys(
    said: str, silent: str = "", defaults: Mapping[str, tuple[str, ...]] | None = None
) -> Keys:
    """Keys from texts with a space between them."""
    return Keys(frozenset(said.split()), frozenset(silent.split()), defaults or {})
