"""The Terraform module: it parses, is formatted, and says only what the provider knows."""

import os
import re
import shutil
import subprocess

import hcl2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.shipping import hcl

MAIN = "deploy/terraform/main.tf"

# What the provider (hashicorp/aws 6) requires, and what else of it the templates use.
ARGUMENTS = {
    "aws_sqs_queue": (
        set(),
        {"name", "fifo_queue", "visibility_timeout_seconds", "message_retention_seconds"},
    ),
    "aws_sqs_queue_policy": ({"queue_url", "policy"}, set()),
    "aws_sqs_queue_redrive_policy": ({"queue_url", "redrive_policy"}, set()),
    "aws_sqs_queue_redrive_allow_policy": ({"queue_url", "redrive_allow_policy"}, set()),
    "aws_sns_topic": (set(), {"name", "fifo_topic"}),
    "aws_sns_topic_subscription": ({"endpoint", "protocol", "topic_arn"}, {"region"}),
    "aws_cloudwatch_metric_alarm": (
        {"alarm_name", "comparison_operator", "evaluation_periods"},
        {
            "alarm_actions",
            "alarm_description",
            "dimensions",
            "metric_name",
            "namespace",
            "period",
            "statistic",
            "threshold",
            "treat_missing_data",
        },
    ),
    "aws_iam_policy": ({"policy"}, {"name_prefix"}),
}


def blocks(text, kind):
    """The module's blocks of one kind: (type, label) → its arguments."""
    found = {}
    for block in hcl2.loads(text).get(kind, []):
        ((type_, labelled),) = block.items()
        ((label, body),) = labelled.items()
        arguments = {name: value for name, value in body.items() if not name.startswith("__")}
        found[type_.strip('"'), label.strip('"')] = arguments
    return found


def test_resources_have_the_arguments_that_the_provider_knows(ship):
    """Those that it requires, and no others than these."""
    for (kind, _), arguments in blocks(ship("terraform")[MAIN], "resource").items():
        required, optional = ARGUMENTS[kind]
        assert required <= set(arguments) <= required | optional


def test_the_module_says_what_the_spec_says(ship):
    """Queues, redrive both ways, topics and subscriptions, one by one."""
    found = blocks(ship("terraform")[MAIN], "resource")

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
    """No resource, local or datum is spoken of that is not there."""
    project = ship("terraform")
    text = project[MAIN]
    resources = blocks(text, "resource")
    data = blocks(text, "data")

    for kind, label in re.findall(r"(?<!data\.)\b(aws_\w+)\.(\w+)\.\w+", text):
        assert (kind, label) in resources
    for kind, label in re.findall(r"data\.(aws_\w+)\.(\w+)", text):
        assert (kind, label) in data
    locals_ = {name for block in hcl2.loads(text)["locals"] for name in block}
    assert set(re.findall(r"local\.(\w+)", text)) <= locals_
    assert "aws_iam_policy.service" in project["deploy/terraform/outputs.tf"]
    assert "var.alarm_actions" in text
    assert 'variable "alarm_actions"' in project["deploy/terraform/variables.tf"]


def test_a_plain_queue_needs_little(ship):
    """One queue, one alarm, one policy."""
    text = ship("terraform", queues=[{"name": "orders"}])[MAIN]

    assert list(blocks(text, "resource")) == [
        ("aws_sqs_queue", "orders"),
        ("aws_cloudwatch_metric_alarm", "orders_age"),
        ("aws_iam_policy", "service"),
    ]
    assert list(blocks(text, "data")) == [("aws_iam_policy_document", "service")]
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


def test_equals_signs_of_neighbours_are_aligned():
    """Those of lines that end what they assign; a value of several lines stands alone."""
    text = 'a = 1\nlong = "=(" # x\nb = [\n  c = 2\n]\nd = {}\n\ne = 3\n'

    assert hcl.align(text) == 'a    = 1\nlong = "=(" # x\nb = [\n  c = 2\n]\nd = {}\n\ne = 3\n'


@given(st.text(st.characters(codec="ascii")))
def test_aligning_changes_spaces_only(text):
    """And nothing at all the second time."""
    aligned = hcl.align(text)

    assert aligned.replace(" ", "") == text.replace(" ", "")
    assert hcl.align(aligned) == aligned
