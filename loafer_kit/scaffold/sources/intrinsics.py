"""Evaluates what a template says without a deployment.

These are CloudFormation's intrinsic functions, and the variables of Serverless.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from loafer_kit.scaffold.sources.documents import Document, Node
from loafer_kit.scaffold.sources.import_results import texts
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.specs import Parameter

#: Replaces, in a text, what only a deployment decides.
UNKNOWN = "\0"

_LONGEST = 2000
_SUBSTITUTED = re.compile(r"\$\{(!?)([^{}]*)\}")
_NAMES = {
    "AWS::SQS::Queue": ("QueueName", "FifoQueue"),
    "AWS::SNS::Topic": ("TopicName", "FifoTopic"),
}

Resolver = Callable[["Intrinsics", object], object]


class Intrinsics:
    """Resolves the values of one template; values that only a deployment decides are `UNKNOWN`."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._names: dict[str, str] = {}
        self._conditions: dict[str, bool | None] = {}
        #: The parameters that names of queues and topics take, by the template's names.
        self.parameters = dict(self._parameters())
        self._takes_defaults = False
        #: The parameters whose defaults have been used.
        self._used: set[str] = set()

    def _parameters(self) -> Iterator[tuple[str, Parameter]]:
        found: dict[str, None] = {}
        resources = [resource for _, resource in self._root["Resources"].items()]
        for resource in resources:
            key, _ = _NAMES.get(str(resource["Type"].value), ("", ""))
            found |= dict.fromkeys(_references(resource["Properties"][key].value))
        taken = set()
        for name in found:
            node = self._root.at("Parameters", name)
            variable, default = names.snake_case(name).upper(), node["Default"].text
            if (
                node["Type"].value == "String"
                and names.parameter(variable) is None
                and variable.replace("_", "") not in taken
                and (default is None or names.parameter_value(default) is None)
            ):
                taken.add(variable.replace("_", ""))
                yield name, Parameter(variable, default)

    def resolve(self, value: object) -> object:
        """The value without its functions; None for `AWS::NoValue`."""
        if isinstance(value, Mapping):
            if len(value) == 1:
                (function,) = value
                if function == "Ref" or str(function).startswith("Fn::"):
                    resolver = _FUNCTIONS.get(str(function))
                    return resolver(self, value[function]) if resolver else UNKNOWN
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return value

    def text(self, value: object) -> str:
        """The value as a text; `UNKNOWN` if it is not a text or a number, or too long."""
        found = self.resolve(value)
        if isinstance(found, (str, int, float)) and not isinstance(found, bool):
            return str(found) if len(str(found)) <= _LONGEST else UNKNOWN
        return UNKNOWN

    def texts(self, value: object) -> Iterator[str]:
        """All texts within a value, those of both branches of `Fn::If`."""
        if isinstance(value, Mapping):
            if set(value) == {"Fn::If"} and isinstance(value["Fn::If"], list):
                for branch in value["Fn::If"][1:]:
                    yield from self.texts(branch)
            elif len(value) == 1 and (function := next(iter(value))) in _FUNCTIONS:
                yield from texts(self.resolve({function: value[function]}))
            else:
                for item in value.values():
                    yield from self.texts(item)
        elif isinstance(value, list):
            for item in value:
                yield from self.texts(item)
        else:
            yield from texts(value)

    def name(self, logical_id: str) -> str:
        """A queue's or topic's name; by default its logical id."""
        if logical_id not in self._names:
            resource = self._root.at("Resources", logical_id)
            key, fifo = _NAMES.get(str(resource["Type"].value), ("", ""))
            properties = resource["Properties"]
            suffix = ".fifo" if self.boolean(properties[fifo].value) is True else ""
            self._names[logical_id] = logical_id + suffix  # also if a name refers to itself
            given = self.text(properties[key].value)
            if UNKNOWN not in given:
                self._names[logical_id] = given
        return self._names[logical_id]

    def is_named(self, resource: Node) -> bool:
        """Whether the template names a queue or topic."""
        key, _ = _NAMES[str(resource["Type"].value)]
        return UNKNOWN not in self.text(resource.at("Properties", key).value)

    def parameters_of(self, value: object) -> list[str]:
        """The parameters whose defaults make up a value."""
        before, self._used = self._used, set()
        self.resolve(value)
        found, self._used = self._used, before
        return sorted(found)

    def with_defaults(self, value: object) -> tuple[object, list[str]]:
        """The value with the defaults of its parameters, and these parameters."""
        with self._with_defaults():
            return self.resolve(value), self.parameters_of(value)

    def boolean(self, value: object) -> object:
        """The value as CloudFormation reads a boolean, which may be a text."""
        found = self.resolve(value)
        words = {"true": True, "yes": True, "false": False, "no": False}
        return words.get(found.lower(), found) if isinstance(found, str) else found

    def condition(self, name: object) -> bool | None:
        """Whether a condition of the template holds; None if unknown."""
        key = str(name)
        if key not in self._conditions:
            self._conditions[key] = None  # if it refers to itself
            with self._with_defaults():
                self._conditions[key] = self._holds(self._root.at("Conditions", key).value)
        return self._conditions[key]

    @contextmanager
    def _with_defaults(self) -> Iterator[None]:
        """Resolve parameters to their defaults: to choose, not to name."""
        before, self._takes_defaults = self._takes_defaults, True
        try:
            yield
        finally:
            self._takes_defaults = before

    def _holds(self, value: object) -> bool | None:
        holds: bool | None = None
        match value:
            case {"Condition": name}:
                holds = self.condition(name)
            case {"Fn::Equals": [one, other]}:
                texts = self.text(one), self.text(other)
                holds = None if UNKNOWN in "".join(texts) else texts[0] == texts[1]
            case {"Fn::Not": [inner]}:
                holds = _negated(self._holds(inner))
            case {"Fn::And": [*parts]}:
                holds = _all(self._holds(part) for part in parts)
            case {"Fn::Or": [*parts]}:
                holds = _negated(_all(_negated(self._holds(part)) for part in parts))
        return holds

    def reference(self, name: object) -> object:
        """The value of `Ref`."""
        if name == "AWS::NoValue":
            return None
        resource = self._root.at("Resources", str(name))
        if resource["Type"].value == "AWS::SQS::Queue":
            return f"https://{UNKNOWN}/{self.name(str(name))}"
        if resource["Type"].value == "AWS::SNS::Topic":
            return self._arn(str(name))
        if str(name) in self.parameters and not self._takes_defaults:
            return f"${{{self.parameters[str(name)].name}}}"
        parameter = self._root.at("Parameters", str(name))
        default = parameter["Default"].value
        if default is not None:
            self._used.add(str(name))
        if isinstance(default, str) and "List" in str(parameter["Type"].value):
            return default.split(",")
        return default if isinstance(default, (str, int, float)) else UNKNOWN

    def attribute(self, argument: object) -> object:
        """The value of `Fn::GetAtt`."""
        parts = argument.split(".", 1) if isinstance(argument, str) else argument
        if not isinstance(parts, list) or len(parts) != 2:  # noqa: PLR2004 - by definition
            return UNKNOWN
        name, attribute = str(parts[0]), parts[1]
        if str(self._root.at("Resources", name, "Type").value) not in _NAMES:
            return UNKNOWN
        if attribute in ("Arn", "TopicArn"):
            return self._arn(name)
        if attribute in ("QueueName", "TopicName"):
            return self.name(name)
        return self.reference(name) if attribute == "QueueUrl" else UNKNOWN

    def _arn(self, logical_id: str) -> str:
        service = str(self._root.at("Resources", logical_id, "Type").value).split("::")[1].lower()
        return f"arn:{UNKNOWN}:{service}:{UNKNOWN}:{UNKNOWN}:{self.name(logical_id)}"

    def substitute(self, argument: object) -> object:
        """The value of `Fn::Sub`."""
        text, values = argument, {}
        if isinstance(argument, list) and len(argument) == 2:  # noqa: PLR2004 - by definition
            text, values = argument
        if not isinstance(text, str) or len(text) > _LONGEST or not isinstance(values, Mapping):
            return UNKNOWN

        @functools.cache
        def known(name: str) -> str:
            if name in values:
                return self.text(values[name])
            return self.text({"Fn::GetAtt" if "." in name else "Ref": name})

        def replaced(match: re.Match[str]) -> str:
            return "${" + match[2] + "}" if match[1] else known(match[2].strip())

        return _SUBSTITUTED.sub(replaced, text)

    def join(self, argument: object) -> object:
        """The value of `Fn::Join`."""
        match argument:
            case [str() as between, parts]:
                found = self.resolve(parts)
                if isinstance(found, list) and len(between) * len(found) <= _LONGEST:
                    return between.join(self.text(item) for item in found)
        return UNKNOWN

    def select(self, argument: object) -> object:
        """The value of `Fn::Select`."""
        match argument:
            case [index, choices]:
                number, found = self.text(index), self.resolve(choices)
                if number.isdecimal() and isinstance(found, list) and int(number) < len(found):
                    return found[int(number)]
        return UNKNOWN

    def split(self, argument: object) -> object:
        """The value of `Fn::Split`."""
        match argument:
            case [str() as between, text] if between:
                return self.text(text).split(between)
        return UNKNOWN

    def choose(self, argument: object) -> object:
        """The value of `Fn::If`."""
        match argument:
            case [name, then, otherwise]:
                holds = self.condition(name)
                if holds is not None:
                    return self.resolve(then if holds else otherwise)
        return UNKNOWN

    def find(self, argument: object) -> object:
        """The value of `Fn::FindInMap`."""
        if not isinstance(argument, list):
            return UNKNOWN
        with self._with_defaults():
            steps: Sequence[str] = [self.text(step) for step in argument[:3]]
        found = self._root.at("Mappings", *steps).value
        return found if isinstance(found, (str, int, list)) else UNKNOWN


