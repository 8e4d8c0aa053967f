"""How a queue is called: by name, URL or ARN."""

from typing import Any
from urllib.parse import urlsplit

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws import errors
from loafer_kit.ext.aws.clients import Clients

_ARN_PARTS = 6


def is_url(queue: str) -> bool:
    """Tell whether a queue is given by its URL."""
    return queue.startswith(("http://", "https://"))


def bare_name(queue: str) -> str:
    """Return the name of a queue that is given by name, URL or ARN."""
    if is_url(queue):
        return queue.rstrip("/").rpartition("/")[2]
    return queue.rpartition(":")[2]


def is_fifo(queue: str) -> bool:
    """Tell whether a queue keeps the order of its messages."""
    return queue.endswith(".fifo")


def region_of(queue: str) -> str | None:
    """Return the region that an AWS queue URL or an ARN names."""
    if queue.startswith("arn:"):
        return queue.split(":")[3] or None
    labels = (urlsplit(queue).hostname or "").split(".") if is_url(queue) else []
    # sqs.eu-west-1.amazonaws.com, sqs.cn-north-1.amazonaws.com.cn
    if len(labels) > 3 and labels[0] == "sqs" and labels[2] == "amazonaws":  # noqa: PLR2004
        return labels[1]
    return None


async def queue_url(clients: Clients, queue: str) -> str:
    """Return the URL of a queue; only a name or an ARN costs a request.

    Raises `ProviderError` when there is no such queue, or no way to ask.
    """
    if is_url(queue):
        return queue
    subject = errors.queue_subject(queue)
    parameters: dict[str, Any] = {"QueueName": queue}
    if queue.startswith("arn:"):
        parts = queue.split(":")
        if len(parts) != _ARN_PARTS or parts[2] != "sqs":
            raise ConfigurationError(f"{queue!r} is no ARN of a queue.")
        parameters = {"QueueName": parts[5], "QueueOwnerAWSAccountId": parts[4]}
        subject = errors.queue_subject(parts[5])
    try:
        client = await clients.client()
        answer = await client.get_queue_url(**parameters)
    except errors.REQUEST_ERRORS as exc:
        raise errors.from_exception(exc, action="GetQueueUrl", subject=subject) from exc
    return str(answer["QueueUrl"])
