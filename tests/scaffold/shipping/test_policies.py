"""The policies in each artefact: exactly what a service does, and what its topics may send."""

import re
from dataclasses import dataclass

import pytest
from scaffold.conftest import QUEUES
from scaffold.shipping.rendered import PATHS, CloudFormation, Terraform, arn

from loafer_kit.scaffold import shipping
from loafer_kit.scaffold.shipping import Queue

SERVICES = {
    "one of everything": QUEUES,
    "one": [{"name": "orders"}],
    "both": [{"name": "a", "dead_letter_queue": "b"}, {"name": "b"}],
    "others'": [
        {
            "name": "https://sqs.eu-west-1.amazonaws.com/123456789012/a",
            "dead_letter_queue": "b",
        },
        {"name": "http://localhost:4566/queue/c", "handler": "on_c"},
        {"name": "d.fifo", "kind": "sns", "dead_letter_queue": "e.fifo"},
    ],
}


@pytest.fixture(scope="module", params=SERVICES.values(), ids=SERVICES)
def service(request, ship, spec_of):
    """The queues of a spec, and the artefacts that are made of it."""
    return Service(shipping.queues(spec_of(*request.param)), ship(*PATHS, queues=request.param))


@dataclass(frozen=True)
class Service:
    queues: tuple[Queue, ...]
    files: dict[str, str]

    def text(self, artefact):
        return self.files[PATHS[artefact]]

    @property
    def statements(self):
        """The one place's word about what a service does, with whole ARNs."""
        return [
            {
                "Effect": "Allow",
                "Action": list(actions),
                "Resource": [
                    arn("sqs", queue.name, queue.region, queue.account) for queue in queues
                ],
            }
            for actions, queues in shipping.statements(self.queues).items()
        ]

    @property
    def deliveries(self):
        """For each queue with a topic, that this topic may send to it, and nobody else."""
        return {
            arn("sqs", queue.name): [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": arn("sqs", queue.name),
                    "Condition": {
                        "ArnEquals": {
                            "aws:SourceArn": queue.topic.arn or arn("sns", queue.topic.name)
                        }
                    },
                }
            ]
            for queue in self.queues
            if queue.topic
        }


def test_a_stack_allows_what_the_service_does_and_nothing_else(service):
    """One policy, attached to nothing yet."""
    template = CloudFormation(service.text("cloudformation"))

    assert template.resources("AWS::IAM::ManagedPolicy") == {
        "ServicePolicy": {
            "PolicyDocument": {"Version": "2012-10-17", "Statement": service.statements}
        }
    }
    of_queues = {"AWS::SQS::QueuePolicy"} if service.deliveries else set()
    assert _granting(template) == {"AWS::IAM::ManagedPolicy"} | of_queues


def test_a_stack_lets_each_topic_send_to_its_queue(service):
    """It alone: the policy names the topic and the queue."""
    template = CloudFormation(service.text("cloudformation"))

    found = {}
    for policy in template.resources("AWS::SQS::QueuePolicy").values():
        (queue,) = policy["Queues"]
        name = template.resources("AWS::SQS::Queue")[queue]["QueueName"]
        found[arn("sqs", name)] = policy["PolicyDocument"]["Statement"]
    assert found == service.deliveries


def test_a_task_may_do_what_the_service_does_and_nothing_else(service):
    """The role that runs it has no policy besides; the other role only starts it."""
    template = CloudFormation(service.text("ecs"))

    assert _granting(template) == {"AWS::IAM::Role"}
    roles = template.resources("AWS::IAM::Role")
    assert {name: role.get("ManagedPolicyArns", []) for name, role in roles.items()} == {
        "ExecutionRole": ["arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"],
        "TaskRole": [],
    }
    assert "Policies" not in roles["ExecutionRole"]
    (policy,) = roles["TaskRole"]["Policies"]
    assert policy["PolicyDocument"] == {"Version": "2012-10-17", "Statement": service.statements}
    for role in roles.values():
        (trusted,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trusted == {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    (task,) = template.resources("AWS::ECS::TaskDefinition").values()
    assert task["TaskRoleArn"] == "TaskRole.Arn"
    assert task["ExecutionRoleArn"] == "ExecutionRole.Arn"


def _granting(template):
    """The types of all resources that grant something to somebody."""
    kinds = {resource["Type"] for resource in template.template["Resources"].values()}
    granting = ("AWS::IAM::", "AWS::SQS::QueuePolicy", "AWS::Serverless::")
    return {kind for kind in kinds if kind.startswith(granting)}


def test_a_module_allows_what_the_service_does_and_nothing_else(service):
    """The policy that it makes holds the document that was compared."""
    module = Terraform(service.text("terraform"))

    ((label, policy),) = module.of_type("aws_iam_policy").items()
    assert policy["policy"] == f"${{data.aws_iam_policy_document.{label}.json}}"
    assert _statements(module, label) == service.statements
    iam = {kind for kind, _ in module.resources if kind.startswith("aws_iam")}
    assert iam == {"aws_iam_policy"}


def test_a_module_lets_each_topic_send_to_its_queue(service):
    """It alone: the policy names the topic and the queue."""
    module = Terraform(service.text("terraform"))

    found = {}
    for policy in module.of_type("aws_sqs_queue_policy").values():
        queue = re.fullmatch(r"\$\{(aws_sqs_queue\.\w+)\.id\}", policy["queue_url"])[1]
        document = r"\$\{data\.aws_iam_policy_document\.(\w+)\.json\}"
        label = re.fullmatch(document, policy["policy"])[1]
        found[module.meaning(f"${{{queue}.arn}}")] = _statements(module, label)
    assert found == service.deliveries


def _statements(module, label):
    """A policy document as IAM gets it from the provider."""
    document = module.data["aws_iam_policy_document", label]
    assert list(document) == ["statement"]
    return [_statement(module, statement) for statement in document["statement"]]


def _statement(module, block):
    block = {name: value for name, value in block.items() if not name.startswith("__")}
    actions = module.meaning(block.pop("actions"))
    resources_ = module.meaning(block.pop("resources"))
    found = {"Effect": block.pop("effect", "Allow")}
    if "principals" in block:  # in a queue's policy there is one of each
        (principals,), (condition,) = block.pop("principals"), block.pop("condition")
        (identifier,), (value,) = principals["identifiers"], condition["values"]
        (actions,), (resources_,) = actions, resources_
        kind, test, variable = map(
            module.meaning, (principals["type"], condition["test"], condition["variable"])
        )
        found["Principal"] = {kind: module.meaning(identifier)}
        found["Condition"] = {test: {variable: module.meaning(value)}}
    assert block == {}
    return found | {"Action": actions, "Resource": resources_}


@pytest.mark.parametrize("dead_letters", [{}, {"dead_letter_queue": "dead"}])
def test_the_readme_lists_what_a_role_needs(ship, dead_letters):
    """For those who make one by hand, as Kubernetes has it."""
    readme = ship("kubernetes", queues=[{"name": "orders", **dead_letters}])["README.md"]

    expected = {shipping.FIND, *shipping.CONSUME}
    if dead_letters:
        expected |= set(shipping.DEAD_LETTER)
    assert set(re.findall(r"sqs:\w+", readme)) == expected
