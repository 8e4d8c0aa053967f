"""The queues of an account, read from the embedded server."""

import logging
import os
import re

import pytest

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local import LocalQueue
from loafer_kit.scaffold.sources import aws
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import SpecError


def test_queues_are_read_with_their_attributes_and_topics(local_queues):
    """Those that begin with the prefix; AWS's defaults say nothing."""
    local_queues.create(
        LocalQueue("shop-orders", dead_letter_queue="shop-orders-dlq", max_receive_count=3),
        LocalQueue("shop-news.fifo", topic="news.fifo", visibility_timeout=90),
        "shop-plain",
        "other",
    )

    draft = aws.read("shop-")

    assert draft.values["queues"] == [
        {"name": "shop-news.fifo", "kind": "sns", "topic": "news.fifo", "visibility_timeout": 90},
        {"name": "shop-orders", "dead_letter_queue": "shop-orders-dlq", "max_receive_count": 3},
        {"name": "shop-plain"},
    ]


def test_nothing_is_written(local_queues, caplog):
    """Every request is one that reads."""
    local_queues.create(LocalQueue("shop-orders", topic="orders"))

    with caplog.at_level(logging.DEBUG, logger="botocore"):
        aws.read("shop-")

    operations = set(re.findall(r"OperationModel\(name=(\w+)\)", caplog.text))
    assert operations == {
        "DescribeEventBus",
        "GetQueueAttributes",
        "GetSubscriptionAttributes",
        "ListDeadLetterSourceQueues",
        "ListEventBuses",
        "ListEventSourceMappings",
        "ListFunctions",
        "ListPipes",
        "ListQueues",
        "ListRules",
        "ListSchedules",
        "ListSubscriptions",
    }


def test_an_endpoint_can_be_named(local_queues, local_server, monkeypatch):
    """It wins over the environment's."""
    local_queues.create("shop-orders")
    for service in ("", "_SQS", "_SNS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL{service}", "http://127.0.0.1:1")

    assert aws.read("shop-", endpoint_url=local_server.url).values["queues"]


def test_a_local_server_needs_neither_region_nor_credentials(
    local_queues, local_server, monkeypatch, tmp_path
):
    """As with `doctor` and `dev`."""
    local_queues.create("shop-orders")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))

    assert aws.read("shop-", endpoint_url=local_server.url).values["queues"]


def test_a_prefix_without_queues_is_a_problem(local_queues):
    """The problem names the prefix."""
    with pytest.raises(SpecError, match="no queue's name begins with 'shop-'"):
        validation.service(aws.read("shop-"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[", ""])
def test_an_endpoint_that_does_not_answer_is_an_error_of_one_line(local_queues, monkeypatch, url):
    """Whatever botocore says, on one line."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.delenv("AWS_ENDPOINT_URL")

    with pytest.raises(ConfigurationError, match="AWS: ") as caught:
        aws.read("shop-", endpoint_url=url or "http://127.0.0.1:1")

    assert str(caught.value).isprintable()


def test_a_missing_region_is_an_error_of_one_line(local_queues, monkeypatch):
    """It says what is missing, and what to do."""
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(ConfigurationError, match=r"^AWS needs a region: set AWS_REGION$"):
        aws.read("shop-")


def test_the_region_may_stand_in_aws_region(local_queues, monkeypatch):
    """As the runtime and `loafer-kit send` read it."""
    local_queues.create("shop-orders")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    assert aws.read("shop-").values["queues"] == [{"name": "shop-orders"}]
