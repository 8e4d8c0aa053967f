"""The options of a queue, and what may go wrong between them and its attributes."""

import json

import pytest
from botocore.config import Config

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws import options as queue_options
from loafer_kit.ext.aws.options import SQSOptions
from loafer_kit.ext.aws.providers import SQSProvider


@pytest.mark.parametrize(
    ("options", "keywords", "message"),
    [
        ({}, {"visibility_timeot": 3}, "Did you mean 'visibility_timeout'?"),
        ({}, {"regionname": "x"}, "Did you mean 'region_name'?"),
        ({}, {"visibility_timeout": 0}, "visibility_timeout must be a whole number of at least 1"),
        ({}, {"visibility_timeout": 43_201}, "visibility_timeout must be at most 43200"),
        ({}, {"max_receivers": 0}, "max_receivers must be a whole number of at least 1"),
        ({}, {"linger": -1}, "linger must be a number of at least 0"),
        ({}, {"max_processing_time": 0}, "max_processing_time must be a number greater than 0"),
        ({}, {"dead_letter_queue": ""}, "dead_letter_queue must be a name"),
        ("http://here", {}, "options must be a dict of parameters of ReceiveMessage"),
        ({"WaitTimeSecond": 3}, {}, "Did you mean 'WaitTimeSeconds'?"),
        ({"WaitTimeSeconds": 21}, {}, "WaitTimeSeconds must be at most 20"),
        ({"WaitTimeSeconds": "3"}, {}, "WaitTimeSeconds must be a whole number"),
        ({"MaxNumberOfMessages": 11}, {}, "MaxNumberOfMessages must be at most 10"),
        ({"MaxNumberOfMessages": 0}, {}, "MaxNumberOfMessages must be a whole number"),
        ({"VisibilityTimeout": 3}, {"visibility_timeout": 4}, "keep one of them"),
        ({}, {"config": Config(read_timeout=20)}, "read_timeout of 20 s cuts off long polls"),
    ],
)
def test_what_cannot_work_is_one_line_that_names_the_queue(options, keywords, message):
    """A wrong option is refused when the provider is made."""
    with pytest.raises(ConfigurationError) as caught:
        SQSProvider("orders", options, **keywords)
    assert message in str(caught.value)
    assert "'orders'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_defaults_are_the_cheapest():
    """Ten messages a time, the longest poll, all attributes."""
    parameters = SQSProvider("orders")._receive_parameters
    assert parameters == {
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 20,
        "MessageAttributeNames": ["All"],
        "MessageSystemAttributeNames": ["All"],
    }


def test_options_reach_receive_message():
    """What the user sets is what is asked for; the attributes the engine lives on are added."""
    provider = SQSProvider(
        "orders",
        {
            "MaxNumberOfMessages": 5,
            "WaitTimeSeconds": 3,
            "VisibilityTimeout": 40,
            "AttributeNames": ["SentTimestamp"],
            "MessageAttributeNames": ["kind"],
        },
    )
    assert provider._receive_parameters == {
        "MaxNumberOfMessages": 5,
        "WaitTimeSeconds": 3,
        "VisibilityTimeout": 40,
        "MessageAttributeNames": ["kind"],
        "MessageSystemAttributeNames": [
            "ApproximateReceiveCount",
            "MessageGroupId",
            "SentTimestamp",
        ],
    }
    assert provider.settings.visibility_timeout == 40
    assert provider.batch_size == 5


# The attributes of the queue


HEALTHY = {
    "VisibilityTimeout": "30",
    "ApproximateNumberOfMessagesNotVisible": "7",
    "RedrivePolicy": json.dumps(
        {"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:dead", "maxReceiveCount": 5}
    ),
}


def test_healthy_queue_gives_no_warning():
    """Defaults on a queue with a redrive policy are fine."""
    assert queue_options.queue_warnings(HEALTHY, SQSOptions(), None) == []
    assert queue_options.redrive_target(HEALTHY) == "arn:aws:sqs:eu-west-1:1:dead"


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
    assert queue_options.visibility_timeout(attributes, options) == expected


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
    found = queue_options.queue_warnings(
        HEALTHY | attributes, SQSOptions(**options), handler_timeout
    )
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
    found = queue_options.queue_warnings(redriven_after(count), SQSOptions(), None, prefetch)
    assert len(found) == (advice is not None)
    assert all(text.endswith(f"; {advice}") for text in found)


def test_the_receives_of_a_queue():
    """SQS answers a number or a text; none without a redrive policy."""
    assert queue_options.max_receive_count(redriven_after("7")) == 7
    assert queue_options.max_receive_count({}) is None
    assert (
        queue_options.max_receive_count({"RedrivePolicy": '{"deadLetterTargetArn": "x"}'}) is None
    )
