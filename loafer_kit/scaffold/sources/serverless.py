"""Makes a template of a `serverless.yml`: its resources, and the events of its functions."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from loafer_kit.scaffold.sources.documents import Document, Node
from loafer_kit.scaffold.sources.intrinsics import UNKNOWN

_VARIABLE = re.compile(
    r"\$\{(?P<name>(?:self|opt|sls|env|param|ssm|cf|aws|s3|file|strToBool)\b[^${},]*)"
    r"(?:,\s*['\"]?(?P<default>[^${}'\"]*)['\"]?)?\}"
)
_MOST_ROUNDS = 10
_LONGEST = 2000


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
