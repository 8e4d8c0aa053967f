"""Spec files and documents: values, lines, references, standard input, and errors of one line."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sources import (
    asyncapi,
    cloudformation,
    documents,
    json_schemas,
    lines,
    terraform,
)
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft, SpecError

TOML = """\
# a [comment] with = signs
name = "foobar"

[[queues]]
name = "orders"
"handlr" = \"\"\"
x
\"\"\"
wait_time = 99

[[queues]]
name = 'bills'
concurrency = 0
"""
JSON = """{"name": "foobar", "queues": [
 {"name": "orders",
  "handlr": "x",
  "wait_time": 99},
 {"name": "bills", "concurrency":
   0}
]}"""
YAML = """\
name: foobar
queues:
- name: orders
  handlr: x
  wait_time: 99
- {name: bills,
   concurrency: 0}
"""


@pytest.mark.parametrize(
    ("suffix", "text", "expected"),
    [
        ("toml", TOML, {"queues[0].handlr": 6, "queues[0].wait_time": 9, "queues[1].concurrency": 13}),
        ("json", JSON, {"queues[0].handlr": 3, "queues[0].wait_time": 4, "queues[1].concurrency": 5}),
        ("yaml", YAML, {"queues[0].handlr": 4, "queues[0].wait_time": 5, "queues[1].concurrency": 7}),
    ],
)  # fmt: skip
def test_each_problem_of_a_file_has_its_line(tmp_path, suffix, text, expected):
    """In all three formats."""
    file = tmp_path / f"spec.{suffix}"
    file.write_text(text)

    with pytest.raises(SpecError, match=str(file)) as caught:
        validation.service(documents.read(file))

    assert {problem.place: problem.line for problem in caught.value.problems} == expected


def test_a_missing_key_has_the_line_of_its_table(tmp_path):
    """The line to look at is where the table begins."""
    file = tmp_path / "spec.toml"
    file.write_text('name = "foobar"\n\n[[queues]]\nheartbeat = false\n')

    with pytest.raises(SpecError, match=r"queues\[0\].name: is missing \(line 3\)"):
        validation.service(documents.read(file))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ini", b"", "ends in .toml"),
        ("a.toml", b"a = ]", "line 1"),
        ("a.toml", b"\xff", "not UTF-8"),
        ("a.json", b"{", "line 1"),
        ("a.json", b'{"a": 1, "a": 2}', "'a' is given twice"),
        ("a.json", b'{"a": NaN}', "NaN is not a JSON number"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.yaml", b"[" * 100_000, "nested too deeply"),
        ("a.toml", b"a = " + b"[" * 100_000, "nested too deeply"),
        ("a.toml", b"a." * 200 + b"a = 1", "nested too deeply"),
        ("a.toml", b"a = 0x" + b"f" * 100_000, "a number that is too large"),
        ("a.yaml", b"a: \0", "special characters are not allowed"),
        ("a.yaml", b"a: !!bool x", "cannot be read as its tag says"),
        ("a.yaml", b"a: !!int ''", "cannot be read as its tag says"),
        ("a.yaml", b"a: !!timestamp x", "cannot be read as its tag says"),
        ("a.json", b"[]", "a table"),
        ("a.yaml", b"a: [", "line 1"),
        ("a.yaml", b"a: 1\na: 2", "'a' is given twice"),
        ("a.yaml", b"", "a table"),
        ("a.yaml", b"!!python/object/apply:os.system ['true']", "could not determine"),
        ("a.toml", b" " * (documents.LARGEST + 1), "larger than"),
    ],
)
def test_a_file_that_is_no_spec_is_an_error_of_one_line(tmp_path, name, content, message):
    """The line says which file, and what is wrong with it."""
    file = tmp_path / name
    file.write_bytes(content)

    with pytest.raises(ConfigurationError, match=message) as caught:
        documents.read(file)

    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
    assert "<unicode string>" not in str(caught.value)


@pytest.mark.parametrize("name", ["spec.toml", "spec"])
def test_a_file_that_is_not_there_is_an_error_of_one_line(tmp_path, name):
    """Whatever its name ends in."""
    with pytest.raises(ConfigurationError, match="No such file"):
        documents.read(tmp_path / name)


def test_lines_are_looked_for_once(tmp_path, monkeypatch):
    """However many problems a file has; in a very large one not at all."""
    looked = []
    monkeypatch.setattr(lines, "of_json", lambda text: looked.append(len(text)) or {(): 1})
    for size in (1, 3 * documents.LARGEST):
        file = tmp_path / f"{size}.json"
        file.write_text('{"a": "' + "x" * size + '"}')
        document = documents.load(file, documents.JSON, what="a test", largest=10**8)
        assert [document.line(("a",)) for _ in range(9)] == [1 if size == 1 else None] * 9

    assert looked == [10]


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
        ("%00.json", "cannot name a file"),
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
        {"name": "orders-${STAGE}", "visibility_timeout": 90, "batch_size": 5},
        {"name": "Secret"},
    ]
    assert draft.values["parameters"] == [{"name": "STAGE", "default": "prod"}]
    lines = {note.line for note in draft.notes if "Secret" in str(note)}
    assert lines == {16}
    (event,) = [note for note in draft.notes if "Event2" in str(note)]
    assert event.message == "is not an event from a queue"


@pytest.mark.parametrize(
    ("name", "expected", "parameters"),
    [
        ("a-${opt:stage, self:provider.stage}", "a-${STAGE}", {"STAGE": "prod"}),
        ("a-${opt:stage,self:custom.none,'x'}", "a-${STAGE}", {"STAGE": "prod"}),
        ("a-${opt:stage}", "a-${STAGE}", {"STAGE": "prod"}),
        ("a-${sls:stage}", "a-${STAGE}", {"STAGE": "prod"}),
        ("a-${self:provider.stage}", "a-${STAGE}", {"STAGE": "prod"}),
        ("a-${self:custom.aStage}", "a-${STAGE}", {"STAGE": "prod"}),
        ({"Fn::Sub": "a-${sls:stage}-${Topic.TopicName}"}, "a-${STAGE}-other", {"STAGE": "prod"}),
        ({"Fn::Sub": ["${x}-${sls:stage}", {"x": "a"}]}, "a-${STAGE}", {"STAGE": "prod"}),
        ({"Fn::Sub": ["a-${x}", {"x": "${sls:stage}"}]}, "a-${STAGE}", {"STAGE": "prod"}),
        ({"Fn::Join": ["-", ["a", "${sls:stage}"]]}, "a-${STAGE}", {"STAGE": "prod"}),
        ("${self:custom.none, self:custom.stage}", "test", {}),
        ("${self:custom.names.${opt:stage, 'prod'}}", "shop", {}),
        ("a-${self:custom.names.${self:custom.aStage}}", "a-shop", {}),
        ('a-${env:QUEUE, "orders"}', "a-${QUEUE}", {"QUEUE": "orders"}),
        ("a-${env:QUEUE}", "a-${QUEUE}", {"QUEUE": None}),
        ("a-${opt:team, self:custom.stage}", "a-${TEAM}", {"TEAM": "test"}),
        ("a-${param:team}-${sls:stage}", "a-${TEAM}-${STAGE}", {"TEAM": None, "STAGE": "prod"}),
        ("a-${opt:loop, self:custom.loop}", "a-${LOOP}", {"LOOP": None}),
        ("a-${cf:other.Output}", "Orders", {}),
        ("a-${file(./names.yml):orders, 'b'}", "a-b", {}),
    ],
)
def test_a_variable_of_serverless_has_alternatives(tmp_path, name, expected, parameters):
    """The first that the document knows; one that a deployment may set becomes a parameter."""
    file = tmp_path / "serverless.json"
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}
    other = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "other"}}
    document = {
        "provider": {"name": "aws", "stage": "prod"},
        "custom": {
            "stage": "test",
            "aStage": "${opt:stage, self:provider.stage}",
            "loop": "${opt:loop, self:custom.loop}",
            "names": {"prod": "shop"},
        },
        "resources": {"Resources": {"Orders": queue, "Topic": other}},
    }
    file.write_text(json.dumps(document))

    values = cloudformation.read(file).values

    assert values["queues"][0] == {"name": expected}
    found = {table["name"]: table.get("default") for table in values.get("parameters", [])}
    assert found == parameters


@pytest.mark.parametrize(
    ("provider", "default"),
    [({}, "x"), ({"stage": "${opt:stage, 'prod'}"}, "prod"), ({"stage": "${env:NONE}"}, None)],
)
def test_the_default_of_a_stage_is_that_of_the_provider(tmp_path, provider, default):
    """Else that of the variable."""
    file = tmp_path / "serverless.json"
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "a-${opt:stage, 'x'}"}}
    resources = {"Resources": {"Orders": queue}}
    file.write_text(json.dumps({"provider": provider, "resources": resources}))

    values = cloudformation.read(file).values

    assert values["queues"] == [{"name": "a-${STAGE}"}]
    (parameter,) = values["parameters"]
    assert parameter.get("default") == default


def test_parts_of_serverless_documents_in_other_files_are_noted(tmp_path):
    """Of resources and functions, which may be lists, and a single function."""
    file = tmp_path / "serverless.yml"
    file.write_text("""\
provider: {name: aws}
functions:
  - ${file(./a.yml)}
  - work: {events: [{sqs: "arn:aws:sqs:eu-west-1:123456789012:orders"}]}
    other: ${file(./b.yml)}
resources:
  - ${file(./c.yml)}
""")

    draft = cloudformation.read(file)

    assert draft.values["queues"] == [{"name": "orders"}]
    assert [note.message for note in draft.notes] == [
        "unsupported: ${file(./c.yml)}, ${file(./a.yml)}, ${file(./b.yml)}"
    ]
