"""The resources in the output of `terraform show -json`, those of its modules too."""

from collections.abc import Iterator
from dataclasses import dataclass

from loafer_kit.scaffold.sources.nodes import Node


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource: its module's address, its values, and a plan's expressions for them."""

    node: Node
    module: str
    expressions: Node

    @property
    def kind(self) -> str:
        """The resource's type."""
        return str(self.node["type"].value)

    @property
    def address(self) -> str:
        """Where the configuration has it, with the index of an instance."""
        return str(self.node["address"].value)

    def __getitem__(self, key: str) -> Node:
        return self.node.at("values", key)

    @property
    def settings(self) -> Node:
        """The resource with its values, and with what only applying the plan will tell."""
        values = {
            key: node["constant_value"].value if "constant_value" in node else _LATER
            for key, node in self.expressions.items()
        }
        for key, node in self.node["values"].items():
            values[key] = None if _OWN_POLICY in str(node.value) else node.value
        return self.node.with_value(values)


# No value that AWS has by itself: a note is due.
_LATER = "known when applied"
# In the policy that AWS gives to every topic; a state has it.
_OWN_POLICY = "__default_policy_ID"


def resources(module: Node, configuration: Node, address: str) -> Iterator[Resource]:
    """The resources of a module and of those within it."""
    expressions = {
        str(item["address"].value): item["expressions"]
        for item in configuration["resources"].elements()
    }
    for resource in module["resources"].elements():
        local = str(resource["address"].value).removeprefix(f"{address}.").partition("[")[0]
        yield Resource(resource, address, expressions.get(local, Node(None)))
    for child in module["child_modules"].elements():
        inner = str(child["address"].value)
        call = inner.removeprefix(f"{address}.").removeprefix("module.").partition("[")[0]
        yield from resources(child, configuration.at("module_calls", call, "module"), inner)
