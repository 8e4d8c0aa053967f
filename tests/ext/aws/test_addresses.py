"""Addresses of queues and topics, and the region."""

import pytest
from botocore.session import Session

from loafer_kit.ext.aws.addresses import bare_name, find_region, region_of, topic_arn_in_account


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_an_arn_is_of_the_partition_of_the_account(partition):
    """China and GovCloud have partitions of their own."""
    identity = {"Arn": f"arn:{partition}:sts::123456789012:assumed-role/a/b", "Account": "1234"}
    assert topic_arn_in_account("t", "a-region", identity) == f"arn:{partition}:sns:a-region:1234:t"


@pytest.mark.parametrize(
    ("queue", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/orders", "cn-north-1"),
        ("https://sqs.us-gov-west-1.amazonaws.com/123456789012/orders", "us-gov-west-1"),
        ("https://sqs-fips.us-east-2.amazonaws.com/123456789012/orders", "us-east-2"),
        ("https://queue.amazonaws.com/123456789012/orders", "us-east-1"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/orders", "eu-west-1"),
        ("https://cn-north-1.queue.amazonaws.com.cn/123456789012/orders", "cn-north-1"),
        (
            "https://vpce-0a1b2c-d3e4f5.sqs.eu-west-1.vpce.amazonaws.com/123456789012/orders",
            "eu-west-1",
        ),
        (
            "https://vpce-0a1b2c-eu-west-1a.sqs.cn-north-1.vpce.amazonaws.com.cn/1/orders",
            "cn-north-1",
        ),
        ("https://sqs.eu-west-1.api.aws/123456789012/orders", "eu-west-1"),
        ("https://sqs-fips.us-gov-east-1.api.aws/123456789012/orders", "us-gov-east-1"),
        ("https://sqs.cn-north-1.api.amazonwebservices.com.cn/1/orders", "cn-north-1"),
        ("https://sqs.us-iso-east-1.c2s.ic.gov/123456789012/orders", "us-iso-east-1"),
        ("https://sqs.eusc-de-east-1.amazonaws.eu/123456789012/orders", "eusc-de-east-1"),
        ("https://sqs.EU-WEST-1.amazonaws.com/123456789012/orders", "eu-west-1"),
        ("https://sqs.eu-west-1.amazonaws.com.example.org/1/orders", None),
        ("https://sqs.eu-west-1.localhost.localstack.cloud:4566/1/orders", None),
        ("arn:aws-cn:sqs:cn-north-1:123456789012:orders", "cn-north-1"),
        ("arn:aws:sns:eu-west-3:123456789012:orders", "eu-west-3"),
        ("arn:aws:sqs:eu-west-3:123456789012:orders", "eu-west-3"),
        ("http://127.0.0.1:5000/123456789012/orders", None),
        ("orders", None),
    ],
)
def test_region_is_taken_from_the_queue(queue, region, monkeypatch):
    """An AWS URL or an ARN says where the queue is, whatever the environment says."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name, raising=False)
    assert bare_name(queue) == "orders"
    assert region_of(queue) == region


def test_an_address_does_not_decide_the_region_of_another_endpoint(monkeypatch):
    """Requests to a local server keep their region."""
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
    assert region_of(url, "http://127.0.0.1:5000") is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:5000")
    assert region_of(url) is None


PROFILE = "[default]\nregion = eu-west-3\n"


@pytest.mark.parametrize(
    ("named", "environment", "region"),
    [
        (["eu-central-1"], {"AWS_REGION": "eu-west-1"}, "eu-central-1"),
        ([None, "eu-central-2"], {"AWS_REGION": "eu-west-1"}, "eu-central-2"),
        ([], {"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ([None], {"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ([], {"AWS_DEFAULT_REGION": "eu-west-2", "AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ([], {}, "eu-west-3"),
    ],
)
def test_the_region_is_found_by_one_rule(monkeypatch, tmp_path, named, environment, region):
    """What is named counts before AWS_REGION, AWS_DEFAULT_REGION and the profile's region.

    ECS, EKS and Lambda set AWS_REGION, which botocore does not read.
    """
    (tmp_path / "config").write_text(PROFILE)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_region(Session(), *named) == region


def test_without_any_region_there_is_none(monkeypatch, tmp_path):
    """Then botocore reports that a region is missing."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert find_region(Session()) is None
