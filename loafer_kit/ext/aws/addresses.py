"""Addresses of queues and topics (name, URL or ARN), and the region that requests go to.

Imports no AWS library: the scaffold uses `find_region` too.
"""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from loafer_kit.exceptions import ConfigurationError

_ARN_PARTS = 6


def is_url(address: str) -> bool:
    """Return whether a queue is given by its URL."""
    return address.startswith(("http://", "https://"))


def is_arn(address: str) -> bool:
    """Return whether a queue or a topic is given by its ARN."""
    return address.startswith("arn:")


def bare_name(address: str) -> str:
    """Return the name of a queue or a topic that is given by name, URL or ARN."""
    if is_url(address):
        return address.rstrip("/").rpartition("/")[2]
    return address.rpartition(":")[2]


def is_fifo(queue: str) -> bool:
    """Return whether a queue, given by name, URL or ARN, is a FIFO queue: AWS demands the suffix."""
    return queue.endswith(".fifo")


def queue_parameters(queue: str) -> dict[str, str]:
    """Return the parameters of GetQueueUrl for a name or an ARN."""
    if not is_arn(queue):
        return {"QueueName": queue}
    parts = queue.split(":")
    if len(parts) != _ARN_PARTS or parts[2] != "sqs":
        raise ConfigurationError(f"{queue!r} is not the ARN of a queue.")
    return {"QueueName": parts[5], "QueueOwnerAWSAccountId": parts[4]}


def topic_arn_in_account(topic: str, region: str, identity: Mapping[str, str]) -> str:
    """Return the ARN of the topic with this name; `identity` is the answer to GetCallerIdentity."""
    partition = identity["Arn"].split(":")[1]
    return f"arn:{partition}:sns:{region}:{identity['Account']}:{topic}"


def find_region(session: Any, *named: str | None) -> str | None:
    """Return the region for requests, by the one rule of this package. The first that is set wins:

    1. `named`: the option `region_name`, then the region in a URL or an ARN (`region_of`),
    2. AWS_REGION, which ECS, EKS and Lambda set and AWS's other SDKs read, but botocore does not,
    3. what the botocore `session` knows: AWS_DEFAULT_REGION, then the profile's region.
    """
    region = next(filter(None, named), None) or os.environ.get("AWS_REGION")
    return region or session.get_config_variable("region") or None


def region_of(address: str, endpoint_url: str | None = None, service: str = "sqs") -> str | None:
    """Return the region that the URL of a queue on AWS or an ARN names.

    None if requests go to another endpoint: a local server keeps the queues of each region apart,
    so the address must not decide there.
    """
    variables = (f"AWS_ENDPOINT_URL_{service.upper()}", "AWS_ENDPOINT_URL")
    if endpoint_url or any(map(os.environ.get, variables)):
        return None
    if is_arn(address):
        return address.split(":")[3] or None
    labels = (urlsplit(address).hostname or "").split(".") if is_url(address) else []
    # sqs.eu-west-1.amazonaws.com, sqs.cn-north-1.amazonaws.com.cn
    if len(labels) > 3 and labels[0] == "sqs" and labels[2] == "amazonaws":  # noqa: PLR2004
        return labels[1]
    return None
