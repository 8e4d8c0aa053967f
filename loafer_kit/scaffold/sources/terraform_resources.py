"""The resources of a Terraform document, and what a plan's expressions refer to."""

import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import texts, values_of

# Not a default of AWS: a note is due.
_LATER = "known when applied"
# The id of the policy that AWS gives to every topic.
_OWN_POLICY = "__default_policy_ID"

_INDEX = r"""(?:\[(?:"(?:[^"\\]|\\.)*"|[^\]"]*)\])?"""
_STEP = re.compile(rf"module\.(?P<name>[\w-]+)(?P<index>{_INDEX})")
_RESOURCE = re.compile(rf"((?:data\.)?aws_(?:sqs_queue|sns_topic)\.[\w-]+)({_INDEX})")
_OUTPUT = re.compile(rf"{_STEP.pattern}\.(?P<output>[\w-]+)")
_VARIABLE = re.compile(r"var\.([\w-]+)")
_REFERENCES = re.compile("references")
_CUT = re.compile(r"[.\[]")
_NOWHERE = Node(None)


@dataclass(frozen=True, slots=True)
class Module:
    """A module: its address, its part of the configuration, the module and the call that use it."""

    address: str
    configuration: Node
    parent: "Module | None" = None
    call: Node = _NOWHERE

    @property
    def index(self) -> str:
        """The index of the last step of its address, with brackets."""
        steps = list(_STEP.finditer(self.address))
        return steps[-1]["index"] if steps else ""

    def within(self, address: str) -> str:
        """The full address of something in this module."""
        return f"{self.address}.{address}" if self.address else address


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource: its module, its values, and a plan's configuration for it."""

    node: Node
    module: Module
    configuration: Node

    @property
    def kind(self) -> str:
        """The resource's type."""
        return str(self.node["type"].value)

    @property
    def address(self) -> str:
        """Where the configuration has it, with the index of an instance."""
        return str(self.node["address"].value)

    @property
    def index(self) -> str:
        """The index of an instance, with brackets."""
        _, bracket, index = self.address.removeprefix(self.module.address).partition("[")
        return bracket + index

    @property
    def expressions(self) -> Node:
        """A plan's expressions for the resource's values."""
        return self.configuration["expressions"]

    def __getitem__(self, key: str) -> Node:
        return self.node.at("values", key)

    @property
    def settings(self) -> Node:
        """The resource with its values, and with those that only `terraform apply` decides."""
        values = {
            key: node["constant_value"].value if "constant_value" in node else _LATER
            for key, node in self.expressions.items()
        }
        for key, node in self.node["values"].items():
            values[key] = None if _OWN_POLICY in str(node.value) else node.value
        return self.node.with_value(values)


class Resources:
    """All resources of a document by their addresses."""

    def __init__(self, root_module: Node, configuration: Node) -> None:
        self._modules: dict[str, Module] = {}
        self.listed = list(self._of_module(root_module, Module("", configuration)))
        self._by_address = {resource.address: resource for resource in self.listed}

    def _of_module(self, node: Node, module: Module) -> Iterator[Resource]:
        self._modules[module.address] = module
        configured = {
            str(item["address"].value): item
            for item in module.configuration["resources"].elements()
        }
        for item in node["resources"].elements():
            local = str(item["address"].value).removeprefix(f"{module.address}.").partition("[")[0]
            yield Resource(item, module, configured.get(local, _NOWHERE))
        for child in node["child_modules"].elements():
            address = str(child["address"].value)
            steps = list(_STEP.finditer(address))
            name = steps[-1]["name"] if steps else address
            call = module.configuration.at("module_calls", name)
            yield from self._of_module(child, Module(address, call["module"], module, call))

    def referred(self, resource: Resource, expression: object) -> tuple[set[str], bool]:
        """The addresses of queues and topics that an expression of a resource refers to.

        References lead through variables, outputs and `for_each`. Also whether these are all: false
        if the expression has a part that cannot be followed.
        """
        found: set[str] = set()
        knows_all = True
        seen = set()
        waiting = [(expression, resource.module)]
        while waiting:
            value, module = waiting.pop()
            for text in references(value):
                if (module.address, text) in seen:
                    continue
                seen.add((module.address, text))
                if match := _RESOURCE.match(text):
                    address = module.within(match[1])
                    found.update(_chosen(address, match[2], self._by_address, resource))
                elif match := _OUTPUT.match(text):
                    address = module.within(f"module.{match['name']}")
                    for name in _chosen(address, match["index"], self._modules, resource):
                        outputs = self._modules[name].configuration["outputs"]
                        output = outputs.at(match["output"], "expression")
                        waiting.append((output.value, self._modules[name]))
                elif (match := _VARIABLE.match(text)) and module.parent:
                    given = module.call.at("expressions", match[1])
                    waiting.append((given.value, module.parent))
                elif text.startswith("each."):
                    given = resource.configuration["for_each_expression"]
                    waiting.append((given.value, resource.module))
                elif text.startswith(("local.", "data.")):
                    knows_all = False
        return found, knows_all


def _chosen(address: str, index: str, known: Collection[str], origin: Resource) -> list[str]:
    """What has an address: of several instances that with the index of the origin, else all."""
    for candidate in (address + index, address + origin.index, address + origin.module.index):
        if candidate in known:
            return [candidate]
    instance = re.compile(re.escape(address) + _INDEX)
    return [candidate for candidate in known if instance.fullmatch(candidate)]


def references(value: object) -> Iterator[str]:
    """The references within an expression, without those that another one makes more exact."""
    found = [text for part in values_of(value, _REFERENCES) for text in texts(part)]
    less_exact = {
        text[: cut.start()] for text in found for cut in itertools.islice(_CUT.finditer(text), 20)
    }
    yield from (text for text in dict.fromkeys(found) if text not in less_exact)
