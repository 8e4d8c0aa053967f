"""Addresses of queues and topics (name, URL or ARN), and the region that requests go to.

Imports no AWS library: the scaffold uses `find_region` too.
"""

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from loafer_kit.exceptions import ConfigurationError

_ARN_PARTS = 6

_REGION = r"[a-z]{2,}(?:-[a-z]+)+-\d+"

#: The hosts of SQS on AWS: standard and FIPS, VPC endpoints, dual-stack, and the old form with the
#: region in front; in all partitions.
_SQS_HOST = re.compile(
    rf"(?:(?:(?:[\w-]+\.)?sqs(?:-fips)?\.(?P<region>{_REGION})(?:\.vpce)?)"
    rf"|(?:(?P<legacy>{_REGION})\.queue))"
    r"\.(?:amazonaws\.(?:com|com\.cn|eu)|api\.aws|api\.amazonwebservices\.(?:com\.cn|eu)"
    r"|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
)


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
    if not is_url(address):
        return None
    host = urlsplit(address).hostname or ""
    if host == "queue.amazonaws.com":  # the oldest name of the oldest region
        return "us-east-1"
    match = _SQS_HOST.fullmatch(host)
    return match and (match["region"] or match["legacy"])
