"""The start-up check of a queue."""

import json

import pytest

from loafer_kit.ext.aws import checks
from loafer_kit.ext.aws.options import SQSOptions

HEALTHY = {
    "VisibilityTimeout": "30",
    "ApproximateNumberOfMessagesNotVisible": "7",
    "RedrivePolicy": json.dumps(
        {"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:dead", "maxReceiveCount": 5}
    ),
}


def test_healthy_queue_gives_no_warning():
    """Defaults on a queue with a redrive policy are fine."""
    assert checks.warnings(HEALTHY, SQSOptions(), None) == []
    assert checks.redrive_target(HEALTHY) == "arn:aws:sqs:eu-west-1:1:dead"


@pytest.mark.parametrize(
    ("attributes", "option", "expected"),
    [
        ({}, None, 30),
        ({"VisibilityTimeout": "0"}, None, 30),
        ({"VisibilityTimeout": "0"}, 5, 5),
        ({"VisibilityTimeout": "7"}, None, 7),
        ({"VisibilityTimeout": "7"}, 60, 60),
    ],
)
def test_visibility_timeout_of_the_receives(attributes, option, expected):
    """The option, the queue's own, or SQS's default: never 0."""
    options = SQSOptions(visibility_timeout=option)
    assert checks.visibility_timeout(attributes, options) == expected


@pytest.mark.parametrize(
    ("attributes", "options", "handler_timeout", "advice"),
    [
        ({"VisibilityTimeout": "10"}, {}, None, "read timeout of 25 s"),
        ({}, {"visibility_timeout": 5}, None, "visibility timeout of 5 s"),
        ({"VisibilityTimeout": "0"}, {}, None, "receives set 30 s instead"),
        ({"RedrivePolicy": ""}, {}, None, "give the queue a dead-letter queue"),
        ({}, {"heartbeat": False}, 60, "raise visibility_timeout or set heartbeat=True"),
        ({}, {"max_processing_time": 50}, 60, "raise max_processing_time"),
        (
            {"ApproximateNumberOfMessagesNotVisible": "120000"},
            {},
            None,
            "look for consumers that neither finish nor fail",
        ),
    ],
)
def test_each_doubt_is_one_warning_that_says_what_to_do(
    attributes, options, handler_timeout, advice
):
    """One finding, one line, with the way out."""
    found = checks.warnings(HEALTHY | attributes, SQSOptions(**options), handler_timeout)
    assert len(found) == 1
    assert advice in found[0]
    assert "\n" not in found[0]


def redriven_after(count):
    policy = {"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:dead", "maxReceiveCount": count}
    return HEALTHY | {"RedrivePolicy": json.dumps(policy)}


@pytest.mark.parametrize(
    ("count", "prefetch", "advice"),
    [
        (3, 100, "raise maxReceiveCount or leave prefetch out"),
        ("3", 1, "raise maxReceiveCount or leave prefetch out"),
        (1, None, "raise maxReceiveCount to 3 or more"),
        (3, None, None),
        (3, 0, None),
        (10, 100, None),
    ],
)
def test_few_receives_are_no_match_for_a_prefetch(count, prefetch, advice):
    """Each stop uses up a receive of what was fetched and not started."""
    found = checks.warnings(redriven_after(count), SQSOptions(), None, prefetch)
    assert len(found) == (advice is not None)
    assert all(text.endswith(f"; {advice}") for text in found)


def test_the_receives_of_a_queue():
    """SQS answers a number or a text; none without a redrive policy."""
    assert checks.max_receive_count(redriven_after("7")) == 7
    assert checks.max_receive_count({}) is None
    assert checks.max_receive_count({"RedrivePolicy": '{"deadLetterTargetArn": "x"}'}) is None
