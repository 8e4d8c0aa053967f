"""Documents from standard input, of several files, of Serverless, and in HCL."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sources import asyncapi, cloudformation, json_schemas, terraform
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft, SpecError

STATE = {
    "values": {
        "root_module": {
            "resources": [
                {
                    "type": "aws_sqs_queue",
                    "address": "aws_sqs_queue.a",
                    "values": {"name": "orders"},
                }
            ]
        }
    }
}
TEMPLATE = "Resources:\n  A:\n    Type: AWS::SQS::Queue\n    Properties: {QueueName: !Sub orders}\n"


def typed(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (terraform.read, json.dumps(STATE)),
        (cloudformation.read, TEMPLATE),
        (cloudformation.read, json.dumps({"Resources": {"orders": {"Type": "AWS::SQS::Queue"}}})),
    ],
)
def test_a_dash_is_standard_input(monkeypatch, tmp_path, read, text):
    """In JSON, or in YAML where the document may be YAML."""
    typed(monkeypatch, text)

    draft = read(type(tmp_path)("-"))

    assert draft.values["queues"] == [{"name": "orders"}]
    assert draft.origin == "standard input"


def test_standard_input_that_is_no_document_is_an_error_of_one_line(monkeypatch, tmp_path):
    """It says where the text came from."""
    typed(monkeypatch, "nonsense")

    with pytest.raises(ConfigurationError, match=r"^standard input: "):
        terraform.read(type(tmp_path)("-"))


def test_hcl_names_the_command_that_makes_a_plan(tmp_path):
    """The file itself is not read."""
    with pytest.raises(ConfigurationError, match="run `terraform plan -out plan && terraform show"):
        terraform.read(tmp_path / "main.tf")


def document(folder, reference):
    content = {
        "asyncapi": "3.0.0",
        "info": {"title": "Shop", "version": "1"},
        "channels": {"orders": {"messages": {"Order": {"payload": {"$ref": reference}}}}},
        "operations": {"onOrder": {"action": "receive", "channel": {"$ref": "#/channels/orders"}}},
    }
    file = folder / "shop.json"
    file.write_text(json.dumps(content))
    return file


def test_a_reference_may_lead_to_a_file_in_the_documents_folder(tmp_path):
    """References in that file are relative to it, or lead within it."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    (folder / "order.yaml").write_text(
        "Order:\n  type: object\n  required: [line, id]\n"
        "  properties: {line: {$ref: './line.json'}, id: {$ref: '#/Id'}}\n"
        "Id: {type: integer}\n"
    )
    line = {"type": "object", "properties": {"sku": {"type": "string"}, "next": {"$ref": "#"}}}
    (folder / "line.json").write_text(json.dumps({"title": "Line", **line}))

    draft = asyncapi.read(document(tmp_path, "schemas/order.yaml#/Order"))

    assert draft.values["payloads"] == {
        "Order": {"line": "Line", "id": "int"},
        "Line": {"sku": "str | None", "next": "Line | None"},
    }
    assert validation.service(draft).queues[0].payload == "Order"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("../secret.json", "leads out of the document's folder"),
        ("/etc/passwd", "leads out of the document's folder"),
        ("link.json", "leads out of the document's folder"),
        ("%2e%2e/secret.json", "leads out of the document's folder"),
        ("https://example.com/x.json", "nothing is fetched"),
        ("//example.com/x.json", "nothing is fetched"),
        ("file:///etc/passwd", "nothing is fetched"),
        ("missing.json", "No such file"),
        ("secret.txt", "a referenced file ends in"),
    ],
)
def test_a_reference_leads_neither_out_of_the_folder_nor_to_the_network(
    tmp_path, reference, message
):
    """Not by a symlink either."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (tmp_path / "secret.json").write_text('{"type": "object", "properties": {"x": {}}}')
    (folder / "secret.txt").write_text("{}")
    (folder / "link.json").symlink_to(tmp_path / "secret.json")

    with pytest.raises(SpecError, match=message):
        validation.service(asyncapi.read(document(folder, reference)))


def test_a_schema_may_have_several_files(tmp_path):
    """A reference between files that leads back ends."""
    (tmp_path / "a.json").write_text(
        '{"type": "object", "title": "A", "properties": {"b": {"$ref": "b.json"}}}'
    )
    (tmp_path / "b.json").write_text(
        '{"type": "object", "title": "B", "properties": {"a": {"$ref": "a.json"}}}'
    )

    draft = json_schemas.add(Draft({"name": "shop", "queues": []}), tmp_path / "a.json")

    assert draft.values["payloads"]["A"] == {"b": "B | None"}


SERVERLESS = """\
service: shop
custom: {names: {orders: "orders-${self:provider.stage}"}}
provider: {name: aws, stage: "${opt:stage, 'prod'}"}
functions:
  work:
    handler: x.y
    onError: !GetAtt Dead.Arn
    events:
      - sqs: {arn: !GetAtt Orders.Arn, batchSize: 5}
      - http: GET /
resources:
  Resources:
    Orders:
      Type: AWS::SQS::Queue
      Properties: {QueueName: "${self:custom.names.orders}", VisibilityTimeout: 90}
    Secret:
      Type: AWS::SQS::Queue
      Properties: {QueueName: "${ssm:/x}"}
    Dead:
      Type: AWS::SQS::Queue
      Properties: {QueueName: dead}
"""


def test_the_resources_of_a_serverless_document_are_a_template(tmp_path):
    """Its variables are resolved, and its functions' events and dead-letter queues are read."""
    file = tmp_path / "serverless.yml"
    file.write_text(SERVERLESS)

    draft = cloudformation.read(file)

    assert draft.values["queues"] == [
        {"name": "orders-prod", "visibility_timeout": 90, "batch_size": 5},
        {"name": "Secret"},
    ]
    lines = {note.line for note in draft.notes if "Secret" in str(note)}
    assert lines == {16}
