"""The CloudFormation and SAM templates: as their own tools see them, and applied to a server."""

import json
import re

import pytest
from moto.server import ThreadedMotoServer
from scaffold.shipping.rendered import decoded
from typer.testing import CliRunner

from loafer_kit.cli import app
from loafer_kit.local.queues import Clients
from loafer_kit.scaffold import shipping

# The server knows stacks, but not these resources of theirs: it says so, and leaves them out.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")

PATHS = {
    "cloudformation": "deploy/cloudformation.yaml",
    "sam": "deploy/sam.yaml",
    "ecs": "deploy/ecs.yaml",
}
SERVICES = {
    "one": [{"name": "orders"}],
    "both": [{"name": "a", "dead_letter_queue": "b"}, {"name": "b"}],
    "others'": [
        {
            "name": "https://sqs.eu-west-1.amazonaws.com/123456789012/a",
            "dead_letter_queue": "b",
            "kind": "sns",
        },
        {"name": "http://localhost:4566/queue/c", "handler": "on_c"},
        {"name": "d", "topic": "arn:aws:sns:eu-west-1:123456789012:t", "dead_letter_queue": "b"},
    ],
    "many": [{"name": f"a{n}", "dead_letter_queue": "b"} for n in range(12)],
}


def lint(text):
    from cfnlint.api import lint  # imports sympy, which takes seconds

    return [str(match) for match in lint(text)]


@pytest.mark.slow
@pytest.mark.parametrize("artefact", PATHS)
def test_the_linter_has_nothing_to_say(ship, artefact):
    """Not even a warning, about one of everything in one service."""
    assert lint(ship(artefact)[PATHS[artefact]]) == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_linter_has_nothing_to_say_about_any_service(ship, service):
    """From a single queue to more sources than a redrive-allow policy can name."""
    text = ship("cloudformation", queues=SERVICES[service])[PATHS["cloudformation"]]

    assert lint(text) == []


def test_a_plain_queue_needs_little(ship):
    """One queue, one alarm, one policy."""
    text = ship("cloudformation", queues=[{"name": "orders"}])[PATHS["cloudformation"]]

    kinds = [resource["Type"] for resource in decoded(text)["Resources"].values()]
    assert kinds == ["AWS::SQS::Queue", "AWS::CloudWatch::Alarm", "AWS::IAM::ManagedPolicy"]
    for word in ("Redrive", "dead", "sns", "SNS:", "Fifo"):
        assert word not in text


def test_sam_gets_the_same(ship):
    """All that it adds is its transform, so what is known of the one template holds for both."""
    project = ship("cloudformation", "sam")

    sam = decoded(project[PATHS["sam"]])

    assert sam.pop("Transform") == "AWS::Serverless-2016-10-31"
    assert sam == decoded(project[PATHS["cloudformation"]])


QUEUES = [
    {"name": "orders", "dead_letter_queue": "dead", "visibility_timeout": 60},
    {"name": "bills", "dead_letter_queue": "dead", "max_receive_count": 3},
    {"name": "news.fifo", "topic": "paper.fifo", "dead_letter_queue": "dead.fifo"},
    {"name": "prices", "topic": "prices"},
]