def _references(value: object) -> Iterator[str]:
    """The names that `Ref` and `Fn::Sub` refer to within a value."""
    waiting = [value]
    while waiting:
        match waiting.pop(0):
            case {"Ref": str() as name}:
                yield name
            case {"Fn::FindInMap": _}:
                continue
            case {"Fn::Sub": str() as text}:
                yield from _substituted(text)
            case {"Fn::Sub": [str() as text, values]}:
                yield from _substituted(text)
                waiting.append(values)
            case dict() as table:
                waiting += table.values()
            case list() as items:
                waiting += items


def _substituted(text: str) -> Iterator[str]:
    yield from (name.strip() for mark, name in _SUBSTITUTED.findall(text) if not mark)


def _negated(holds: bool | None) -> bool | None:
    return None if holds is None else not holds


def _all(parts: Iterable[bool | None]) -> bool | None:
    found = set(parts)
    if False in found:
        return False
    return None if None in found else True


_FUNCTIONS: Mapping[str, Resolver] = {
    "Fn::FindInMap": Intrinsics.find,
    "Fn::GetAtt": Intrinsics.attribute,
    "Fn::If": Intrinsics.choose,
    "Fn::Join": Intrinsics.join,
    "Fn::Select": Intrinsics.select,
    "Fn::Split": Intrinsics.split,
    "Fn::Sub": Intrinsics.substitute,
    "Ref": Intrinsics.reference,
}


