"""The resources of a Terraform document, and what a plan's expressions refer to."""

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from loafer_kit.scaffold.sources import dead_letters
from loafer_kit.scaffold.sources.documents import Node

# Not a default of AWS: a note is due.
_LATER = "known when applied"
# The id of the policy that AWS gives to every topic.
_OWN_POLICY = "__default_policy_ID"

_INDEX = r"""(?:\[(?:"(?:[^"\\]|\\.)*"|[^\]"]*)\])?"""
_STEP = re.compile(rf"module\.(?P<name>[\w-]+)(?P<index>{_INDEX})")
_RESOURCE = re.compile(rf"((?:data\.)?aws_(?:sqs_queue|sns_topic)\.[\w-]+)({_INDEX})")
_OUTPUT = re.compile(rf"{_STEP.pattern}\.(?P<output>[\w-]+)")
_VARIABLE = re.compile(r"var\.([\w-]+)")
_CUT = re.compile(r"[.\[]")
_DEEPEST = 50
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

    @property
    def is_data(self) -> bool:
        """Whether it is a data source, of something that exists."""
        return self.node["mode"].value == "data"

    def references(self, key: str) -> list[str]:
        """What a plan's expression for one of the values refers to."""
        return list(_references(self.expressions[key].value))

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
            yield Resource(item, module, configured.get(local, Node(None)))
        for child in node["child_modules"].elements():
            address = str(child["address"].value)
            steps = list(_STEP.finditer(address))
            name = steps[-1]["name"] if steps else address
            call = module.configuration.at("module_calls", name)
            yield from self._of_module(child, Module(address, call["module"], module, call))

    def referred(self, resource: Resource, expression: object) -> tuple[set[str], bool]:
        """The addresses of queues and topics that an expression of a resource refers to.

        Also whether these are all: false if the expression has a part that cannot be followed.
        """
        follower = _Follower(self._by_address, self._modules, resource)
        follower.expression(expression, resource.module, 0)
        return follower.found, follower.knows_all


class _Follower:
    """Follows references through variables, outputs and `for_each`."""

    def __init__(
        self, resources: Mapping[str, Resource], modules: Mapping[str, Module], origin: Resource
    ) -> None:
        self._resources = resources
        self._modules = modules
        self._origin = origin
        self._indices = [origin.index, origin.module.index]
        self._seen: set[tuple[str, str]] = set()
        self.found: set[str] = set()
        self.knows_all = True

    def expression(self, value: object, module: Module, depth: int) -> None:
        for reference in _references(value):
            if (module.address, reference) not in self._seen:
                self._seen.add((module.address, reference))
                if depth < _DEEPEST:
                    self._reference(reference, module, depth + 1)

    def _reference(self, text: str, module: Module, depth: int) -> None:
        if match := _RESOURCE.match(text):
            self.found.update(self._chosen(module.within(match[1]), match[2], self._resources))
        elif match := _OUTPUT.match(text):
            address = module.within(f"module.{match['name']}")
            for name in self._chosen(address, match["index"], self._modules):
                inner = self._modules[name]
                output = inner.configuration.at("outputs", match["output"], "expression")
                self.expression(output.value, inner, depth)
        elif match := _VARIABLE.match(text):
            if module.parent:
                given = module.call.at("expressions", match[1])
                self.expression(given.value, module.parent, depth)
        elif text.startswith("each."):
            given = self._origin.configuration["for_each_expression"]
            self.expression(given.value, self._origin.module, depth)
        elif text.startswith(("local.", "data.")):
            self.knows_all = False

    def _chosen(self, address: str, index: str, known: Collection[str]) -> list[str]:
        """What has an address: of several instances that with the same index, else all."""
        for candidate in (address + index, *(address + own for own in self._indices)):
            if candidate in known:
                return [candidate]
        instance = re.compile(re.escape(address) + _INDEX)
        return [candidate for candidate in known if instance.fullmatch(candidate)]


def _references(value: object) -> Iterator[str]:
    """The references within an expression, without those that another one makes more exact."""
    found = [text for part in _parts(value) for text in dead_letters.texts(part)]
    less_exact = {
        text[: cut.start()] for text in found for cut in itertools.islice(_CUT.finditer(text), 20)
    }
    yield from (text for text in dict.fromkeys(found) if text not in less_exact)


def _parts(value: object) -> Iterator[object]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            if "references" in item:
                yield item["references"]
            else:
                waiting += item.values()
        elif isinstance(item, Sequence) and not isinstance(item, str):
            waiting += item
