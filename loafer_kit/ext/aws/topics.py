"""How a topic is called: by name or ARN."""

from collections.abc import Mapping

from loafer_kit.ext.aws import errors
from loafer_kit.ext.aws.clients import Clients


def topic_subject(topic: str) -> str:
    """Return how an error names a topic that is given by name or ARN."""
    return f"Topic {topic.rpartition(':')[2]!r}"


def is_arn(topic: str) -> bool:
    """Tell whether a topic is given by its ARN."""
    return topic.startswith("arn:")


def arn_in_account(topic: str, region: str, identity: Mapping[str, str]) -> str:
    """Return the ARN of the topic with this name; `identity` is what GetCallerIdentity gives."""
    partition = identity["Arn"].split(":")[1]
    return f"arn:{partition}:sns:{region}:{identity['Account']}:{topic}"


async def topic_arn(clients: Clients, topic: str) -> str:
    """Return the ARN of a topic; a name costs a request.

    A name means a topic of the caller's own account in the client's region. The account is asked of
    STS, which needs no permission; looking the topic up in SNS would need one more, and creating it
    (which finds it, too) would turn a misspelt name into a topic. Raises `ProviderError`.
    """
    if is_arn(topic):
        return topic
    try:
        region = (await clients.client("sns")).meta.region_name
        identity = await (await clients.client("sts")).get_caller_identity()
    except errors.REQUEST_ERRORS as exc:
        subject = f"{topic_subject(topic)} (given by its ARN, it needs no STS)"
        raise errors.from_exception(exc, action="sts:GetCallerIdentity", subject=subject) from exc
    return arn_in_account(topic, region, identity)
