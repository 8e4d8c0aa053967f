"""Evaluates what a template says without a deployment.

These are CloudFormation's intrinsic functions, and the variables of Serverless.
"""

import functools
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from loafer_kit.scaffold.sources.documents import Document, Node
from loafer_kit.scaffold.sources.import_results import parameter, texts
from loafer_kit.scaffold.spec.specs import Parameter

#: Replaces, in a text, what only a deployment decides.
UNKNOWN = "\0"

_LONGEST = 2000
# SQS allows 80 characters, `.fifo` among them.
_LONGEST_STEM = 75
# A dynamic reference to a value in the Parameter Store or Secrets Manager.
_DYNAMIC = re.compile(r"\{\{resolve:.*?\}\}+")
_SUBSTITUTED = re.compile(r"\$\{(!?)([^{}]*)\}")
_NAMES = {
    "AWS::SQS::Queue": ("QueueName", "FifoQueue"),
    "AWS::SNS::Topic": ("TopicName", "FifoTopic"),
}
_FUNCTIONS = frozenset(
    ["Ref", "Fn::FindInMap", "Fn::GetAtt", "Fn::If", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::Sub"]
)  # fmt: skip
# A variable of Serverless: a source, and what takes its place where that has no value.
_SOURCE = r"(?:self|opt|sls|env|param|ssm|cf|aws|s3|file|strToBool)\b"
_VARIABLE = re.compile(rf"\$\{{({_SOURCE}[^${{}}]*)\}}")
_MOST_ROUNDS = 10
# The sources that a deployment may set, and the variables that are its stage.
_DEPLOYED = ("env", "opt", "param")
_STAGES = {("opt", "stage"), ("self", "provider.stage"), ("sls", "stage")}
# Stands around the name of a parameter while variables are resolved.
_MARK = re.compile("\1([^\1]*)\1")


class Intrinsics:
    """Resolves the values of one template; values that only a deployment decides are `UNKNOWN`."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._names: dict[str, str] = {}
        self._conditions: dict[str, bool | None] = {}
        #: The parameters that names of queues and topics take, by the template's names.
        self.parameters = self._parameters()
        self._takes_defaults = False
        #: The parameters whose defaults have been used.
        self._used: set[str] = set()

    def _parameters(self) -> dict[str, Parameter]:
        found: dict[str, None] = {}
        resources = [resource for _, resource in self._root["Resources"].items()]
        for resource in resources:
            key, _ = _NAMES.get(str(resource["Type"].value), ("", ""))
            found |= dict.fromkeys(_references(resource["Properties"][key].value))
        parameters: dict[str, Parameter] = {}
        for name in found:
            node = self._root.at("Parameters", name)
            default = node["Default"].value  # never a function
            text = self.text(default) if isinstance(default, (str, int, float)) else None
            made = parameter(name, text, parameters.values())
            if made is not None and node["Type"].value == "String":
                parameters[name] = made
        return parameters

    def resolve(self, value: object) -> object:
        """The value without its functions; None for `AWS::NoValue`."""
        if isinstance(value, Mapping):
            if len(value) == 1:
                (function,) = value
                if function == "Ref" or str(function).startswith("Fn::"):
                    return self._called(function, value[function])
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return _DYNAMIC.sub(UNKNOWN, value) if isinstance(value, str) else value

    def text(self, value: object) -> str:
        """The value as a text; `UNKNOWN` if it is not a text or a number, or too long."""
        found = self.resolve(value)
        if isinstance(found, (str, int, float)) and not isinstance(found, bool):
            return str(found) if len(str(found)) <= _LONGEST else UNKNOWN
        return UNKNOWN

    def texts(self, value: object) -> Iterator[str]:
        """All texts within a value, those of both branches of `Fn::If`."""
        inner: Iterable[object] = ()
        match value:
            case dict() if set(value) == {"Fn::If"} and isinstance(value["Fn::If"], list):
                inner = value["Fn::If"][1:]
            case dict() if len(value) == 1 and next(iter(value)) in _FUNCTIONS:
                yield from texts(self.resolve(value))
            case dict():
                inner = value.values()
            case list():
                inner = value
            case _:
                yield from texts(value)
        for item in inner:
            yield from self.texts(item)

    def name(self, logical_id: str) -> str:
        """A queue's or topic's name; by default its logical id, or the beginning of a long one."""
        if logical_id not in self._names:
            resource = self._root.at("Resources", logical_id)
            key, fifo = _NAMES.get(str(resource["Type"].value), ("", ""))
            properties = resource["Properties"]
            suffix = ".fifo" if self.boolean(properties[fifo].value) is True else ""
            # Also if a name refers to itself.
            self._names[logical_id] = _short(logical_id) + suffix
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
        match value:
            case {"Condition": name}:
                return self.condition(name)
            case {"Fn::Equals": [one, other]}:
                both = self.text(one), self.text(other)
                return None if UNKNOWN in "".join(both) else both[0] == both[1]
            case {"Fn::Not": [inner]}:
                holds = self._holds(inner)
                return None if holds is None else not holds
            case {"Fn::And": [*parts]}:
                return self._combined(parts, decisive=False)
            case {"Fn::Or": [*parts]}:
                return self._combined(parts, decisive=True)
        return None

    def _combined(self, parts: Iterable[object], *, decisive: bool) -> bool | None:
        found = {self._holds(part) for part in parts}
        if decisive in found:
            return decisive
        return None if None in found else not decisive

    def _called(self, function: object, argument: object) -> object:
        """The value of a function; `UNKNOWN` for other functions and arguments."""
        found: object = UNKNOWN
        match function, argument:
            case "Ref", name:
                found = self._reference(str(name))
            case "Fn::GetAtt", [name, attribute]:
                found = self._attribute(str(name), attribute)
            case "Fn::GetAtt", str() as path if "." in path:
                found = self._attribute(*path.split(".", 1))
            case "Fn::Sub", str() as text:
                found = self._substituted(text, {})
            case "Fn::Sub", [str() as text, dict() as values]:
                found = self._substituted(text, values)
            case "Fn::If", [name, then, otherwise]:
                branches = {True: then, False: otherwise, None: UNKNOWN}
                found = self.resolve(branches[self.condition(name)])
            case "Fn::FindInMap", [*steps]:
                with self._with_defaults():
                    keys = [self.text(step) for step in steps[:3]]
                mapped = self._root.at("Mappings", *keys).value
                found = mapped if isinstance(mapped, (str, int, list)) else UNKNOWN
            case _:
                found = self._of_list(function, argument)
        return found

    def _of_list(self, function: object, argument: object) -> object:
        match function, argument:
            case "Fn::Join", [str() as between, parts]:
                found = self.resolve(parts)
                if isinstance(found, list) and len(between) * len(found) <= _LONGEST:
                    return between.join(self.text(item) for item in found)
            case "Fn::Select", [index, choices]:
                number, found = self.text(index), self.resolve(choices)
                if number.isdecimal() and isinstance(found, list) and int(number) < len(found):
                    return found[int(number)]
            case "Fn::Split", [str() as between, text] if between:
                return self.text(text).split(between)
        return UNKNOWN

    def _reference(self, name: str) -> object:
        if name == "AWS::NoValue":
            return None
        resource = self._root.at("Resources", name)
        if resource["Type"].value == "AWS::SQS::Queue":
            return f"https://{UNKNOWN}/{self.name(name)}"
        if resource["Type"].value == "AWS::SNS::Topic":
            return self._arn(name)
        if name in self.parameters and not self._takes_defaults:
            return f"${{{self.parameters[name].name}}}"
        declared = self._root.at("Parameters", name)
        # The default of such a parameter names a value in the Parameter Store.
        is_stored = str(declared["Type"].value).startswith("AWS::SSM::")
        default = None if is_stored else declared["Default"].value
        if default is not None:
            self._used.add(name)
        if isinstance(default, str) and "List" in str(declared["Type"].value):
            return [item.strip() for item in default.split(",")]
        return default if isinstance(default, (str, int, float)) else UNKNOWN

    def _attribute(self, name: str, attribute: object) -> object:
        if str(self._root.at("Resources", name, "Type").value) not in _NAMES:
            return UNKNOWN
        if attribute in ("Arn", "TopicArn"):
            return self._arn(name)
        if attribute in ("QueueName", "TopicName"):
            return self.name(name)
        return self._reference(name) if attribute == "QueueUrl" else UNKNOWN

    def _arn(self, logical_id: str) -> str:
        service = str(self._root.at("Resources", logical_id, "Type").value).split("::")[1].lower()
        return f"arn:{UNKNOWN}:{service}:{UNKNOWN}:{UNKNOWN}:{self.name(logical_id)}"

    def _substituted(self, text: str, values: Mapping[str, object]) -> str:
        if len(text) > _LONGEST:
            return UNKNOWN

        @functools.cache
        def known(name: str) -> str:
            if name in values:
                return self.text(values[name])
            return self.text({"Fn::GetAtt" if "." in name else "Ref": name})

        def replaced(match: re.Match[str]) -> str:
            return "${" + match[2] + "}" if match[1] else known(match[2].strip())

        return _DYNAMIC.sub(UNKNOWN, _SUBSTITUTED.sub(replaced, text))


def _short(logical_id: str) -> str:
    if len(logical_id) <= _LONGEST_STEM:
        return logical_id
    mark = f"{zlib.crc32(logical_id.encode()):08x}"
    return logical_id[: _LONGEST_STEM - len(mark)] + mark


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
                yield from _names_in(text)
            case {"Fn::Sub": [str() as text, values]}:
                yield from _names_in(text)
                waiting.append(values)
            case dict() as table:
                waiting += table.values()
            case list() as items:
                waiting += items


def _names_in(text: str) -> Iterator[str]:
    yield from (name.strip() for mark, name in _SUBSTITUTED.findall(text) if not mark)


# Serverless.


def template_of(document: Document) -> Document:
    """The document, or the template that a `serverless.yml` has among its resources."""
    root = Node(document.values)
    if "Resources" in root or "provider" not in root:
        return document
    variables = _Variables(root)
    values: dict[str, dict[str, object]] = {"Resources": {}, "Conditions": {}}
    for place in _parts(root["resources"]):
        for section, known in values.items():
            known |= {key: variables.resolved(item.value) for key, item in place[section].items()}
    functions = [item for place in _parts(root["functions"]) for item in place.items()]
    for name, function in functions:
        values["Resources"][f"{name}LambdaFunction"] = {
            "Type": "AWS::Serverless::Function",
            "Properties": variables.resolved(_function(function)),
        }
    values["Parameters"] = variables.parameters
    # A part that is in another file is noted as a key that is not supported.
    parts = [
        *_parts(root["resources"]),
        *_parts(root["functions"]),
        *(item for _, item in functions),
    ]
    values |= {part.text: {"": part.text} for part in parts if part.text}
    return replace(document, values=values, line=lambda path: document.line(("resources", *path)))


def _parts(place: Node) -> list[Node]:
    """The tables of a section, which is a table or a list of tables."""
    return list(place.elements()) or [place]


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
        elif event.is_there:
            kind = next((key for key, _ in event.items()), event.text)
            yield f"Event{number}", {"Type": kind}


class _Variables:
    """Resolves Serverless's variables; those that a deployment may set become parameters."""

    def __init__(self, root: Node) -> None:
        self._root = root
        #: The parameters as a template has them.
        self.parameters: dict[str, object] = {}

    def resolved(self, value: object) -> object:
        """The value with variables replaced; those that nothing tells are `UNKNOWN`."""
        match value:
            case {"Fn::Sub": str() as text}:
                value = {"Fn::Sub": self._substituted(text)}
            case {"Fn::Sub": [str() as text, values]}:
                value = {"Fn::Sub": [self._substituted(text), self.resolved(values)]}
            case {"Ref": _, **rest} | {"Fn::GetAtt": _, **rest} if not rest:  # logical ids
                value = _with_defaults(value, self._root)
            case Mapping():
                value = {key: self.resolved(item) for key, item in value.items()}
            case list():
                value = [self.resolved(item) for item in value]
            case str():
                value = self._marked(value)
                if _MARK.search(value):
                    value = {"Fn::Sub": _MARK.sub(r"${\1}", value.replace("${", "${!"))}
        return value

    def _substituted(self, text: str) -> str:
        return _MARK.sub(r"${\1}", self._marked(text))

    def _marked(self, text: str) -> str:
        """The text with a mark around the name of each parameter."""
        for _ in range(_MOST_ROUNDS):
            found = _VARIABLE.sub(self._variable, text)
            if found == text:
                break
            text = found[:_LONGEST]
        return _VARIABLE.sub(UNKNOWN, text)

    def _variable(self, match: re.Match[str]) -> str:
        # The name of another variable takes the defaults.
        inner = _VARIABLE.fullmatch("${" + _MARK.sub(self._default, match[1]) + "}") or match
        source, _, path = inner[1].split(",")[0].strip().partition(":")
        is_stage = (source, path) in _STAGES
        name = "stage" if is_stage else path
        if not (is_stage or source in _DEPLOYED) or not re.fullmatch(r"[\w-]+", name):
            return _variable(inner, self._root)
        if name not in self.parameters:
            stage = self._root.at("provider", "stage")
            found = stage.text if is_stage and stage.text else _variable(inner, self._root)
            default = str(_with_defaults(found, self._root))
            known = {} if UNKNOWN in default else {"Default": default}
            self.parameters[name] = {"Type": "String", **known}
        return f"\1{name}\1"

    def _default(self, match: re.Match[str]) -> str:
        return str(Node(self.parameters).at(match[1], "Default").value or UNKNOWN)


def _with_defaults(value: object, root: Node) -> object:
    """The value with the values that variables have unless a deployment sets them."""
    if isinstance(value, Mapping):
        return {key: _with_defaults(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_defaults(item, root) for item in value]
    if not isinstance(value, str):
        return value
    for _ in range(_MOST_ROUNDS):
        found = _VARIABLE.sub(lambda match: _variable(match, root), value)
        if found == value:
            break
        value = found[:_LONGEST]
    return _VARIABLE.sub(UNKNOWN, value)


def _variable(match: re.Match[str], root: Node) -> str:
    for text in match[1].split(","):
        found = _alternative(text.strip(), root)
        if found is not None:
            return str(found) if isinstance(found, (str, int)) else UNKNOWN
    return "dev" if match[1].startswith("opt:stage") else UNKNOWN


def _alternative(text: str, root: Node) -> object:
    """The value of a source or of a constant; None if only a deployment knows it."""
    if not re.match(_SOURCE, text):
        return text.strip("'\"")
    source, _, path = text.partition(":")
    if text in ("sls:stage", "self:provider.stage"):
        return root.at("provider", "stage").value or "dev"
    return root.at(*path.split(".")).value if source == "self" else None