_VARIABLE = re.compile(
    r"\$\{(?P<name>(?:self|opt|sls|env|param|ssm|cf|aws|s3|file|strToBool)\b[^${},]*)"
    r"(?:,\s*['\"]?(?P<default>[^${}'\"]*)['\"]?)?\}"
)
_MOST_ROUNDS = 10


def template_of(document: Document) -> Document:
    """The document, or the template that a `serverless.yml` has among its resources."""
    root = Node(document.values)
    if "Resources" in root or "provider" not in root:
        return document
    listed = list(root["resources"].elements()) or [root["resources"]]
    values: dict[str, dict[str, object]] = {"Resources": {}, "Conditions": {}}
    for place in listed:
        for section, known in values.items():
            known |= {key: _resolved(item.value, root) for key, item in place[section].items()}
    for name, function in root["functions"].items():
        values["Resources"][f"{name}LambdaFunction"] = {
            "Type": "AWS::Serverless::Function",
            "Properties": _resolved(_function(function), root),
        }
    return replace(document, values=values, line=lambda path: document.line(("resources", *path)))


def _function(function: Node) -> Mapping[str, object]:
    events = dict(_events(function))
    targets = {key: function[key].value for key in ("onError", "destinations") if key in function}
    return {"Events": events, **({"DeadLetterConfig": targets} if targets else {})}


def _events(function: Node) -> Iterator[tuple[str, object]]:
    for number, event in enumerate(function["events"].elements(), 1):
        queue = event["sqs"]
        if queue.is_there:
            arn = queue["arn"].value if "arn" in queue else queue.value
            properties = {"Queue": arn, "BatchSize": queue["batchSize"].value}
            found = {key: value for key, value in properties.items() if value is not None}
            yield f"Event{number}", {"Type": "SQS", "Properties": found}


def _resolved(value: object, root: Node) -> object:
    """The value with Serverless's variables; those of a deployment are `UNKNOWN`."""
    if isinstance(value, Mapping):
        return {key: _resolved(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, root) for item in value]
    if not isinstance(value, str):
        return value
    for _ in range(_MOST_ROUNDS):
        found = _VARIABLE.sub(lambda match: _variable(match, root), value)
        if found == value:
            break
        value = found[:_LONGEST]
    return _VARIABLE.sub(UNKNOWN, value)


def _variable(match: re.Match[str], root: Node) -> str:
    name, default = match["name"].strip(), match["default"]
    source, _, path = name.partition(":")
    found: object = None
    if source == "self":
        found = root.at(*path.split(".")).value
    elif name == "sls:stage":
        found = root.at("provider", "stage").value or "dev"
    elif name == "opt:stage":
        found = default or "dev"
    found = default if found is None else found
    return str(found) if isinstance(found, (str, int)) else UNKNOWN
