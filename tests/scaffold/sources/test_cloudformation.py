"""CloudFormation and SAM templates: queues, dead-letter queues and subscriptions."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.scaffold.sources import cloudformation
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.intrinsics import UNKNOWN, Intrinsics
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft, SpecError

DOCUMENTS = Path(__file__).parent / "documents"


def template(tmp_path, resources, **more):
    file = tmp_path / "template.json"
    file.write_text(json.dumps({"Resources": resources, **more}))
    return file


def queue(**properties):
    return {"Type": "AWS::SQS::Queue", "Properties": properties}


def test_a_template_becomes_a_service():
    """Names are resolved, redrive policies become dead-letter queues, subscriptions topics."""
    draft = cloudformation.read(DOCUMENTS / "shop.cfn.yaml")

    assert draft.values["queues"] == [
        {
            "name": "${STAGE}-orders.fifo",
            "content_based_deduplication": True,
            "dead_letter_queue": "${STAGE}-orders-dlq.fifo",
            "max_receive_count": 3,
            "wait_time": 20,
            "visibility_timeout": 120,
        },
        {
            "name": "shipments",
            "kind": "sns",
            "topic": "shipments",
            "filter_policy": {"kind": ["parcel"]},
            "dead_letter_queue": "shared-dlq",
            "max_receive_count": 10,
        },
        {"name": "InvoicesQueue"},
        {"name": "${OWNER}-audit"},
    ]
    assert draft.values["parameters"] == [
        {"name": "STAGE", "default": "prod"},
        {"name": "OWNER"},
    ]


def test_what_a_spec_cannot_say_is_listed_with_its_line():
    """Resources of other types as well."""
    notes = [str(note) for note in cloudformation.read(DOCUMENTS / "shop.cfn.yaml").notes]

    assert notes == [
        "Resources: not looked at: AWS::SQS::QueuePolicy (line 18)",
        (
            "Resources.OrdersDeadLetterQueue.Properties: unsupported: "
            "MessageRetentionPeriod (line 32)"
        ),
        "Resources.ShipmentsQueue.Properties: unsupported: KmsMasterKeyId (line 38)",
        (
            "Resources.InvoicesQueue: its name is known only when the stack is deployed: "
            "the spec calls it InvoicesQueue (line 45)"
        ),
        "Resources.TestQueue: is left out: its condition does not hold (line 51)",
        (
            "Resources.ShipmentsTopic.Properties.Subscription[0]: delivers by 'email', "
            "not to a queue (line 61)"
        ),
    ]


def test_the_queues_that_call_functions_are_a_sam_templates():
    """With the size of their batches, and queues that the template does not make."""
    draft = cloudformation.read(DOCUMENTS / "shop.sam.yaml")

    assert draft.values["queues"] == [
        {
            "name": "orders",
            "dead_letter_queue": "orders-dlq",
            "max_receive_count": 5,
            "batch_size": 5,
            "visibility_timeout": 180,
        },
        {"name": "news", "kind": "sns", "topic": "news", "batch_size": 2},
        {"name": "legacy-orders"},
    ]
    assert [str(note).partition(": ")[2] for note in draft.notes] == [
        "unsupported: Timeout (line 4)",
        "one receive brings 10 messages at most (line 43)",
        "the topic calls the function: there is no queue (line 54)",
        "is not an event from a queue (line 56)",
    ]


def test_json_says_the_same(tmp_path):
    """Functions in their long form, in a file of either format."""
    import yaml

    from loafer_kit.scaffold.sources import yaml_nodes

    text = (DOCUMENTS / "shop.cfn.yaml").read_text()
    values, _ = yaml_nodes.read(text, yaml_nodes.TemplateLoader)
    (tmp_path / "shop.json").write_text(json.dumps(values))
    (tmp_path / "shop.template").write_text(yaml.safe_dump(values, sort_keys=False))

    expected = cloudformation.read(DOCUMENTS / "shop.cfn.yaml").values
    assert cloudformation.read(tmp_path / "shop.json").values == expected
    assert cloudformation.read(tmp_path / "shop.template").values == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "Stage"}, "${STAGE}"),
        ({"Ref": "Owner"}, UNKNOWN),
        ({"Ref": "AWS::NoValue"}, None),
        ({"Ref": "AWS::StackName"}, UNKNOWN),
        ({"Ref": "Topic"}, f"arn:{UNKNOWN}:sns:{UNKNOWN}:{UNKNOWN}:Topic.fifo"),
        ({"Ref": "Queue"}, f"https://{UNKNOWN}/orders-${{STAGE}}"),
        ({"Fn::GetAtt": ["Queue", "QueueName"]}, "orders-${STAGE}"),
        ({"Fn::GetAtt": "Queue.Arn"}, f"arn:{UNKNOWN}:sqs:{UNKNOWN}:{UNKNOWN}:orders-${{STAGE}}"),
        ({"Fn::GetAtt": "Function.Arn"}, UNKNOWN),
        ({"Fn::Sub": "${Stage}-${!Stage}-${ Stage }"}, "${STAGE}-${Stage}-${STAGE}"),
        (
            {"Fn::Sub": ["${A}-${Queue.QueueName}", {"A": {"Ref": "Stage"}}]},
            "${STAGE}-orders-${STAGE}",
        ),
        ({"Fn::Join": ["-", ["a", {"Ref": "Stage"}]]}, "a-${STAGE}"),
        ({"Fn::Join": ["-", {"Fn::Split": [",", "a,b"]}]}, "a-b"),
        ({"Fn::Select": ["1", {"Ref": "Zones"}]}, "b"),
        ({"Fn::Select": [9, ["a"]]}, UNKNOWN),
        ({"Fn::FindInMap": ["Names", {"Ref": "Stage"}, "Queue"]}, "mapped"),
        ({"Fn::If": ["IsProd", "yes", "no"]}, "yes"),
        ({"Fn::If": ["IsOwned", "yes", "no"]}, UNKNOWN),
        ({"Fn::If": ["IsNeither", "yes", "no"]}, "no"),
        ({"Fn::If": ["IsEither", "yes", "no"]}, "yes"),
        ({"Fn::If": ["IsBoth", "yes", "no"]}, UNKNOWN),
        ({"Fn::If": ["IsRound", "yes", "no"]}, UNKNOWN),
        ({"Fn::ImportValue": "other"}, UNKNOWN),
        ({"Fn::Sub": "${Loop.QueueName}"}, "Loop-Loop"),
        ({"Ref": "Stored"}, UNKNOWN),
        ("a-{{resolve:ssm:/shop/name:1}}", f"a-{UNKNOWN}"),
        ({"Fn::Sub": "a-{{resolve:ssm:/shop/${Stage}}}-b"}, f"a-{UNKNOWN}-b"),
    ],
)
def test_functions_are_resolved_as_far_as_a_template_tells(value, expected):
    """What only a deployment knows stays unknown, also where names lead round in a circle."""
    root = {
        "Parameters": {
            "Stage": {"Type": "String", "Default": "prod"},
            "Owner": {"Type": "String"},
            "Zones": {"Type": "CommaDelimitedList", "Default": "a, b"},
            "Stored": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/shop/name"},
        },
        "Mappings": {"Names": {"prod": {"Queue": "mapped"}}},
        "Conditions": {
            "IsProd": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
            "IsOwned": {"Fn::Equals": [{"Ref": "Owner"}, "me"]},
            "IsNeither": {
                "Fn::And": [
                    {"Fn::Not": [{"Condition": "IsProd"}]},
                    {"Fn::Or": [{"Condition": "IsOwned"}, {"Condition": "IsProd"}]},
                ]
            },
            "IsEither": {"Fn::Or": [{"Condition": "IsOwned"}, {"Condition": "IsProd"}]},
            "IsBoth": {"Fn::And": [{"Condition": "IsOwned"}, {"Condition": "IsProd"}]},
            "IsRound": {"Fn::Not": [{"Condition": "IsRound"}]},
        },
        "Resources": {
            "Queue": queue(QueueName={"Fn::Sub": "orders-${Stage}"}),
            "Loop": queue(QueueName={"Fn::Sub": "${Loop.QueueName}-Loop"}),
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"FifoTopic": "true"}},
            "Function": {"Type": "AWS::Lambda::Function"},
        },
    }

    assert Intrinsics(Node(root)).resolve(value) == expected


@pytest.mark.parametrize(
    ("parameter", "name", "parameters"),
    [
        ({"Type": "String", "Default": "dev"}, "${STAGE}-a", [{"name": "STAGE", "default": "dev"}]),
        ({"Type": "String"}, "${STAGE}-a", [{"name": "STAGE"}]),
        ({"Type": "String", "Default": "a.b"}, "a.b-a", None),
        ({"Type": "Number", "Default": 3}, "3-a", None),
        ({"Type": "String", "Default": 3}, "${STAGE}-a", [{"name": "STAGE", "default": "3"}]),
        ({"Type": "String", "Default": ""}, "-a", None),
        ({"Type": "String", "Default": {"Ref": "Seconds"}}, "${STAGE}-a", [{"name": "STAGE"}]),
        ({"Type": "String", "Default": {"Fn::If": ["A", 1, 2]}}, "${STAGE}-a", [{"name": "STAGE"}]),
    ],
)
def test_a_parameter_in_a_name_becomes_one_of_the_service(tmp_path, parameter, name, parameters):
    """A value that is no part of a queue's name stays in it, for validation."""
    resources = {
        "A": queue(
            QueueName={"Fn::Sub": "${Stage}-a"},
            VisibilityTimeout={"Ref": "Seconds"},
            RedrivePolicy={
                "deadLetterTargetArn": {"Fn::Sub": "arn:aws:sqs:eu-west-1:1:${Stage}-dead"}
            },
        ),
        "Dead": queue(QueueName={"Fn::Join": ["-", [{"Ref": "Stage"}, "dead"]]}),
    }
    declared = {"Stage": parameter, "Seconds": {"Type": "Number", "Default": 90}}

    values = cloudformation.read(template(tmp_path, resources, Parameters=declared)).values

    (found,) = values["queues"]
    assert (found["name"], found["visibility_timeout"]) == (name, 90)
    assert found["dead_letter_queue"] == name.replace("-a", "-dead")
    assert values.get("parameters") == parameters


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        (
            {"Fn::Sub": '{"deadLetterTargetArn": "${Dead.Arn}", "maxReceiveCount": 4}'},
            {"dead_letter_queue": "dead", "max_receive_count": 4},
        ),
        (
            {
                "deadLetterTargetArn": {"Fn::GetAtt": "Dead.Arn"},
                "maxReceiveCount": {"Fn::If": ["IsFar", 4, 5]},
            },
            {"dead_letter_queue": "dead"},
        ),
        ({"Fn::If": ["IsFar", {"deadLetterTargetArn": {"Fn::GetAtt": "Dead.Arn"}}, "x"]}, {}),
        ({"deadLetterTargetArn": {"Fn::If": ["IsFar", {"Fn::GetAtt": "Dead.Arn"}, "x"]}}, {}),
    ],
)
def test_a_redrive_policy_is_a_table_or_its_json(tmp_path, policy, settings):
    """Where only a deployment decides, its dead-letter queue gets no route either."""
    resources = {"A": queue(QueueName="a", RedrivePolicy=policy), "Dead": queue(QueueName="dead")}
    conditions = {"IsFar": {"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]}}

    draft = cloudformation.read(template(tmp_path, resources, Conditions=conditions))

    assert draft.values["queues"] == [{"name": "a", **settings}]
    validation.service(Draft({**draft.values, "name": "shop"}))


def test_a_redrive_policy_without_a_target_is_noted(tmp_path):
    """AWS has no such policy."""
    resources = {"A": queue(QueueName="a", RedrivePolicy={"maxReceiveCount": 3})}

    draft = cloudformation.read(template(tmp_path, resources))

    assert draft.values["queues"] == [{"name": "a"}]
    (note,) = draft.notes
    assert note.message == "names no dead-letter queue: left out"


def test_long_logical_ids_make_names_that_sqs_allows(tmp_path):
    """They stay apart, and so do their handlers."""
    long = "Service" * 30
    policy = {"deadLetterTargetArn": {"Fn::GetAtt": [f"{long}Dead", "Arn"]}}
    resources = {
        f"{long}A": queue(RedrivePolicy=policy),
        f"{long}B": queue(FifoQueue=True),
        f"{long}Dead": queue(),
    }

    draft = cloudformation.read(template(tmp_path, resources))

    service = validation.service(Draft({**draft.values, "name": "shop"}))
    first, second = service.queues
    assert len({first.name, second.name.removesuffix(".fifo"), first.dead_letter_queue}) == 3
    assert second.name.endswith(".fifo")


def test_the_handlers_of_long_names_stay_apart(tmp_path):
    """Their words make the handlers longer than the names."""
    resources = {end: queue(QueueName="Ab" * 39 + end) for end in "XY"}

    draft = cloudformation.read(template(tmp_path, resources))

    first, second = validation.service(Draft({**draft.values, "name": "shop"})).queues
    assert first.handlers != second.handlers


def test_a_template_in_json_may_be_indented_by_tabs(tmp_path):
    """Its suffix may be `.template`."""
    file = tmp_path / "shop.template"
    file.write_text(json.dumps({"Resources": {"A": queue(QueueName="a")}}, indent="\t"))

    assert cloudformation.read(file).values["queues"] == [{"name": "a"}]


def test_a_parameter_that_is_called_like_another_gives_its_default(tmp_path):
    """Two names that differ in case and underscores alone would be one variable."""
    resources = {"A": queue(QueueName={"Fn::Sub": "${StageName}-${Stage_Name}-${Stagename}"})}
    declared = {
        name: {"Type": "String", "Default": default}
        for name, default in {"StageName": "dev", "Stage_Name": "eu", "Stagename": "x"}.items()
    }

    values = cloudformation.read(template(tmp_path, resources, Parameters=declared)).values

    assert values["queues"] == [{"name": "${STAGE_NAME}-eu-x"}]
    assert values["parameters"] == [{"name": "STAGE_NAME", "default": "dev"}]


@pytest.mark.parametrize(
    "arn",
    [
        {"Ref": "Arn"},
        {"Fn::Sub": "arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:orders-${Stage}"},
    ],
)
def test_a_consumed_queue_that_takes_a_default_is_noted(tmp_path, arn):
    """Its name is no parameter's: the template does not make it."""
    mapping = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {"EventSourceArn": arn}}
    parameters = {
        "Arn": {"Type": "String", "Default": "arn:aws:sqs:eu-west-1:123456789012:orders-dev"},
        "Stage": {"Type": "String", "Default": "dev"},
    }

    draft = cloudformation.read(template(tmp_path, {"Work": mapping}, Parameters=parameters))

    assert draft.values["queues"] == [{"name": "orders-dev"}]
    (note,) = draft.notes
    assert note.message.endswith("the spec calls it orders-dev")
    assert note.message.startswith("has the default of ")


def test_a_fifo_queue_whose_name_lacks_the_suffix_is_a_problem(tmp_path):
    """SQS would refuse it; the spec knows FIFO queues by their names."""
    file = tmp_path / "template.yml"
    file.write_text(
        "Resources:\n"
        "  A:\n"
        "    Type: AWS::SQS::Queue\n"
        "    Properties: {QueueName: orders, FifoQueue: true}\n"
    )

    _, problem = validation.problems_of(cloudformation.read(file))

    assert problem.message == "the name of a FIFO queue ends in '.fifo': name it 'orders.fifo'"
    assert problem.line == 4


def test_all_problems_have_the_lines_of_the_template(tmp_path):
    """Validation looks at a template's values as at those of a spec file."""
    file = tmp_path / "template.yml"
    file.write_text(
        "Resources:\n"
        "  A:\n"
        "    Type: AWS::SQS::Queue\n"
        "    Properties:\n"
        "      QueueName: a b\n"
        "      VisibilityTimeout: 99999\n"
        "      FifoQueue: true\n"
        "      RedrivePolicy: {deadLetterTargetArn: 'arn:aws:sqs:x:1:dlq', maxReceiveCount: 0}\n"
    )

    with pytest.raises(SpecError) as caught:
        validation.service(cloudformation.read(file))

    assert [problem.line for problem in caught.value.problems if problem.line] == [5, 6, 8]


@pytest.mark.parametrize(
    "text",
    [
        "Resources: !Sub &a [*a]",
        "a: !Sub {? [x] : y}",
        "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(3)) + "c: *missing",
    ],
)
def test_a_template_that_cannot_be_read_is_an_error_of_one_line(tmp_path, text):
    """It names the file."""
    file = tmp_path / "template.yaml"
    file.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        cloudformation.read(file)

    assert str(caught.value).isprintable()


def test_names_that_multiply_stay_small(tmp_path):
    """A name may be made of another twice, and so on: it is soon longer than any name."""
    resources = {
        f"Q{n}": queue(QueueName={"Fn::Sub": f"${{Q{n + 1}.QueueName}}${{Q{n + 1}.QueueName}}"})
        for n in range(60)
    } | {"Q60": queue(QueueName="x" * 40)}

    draft = cloudformation.read(template(tmp_path, resources))

    assert len(draft.values["queues"]) == 61


def test_values_that_multiply_are_looked_at_once():
    """A text may hold another twice, and so on: there is an end to it."""
    value = "x"
    for _ in range(60):
        value = {"Fn::Sub": ["${A}${A}", {"A": value}]}

    assert set(Intrinsics(Node({})).resolve(value)) == {UNKNOWN}


hostile = st.text(max_size=12) | st.sampled_from(
    ["{{ 7*7 }}", '"""', "\n", "\u2028", "\0", "A", "B", "A.Arn", "${A}", "${A.Arn}", "sqs", ","]
)
functions = st.sampled_from(
    [
        "Ref", "Fn::GetAtt", "Fn::Sub", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::If",
        "Fn::FindInMap", "Fn::Equals", "Fn::Not", "Fn::And", "Condition", "Fn::Base64",
    ]
)  # fmt: skip
values = st.recursive(
    hostile | st.none() | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(functions, inner, min_size=1, max_size=1)
    | st.dictionaries(hostile, inner, max_size=2),
    max_leaves=8,
)
properties = st.dictionaries(
    st.sampled_from(
        [
            "BatchSize", "Endpoint", "EventSourceArn", "Events", "FifoQueue", "NotificationConfiguration",
            "Protocol", "QueueName", "RawMessageDelivery", "RedrivePolicy", "Subscription", "Targets",
            "TopicArn", "TopicName", "VisibilityTimeout",
        ]
    ),
    values | st.fixed_dictionaries({"deadLetterTargetArn": values, "maxReceiveCount": values}),
    max_size=5,
)  # fmt: skip
resources = st.fixed_dictionaries(
    {
        "Type": st.sampled_from(
            [
                "AWS::SQS::Queue",
                "AWS::SNS::Topic",
                "AWS::SNS::Subscription",
                "AWS::Serverless::Function",
                "AWS::Lambda::EventSourceMapping",
                "AWS::Events::Rule",
                "AWS::S3::Bucket",
            ]
        )
        | values,
        "Properties": properties | values,
    },
    optional={"Condition": values},
)


@pytest.mark.slow
@given(
    st.dictionaries(st.sampled_from("ABC") | hostile, resources | values, max_size=4) | values,
    st.dictionaries(st.sampled_from("AB"), values, max_size=2) | values,
)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_no_template_is_a_crash(tmp_path_factory, found, conditions):
    """Whatever stands anywhere: a draft that validation accepts, or errors of one line each."""
    file = template(tmp_path_factory.mktemp("templates"), found, Conditions=conditions)
    try:
        draft = cloudformation.read(file)
        messages = [*validation.problems_of(draft), *draft.notes]
    except LoaferKitError as error:
        messages = [error]
    assert all(str(message).isprintable() for message in messages)


def cdk(path, **properties):
    return {**queue(**properties), "Metadata": {"aws:cdk:path": path}}


def test_handlers_are_named_by_the_paths_of_cdk(tmp_path):
    """Not by the hash at the end of a logical id; a name that the queue has comes first."""
    resources = {
        "OrdersQueue8A3F21B7": cdk("Shop/OrdersQueue/Resource"),
        "BillsQueue1B2C3D4E": cdk("Shop/Bills/Queue/Resource"),
        "OtherQueue5F6A7B8C": cdk("Shop/orders-queue/Default"),
        "Named9D8E7F6A": cdk("Shop/Named/Resource", QueueName="refunds"),
        "Stack0A1B2C3D": cdk("Shop"),
        "Strange0A1B2C3D": cdk("Shop/\u00e9 \u00df/Resource"),
    }

    found = validation.service(
        Draft(
            {
                "name": "shop",
                "queues": cloudformation.read(template(tmp_path, resources)).values["queues"],
            }
        )
    )

    handlers = {item.queue_name: item.handler for item in found.queues}
    assert handlers["OrdersQueue8A3F21B7"] == "handle_orders_queue"
    assert handlers["BillsQueue1B2C3D4E"] == "handle_bills_queue"
    assert handlers["refunds"] == "handle_refunds"
    assert len(set(handlers.values())) == len(resources)


def test_a_queue_of_the_same_handler_as_a_path_gets_another(tmp_path):
    """Whichever comes first."""
    resources = {
        "A": queue(QueueName="orders-queue"),
        "OrdersQueue8A3F21B7": cdk("Shop/OrdersQueue/Resource"),
    }

    draft = cloudformation.read(template(tmp_path, resources))

    assert [item.get("handler") for item in draft.values["queues"]] == [
        "handle_orders_queue_2",
        "handle_orders_queue",
    ]
