"""The Terraform module: it parses, is formatted, and says only what the provider knows."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import hcl2
import pytest
from scaffold.shipping.rendered import Terraform
from scaffold.shipping.test_policies import SERVICES

MAIN = "deploy/terraform/main.tf"

# What the provider says of itself: see README.md beside the file.
PROVIDER = json.loads(
    Path(__file__).with_name("schemas").joinpath("terraform_aws.json").read_text()
)
TYPES = {"string": str, "number": int, "bool": bool, "list(string)": list, "map(string)": dict}


def problems(body, schema, path):
    """What the provider would refuse in a block, by the argument's path."""
    arguments, blocks = schema.get("arguments", {}), schema.get("blocks", {})
    for name in schema.get("required", []):
        if name not in body:
            yield f"{path}.{name} is missing"
    for name, value in body.items():
        if name.startswith("__"):  # what the parser adds
            continue
        if name in blocks:
            for index, block in enumerate(value):
                yield from problems(block, blocks[name], f"{path}.{name}[{index}]")
        elif name not in arguments:
            yield f"{path}.{name} is unknown"
        elif not is_of_type(value, arguments[name]):
            yield f"{path}.{name} is not a {arguments[name]}"


def is_of_type(value, kind):
    """Whether a value is of a type; what an expression gives is not known here."""
    if isinstance(value, str) and value.startswith("${"):
        return True
    if kind == "string":
        return isinstance(value, str) and value.startswith('"')
    return type(value) is TYPES[kind]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"name": '"a"', "visibility_timeout": 3}, "q.visibility_timeout is unknown"),
        ({"fifo_queue": '"true"'}, "q.fifo_queue is not a bool"),
        ({"delay_seconds": True}, "q.delay_seconds is not a number"),
        ({"timeouts": [{"craete": '"5m"'}]}, "q.timeouts[0].craete is unknown"),
    ],
)
def test_what_the_provider_would_refuse_is_found(body, problem):
    """The comparison finds what it is for."""
    schema = PROVIDER["resource"]["aws_sqs_queue"]

    assert list(problems(body, schema, "q")) == [problem]
    needed = PROVIDER["resource"]["aws_sqs_queue_policy"]
    assert list(problems({"policy": "${x}"}, needed, "p")) == ["p.queue_url is missing"]


@pytest.mark.parametrize("queues", SERVICES.values(), ids=SERVICES)
def test_the_provider_knows_every_argument(ship, queues):
    """Of each resource and each data source: names, types, and what is required."""
    module = Terraform(ship("terraform", queues=queues)[MAIN])

    found = [
        problem
        for kind, blocks in (("resource", module.resources), ("data", module.data))
        for (type_, label), body in blocks.items()
        for problem in problems(body, PROVIDER[kind][type_], f"{type_}.{label}")
    ]

    assert found == []


def test_the_module_says_what_the_spec_says(ship):
    """Queues, redrive both ways, topics and subscriptions, one by one."""
    found = Terraform(ship("terraform")[MAIN]).resources

    assert found["aws_sqs_queue", "orders"] == {
        "name": '"orders"',
        "visibility_timeout_seconds": 60,
    }
    assert found["aws_sqs_queue", "news"]["fifo_queue"] is True
    assert ("aws_sqs_queue", "old") not in found
    assert (
        found["aws_sqs_queue_redrive_policy", "orders_created"]["redrive_policy"]
        == "${jsonencode({deadLetterTargetArn = aws_sqs_queue.orders_dlq.arn, maxReceiveCount = 3})}"
    )
    allowed = found["aws_sqs_queue_redrive_allow_policy", "orders_dlq"]["redrive_allow_policy"]
    assert "[aws_sqs_queue.orders.arn, aws_sqs_queue.orders_created.arn]" in allowed
    assert found["aws_sns_topic", "news"]["fifo_topic"] is True
    assert ("aws_sns_topic", "prices") not in found
    assert found["aws_sns_topic_subscription", "prices"]["region"] == '"eu-central-1"'


def test_every_reference_leads_to_something(ship):
    """No resource, local or datum is spoken of that is not there, and no attribute of it."""
    project = ship("terraform")
    text = project[MAIN]
    module = Terraform(text)

    for kind, label, attribute in re.findall(r"(?<!data\.)\b(aws_\w+)\.(\w+)\.(\w+)", text):
        assert (kind, label) in module.resources
        assert attribute in PROVIDER["resource"][kind]["attributes"]
    for kind, label, attribute in re.findall(r"data\.(aws_\w+)\.(\w+)\.(\w+)", text):
        assert (kind, label) in module.data
        assert attribute in PROVIDER["data"][kind]["attributes"]
    locals_ = {name for block in hcl2.loads(text)["locals"] for name in block}
    assert set(re.findall(r"local\.(\w+)", text)) <= locals_
    assert "aws_iam_policy.service" in project["deploy/terraform/outputs.tf"]
    assert "var.alarm_actions" in text
    assert 'variable "alarm_actions"' in project["deploy/terraform/variables.tf"]


def test_a_plain_queue_needs_little(ship):
    """One queue, one alarm, one policy."""
    text = ship("terraform", queues=[{"name": "orders"}])[MAIN]

    module = Terraform(text)
    assert list(module.resources) == [
        ("aws_sqs_queue", "orders"),
        ("aws_cloudwatch_metric_alarm", "orders_age"),
        ("aws_iam_policy", "service"),
    ]
    assert list(module.data) == [("aws_iam_policy_document", "service")]
    assert "locals" not in text


@pytest.mark.skipif(not shutil.which("terraform"), reason="terraform is not installed")
def test_terraform_would_format_it_so(ship, tmp_path):
    """`terraform fmt` has nothing to change."""
    for path, text in ship("terraform").items():
        if path.endswith(".tf"):
            (tmp_path / path.rpartition("/")[2]).write_text(text)

    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CLI_CONFIG_FILE": os.devnull},
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_the_provider_has_an_upper_bound(ship):
    """A new major version of it may refuse the module."""
    versions = ship("terraform")["deploy/terraform/versions.tf"]

    assert 'version = "~> 6.0"' in versions
