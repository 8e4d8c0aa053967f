"""The resources of a template, with their values as far as they are known before deployment."""

from collections.abc import Iterator, Mapping

from loafer_kit.scaffold.sources.cloudformation.intrinsics import UNKNOWN, Intrinsics
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import ImportResult, Keys, keys, last_part

WHEN_DEPLOYED = "is known only when the stack is deployed"

# How a stack is deployed does not matter to a consumer.
_RESOURCE = keys(
    "Condition Properties Type",
    """
    Connectors CreationPolicy DeletionPolicy DependsOn IgnoreGlobals Metadata UpdatePolicy
    UpdateReplacePolicy
    """,
)


class Resources:
    """Reads places of one template; notes unknown values and unsupported keys."""

    def __init__(self, root: Node, intrinsics: Intrinsics, result: ImportResult) -> None:
        self._root = root
        self._intrinsics = intrinsics
        self._result = result

    def __iter__(self) -> Iterator[tuple[str, Node]]:
        """The resources by their logical ids, without those whose condition is false."""
        for logical_id, resource in self._root["Resources"].items():
            if logical_id.startswith("Fn::"):
                message = "makes resources only when the stack is deployed: left out"
                self._result.note(resource, message)
            elif resource["Type"].text is None:
                self._result.note(resource, "has no type: left out")
            elif self._is_made(resource):
                yield logical_id, resource

    def _is_made(self, resource: Node) -> bool:
        condition = resource["Condition"]
        holds = self._intrinsics.condition(condition.value) if condition.is_there else True
        if holds is False:
            self._result.note(resource, "is left out: its condition does not hold")
        elif holds is None:
            self._result.note(condition, WHEN_DEPLOYED)
        return holds is not False

    def properties(self, resource: Node) -> Node:
        """The properties of a resource; its unsupported keys are noted."""
        self._result.note_unsupported(resource, _RESOURCE)
        return resource["Properties"]

    def note_unsupported(self, node: Node, known: Keys) -> None:
        """Note the unsupported keys of a place, after resolving its values."""
        if isinstance(node.value, Mapping):
            found = {key: self._intrinsics.resolve(item) for key, item in node.value.items()}
            self._result.note_unsupported(node.with_value(found), known)

    def known(self, node: Node) -> Node:
        """The place with its resolved value, or None if it is unknown."""
        value = self._intrinsics.resolve(node.value)
        if isinstance(value, str) and UNKNOWN in value:
            self._result.note(node, WHEN_DEPLOYED)
            value = None
        return node.with_value(value)

    def target(self, node: Node) -> str | None:
        """The name of the queue or topic that a place refers to."""
        name = last_part(self._intrinsics.text(node.value))
        if UNKNOWN not in name:
            return name
        self._result.note(node, f"{WHEN_DEPLOYED}: left out")
        return None

    def chosen(self, node: Node) -> Node:
        """The table that `Fn::If` chooses, or the place itself."""
        while isinstance(node["Fn::If"].value, list):
            choice = node["Fn::If"]
            holds = self._intrinsics.condition(choice[0].value)
            if holds is None:
                self._result.note(node, f"{WHEN_DEPLOYED}: left out")
                return node.with_value(None)
            node = choice[1 if holds else 2]
        return node.with_value(None) if node["Ref"].value == "AWS::NoValue" else node
