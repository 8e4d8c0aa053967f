"""Documents of every kind, damaged at random: a spec or one error with its place, never a bug."""

import json
from pathlib import Path

import pytest
import yaml
from damage import damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.sources import (
    asyncapi,
    cloudformation,
    command_line,
    documents,
    json_schemas,
    terraform,
)
from loafer_kit.scaffold.sources.yaml_nodes import TemplateLoader
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft

pytestmark = pytest.mark.slow

DOCUMENTS = Path(__file__).parent / "documents"


def add_models(path):
    queues = [{"name": "orders", "payload": "Order"}]
    return json_schemas.add(Draft({"name": "shop", "queues": queues}), path)


ORDER = {
    "title": "Order",
    "type": "object",
    "required": ["lines", "state"],
    "properties": {
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "state": {"enum": ["open", "paid", 7, None]},
        "paid": {"type": ["string", "null"], "format": "date-time", "minLength": 1},
        "notes": {"type": "object", "additionalProperties": {"type": "string"}},
        "either": {"oneOf": [{"type": "null"}, {"allOf": [{"$ref": "#/$defs/line"}]}]},
    },
    "$defs": {"line": {"properties": {"sku": {"const": "a"}, "next": {"$ref": "#/$defs/line"}}}},
}
SPEC = {
    "name": "shop",
    "package": "shop",
    "with": ["ci", "terraform"],
    "queues": [
        {
            "name": "orders.fifo",
            "heartbeat": True,
            "payload": "Order",
            "concurrency": 3,
            "linger": 0.5,
        },
        {"name": "b", "kind": "sns", "topic": "b", "dead_letter_queue": "c", "translator": "none"},
    ],
    "payloads": {
        "Order": {"lines": "list[Line]", "x": "Literal['a', 1] | None"},
        "Line": {"sku": "str | None"},
    },
}


def document(name):
    return yaml.load((DOCUMENTS / name).read_text(), TemplateLoader)  # noqa: S506 - a safe one


KINDS = {
    **{f"asyncapi {n}": (asyncapi.read, document(f"user-signedup-{n}.yaml")) for n in (2, 3)},
    "streetlights": (asyncapi.read, document("streetlights-3.yaml")),
    "cloudformation": (cloudformation.read, document("shop.cfn.yaml")),
    "sam": (cloudformation.read, document("shop.sam.yaml")),
    "state": (terraform.read, document("shop.tfstate.json")),
    "plan": (terraform.read, document("shop.tfplan.json")),
    "schema": (add_models, ORDER),
    "spec": (documents.read, SPEC),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_document_is_a_spec_or_an_error(tmp_path, kind, data):
    """What is left out of it can be told as well, and a spec can be rendered."""
    read, whole = KINDS[kind]
    file = tmp_path / "document.json"
    file.write_text(json.dumps(data.draw(damaged(whole))))

    try:
        draft = command_line.merge(read(file), "shop", [])
        list(map(str, draft.notes))
        contexts.service(validation.service(draft))
    except LoaferKitError as error:
        str(error).encode(errors="backslashreplace")


def _resources(count, **properties):
    queue = {"Type": "AWS::SQS::Queue", "Properties": properties}
    return json.dumps({"Resources": {f"Q{number}": queue for number in range(count)}})


BOMBS = {
    "wide.yaml": "a: [" + "1," * 300_000 + "]",
    "aliases.yaml": "a: &a {b: 1}\nc: [" + "*a," * 250_000 + "]",
    "twice.json": "{" + ",".join(f'"k{n}": 1' for n in range(60_000)) + ', "k59999": 2}',
    "unclosed.json": _resources(300, QueueName={"Fn::Sub": "${" * 900}),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", BOMBS)
def test_a_document_that_multiplies_ends_with_one_line(tmp_path, name):
    """Width, aliases, keys and expansions are bounded; `test_documents.py` has the depth."""
    file = tmp_path / name
    file.write_text(BOMBS[name])

    with pytest.raises(LoaferKitError) as caught:
        validation.service(cloudformation.read(file))

    assert all(line.isprintable() for line in str(caught.value).splitlines())


@pytest.mark.timeout(60)
def test_an_expression_with_very_many_references_is_followed(tmp_path):
    """In a plan."""
    address = "aws_sqs_queue.q"
    references = {"references": [f"aws_sqs_queue.x{number}.arn" for number in range(5_000)]}
    resource = {"type": "aws_sqs_queue", "address": address, "values": {"name": "q"}}
    content = {
        "planned_values": {"root_module": {"resources": [resource]}},
        "configuration": {
            "root_module": {
                "resources": [{"address": address, "expressions": {"redrive_policy": references}}]
            }
        },
    }
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(content))

    assert terraform.read(file).values["queues"] == [{"name": "q"}]