class Stack:
    """A template on the server; what the server leaves out is made here, of the same properties."""

    def __init__(self, clients, template):
        self.clients = clients
        self.redrive_allowed = {}  # the server forgets these policies
        self.call(
            "cloudformation", "create_stack", StackName="service", TemplateBody=json.dumps(template)
        )
        found = self.call("cloudformation", "describe_stack_resources", StackName="service")
        self.ids = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in found["StackResources"]
            if "PhysicalResourceId" in resource
        }
        for resource in template["Resources"].values():
            self._complete(resource["Type"], self.resolved(resource["Properties"]))

    def call(self, service, operation, **parameters):
        return self.clients.call(service, operation, **parameters)

    def attributes(self, queue_url):
        answer = self.call(
            "sqs", "get_queue_attributes", QueueUrl=queue_url, AttributeNames=["All"]
        )
        return answer["Attributes"]

    def resolved(self, value):
        if isinstance(value, list):
            return [self.resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((key, argument),) = value.items()
            if key in self.FUNCTIONS:
                return self.FUNCTIONS[key](self, argument)
        resolved = {key: self.resolved(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not None}

    def _ref(self, name):
        return None if name == "AWS::NoValue" else self.ids[name]

    def _attribute(self, path):
        name, attribute = path if isinstance(path, list) else path.split(".")
        arn = self.attributes(self.ids[name])["QueueArn"]
        return {"Arn": arn, "QueueName": arn.rpartition(":")[2]}[attribute]

    def _substituted(self, text):
        known = {"Partition": "aws", "Region": "us-east-1", "AccountId": "123456789012"}
        return re.sub(r"\$\{AWS::(\w+)\}", lambda match: known[match[1]], text)

    def _if(self, arguments):
        condition, _, otherwise = arguments
        assert condition == "HasAlarmTopic"
        return self.resolved(otherwise)

    FUNCTIONS = {
        "Ref": _ref,
        "Fn::GetAtt": _attribute,
        "Fn::Sub": _substituted,
        "Fn::If": _if,
    }

    def _complete(self, kind, properties):
        if kind == "AWS::SNS::Subscription":
            properties.pop("Region", None)
            self.call("sns", "subscribe", **properties)
        elif kind == "AWS::SQS::QueuePolicy":
            for url in properties["Queues"]:
                self._set(url, Policy=properties["PolicyDocument"])
        elif kind == "AWS::CloudWatch::Alarm":
            self.call(
                "cloudwatch",
                "put_metric_alarm",
                AlarmName=properties["AlarmDescription"],
                **properties,
            )
        elif kind == "AWS::SQS::Queue":
            allowed = properties.get("RedriveAllowPolicy", {})
            self.redrive_allowed[properties["QueueName"]] = allowed.get("sourceQueueArns", [])

    def _set(self, url, **attributes):
        values = {name: json.dumps(value) for name, value in attributes.items()}
        self.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes=values)


@pytest.fixture
def whole_server():
    """The URL of moto's own server: it has CloudFormation too, and the queues of `local_server`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def stack(ship, whole_server, local_queues):
    clients = Clients(whole_server)
    template = decoded(ship("cloudformation", queues=QUEUES)["deploy/cloudformation.yaml"])
    yield Stack(clients, json.loads(json.dumps(template)))
    clients.call("cloudformation", "delete_stack", StackName="service")
    for alarm in clients.call("cloudwatch", "describe_alarms")["MetricAlarms"]:
        clients.call("cloudwatch", "delete_alarms", AlarmNames=[alarm["AlarmName"]])
    clients.close()


def test_the_stack_is_what_the_spec_says(stack, spec_of, local_queues):
    """The queues and their attributes, redrive both ways, subscriptions, alarms, permissions."""
    spec = spec_of(*QUEUES)

    _check_queues(spec, stack, local_queues)
    _check_subscriptions(spec, stack, local_queues)
    _check_alarms(spec, stack)
    _check_policy(spec, stack, local_queues)


def test_the_doctor_finds_no_problem_in_a_stack(stack, tmp_path):
    """Nor is there anything in its policies that it could not judge."""
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"name": "shop", "queues": QUEUES}))

    done = CliRunner().invoke(app, ["doctor", str(spec), "--json"])

    findings = json.loads(done.stdout)["findings"]
    assert [item for item in findings if item["level"] == "problem"] == []
    assert not any("policy lets" in item["message"] for item in findings)


def _check_queues(spec, stack, local_queues):
    expected = shipping.queues(spec)
    assert sorted(local_queues.names()) == sorted(queue.name for queue in expected)
    for queue in expected:
        attributes = local_queues.attributes(queue.name)
        assert (attributes.get("FifoQueue") == "true") == queue.fifo
        timeout = queue.spec.options.get("visibility_timeout", 30) if queue.spec else 30
        assert int(attributes["VisibilityTimeout"]) == timeout
        assert _redrive(attributes) == _expected_redrive(queue, local_queues)
        sources = [local_queues.queue_arn(name) for name in queue.dead_letters_of]
        assert stack.redrive_allowed[queue.name] == sources


def _redrive(attributes):
    policy = json.loads(attributes.get("RedrivePolicy", "{}"))
    return policy.get("deadLetterTargetArn"), policy.get("maxReceiveCount")


def _expected_redrive(queue, local_queues):
    if not queue.dead_letter_queue:
        return None, None
    return local_queues.queue_arn(queue.dead_letter_queue), queue.spec.max_receive_count


def _check_subscriptions(spec, stack, local_queues):
    found = {
        (item["TopicArn"].rpartition(":")[2], item["Endpoint"].rpartition(":")[2])
        for item in stack.call("sns", "list_subscriptions")["Subscriptions"]
    }
    assert found == {(queue.topic, queue.name) for queue in spec.queues if queue.topic}
    for queue in spec.queues:
        if queue.topic:
            local_queues.publish(queue.topic, {"hello": queue.topic})
            (message,) = local_queues.receive(queue.name)
            assert json.loads(message["Body"])["Message"] == json.dumps({"hello": queue.topic})
            policy = json.loads(local_queues.attributes(queue.name)["Policy"])
            assert policy["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(
                f":{queue.topic}"
            )


def _check_alarms(spec, stack):
    alarms = stack.call("cloudwatch", "describe_alarms")["MetricAlarms"]
    assert {(alarm["Dimensions"][0]["Value"], alarm["MetricName"]) for alarm in alarms} == {
        *((queue.name, "ApproximateAgeOfOldestMessage") for queue in spec.queues),
        ("dead", "ApproximateNumberOfMessagesVisible"),
        ("dead.fifo", "ApproximateNumberOfMessagesVisible"),
    }


def _check_policy(spec, stack, local_queues):
    version = stack.call(
        "iam", "get_policy_version", PolicyArn=stack.ids["ServicePolicy"], VersionId="v1"
    )
    document = version["PolicyVersion"]["Document"]
    assert document["Statement"] == [
        {
            "Effect": "Allow",
            "Action": list(actions),
            "Resource": [local_queues.queue_arn(queue.name) for queue in queues],
        }
        for actions, queues in shipping.statements(shipping.queues(spec)).items()
    ]
