"""The options of a queue."""

import pytest
from botocore.config import Config

from loafer_kit.exceptions import ConfigurationError
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
