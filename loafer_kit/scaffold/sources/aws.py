"""The source AWS: the queues of an account, as they are. Everything here reads, nothing writes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws.addresses import find_region
from loafer_kit.local.environments import (
    ACCESS_KEY_ID,
    DEFAULT_REGION,
    SECRET_ACCESS_KEY,
    is_local,
)
from loafer_kit.scaffold.sources import aws_keys
from loafer_kit.scaffold.sources.findings import (
    ImportResult,
    Queue,
    Subscription,
    last_part,
    whole_number,
)
from loafer_kit.scaffold.sources.nodes import Node
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.drafts import Draft

# AWS always answers with these; its defaults say nothing.
_SETTINGS = {
    "ReceiveMessageWaitTimeSeconds": ("wait_time", "0"),
    "VisibilityTimeout": ("visibility_timeout", "30"),
}
_AT_ONCE = 10
_TIMEOUT = 10


def read(prefix: str, endpoint_url: str | None = None) -> Draft:
    """The draft of a service for the queues whose names begin with `prefix`.

    Credentials and region are those of the environment; ConfigurationError when AWS refuses.
    """
    findings = asyncio.run(_findings(prefix, endpoint_url))
    return findings.draft("AWS", lambda _path: None)


async def _findings(prefix: str, endpoint_url: str | None) -> ImportResult:
    findings = ImportResult()
    async with _client("sqs", endpoint_url) as sqs:
        attributes = await _attributes(sqs, prefix)
    queues = {name: Node(found, (name,)) for name, found in sorted(attributes.items())}
    findings.queues += [_queue(findings, name, node) for name, node in queues.items()]
    others = findings.dead_letter_queues()
    for name, node in queues.items():
        keys = aws_keys.DEAD_LETTER_QUEUE if name in others else aws_keys.QUEUE
        findings.left_out(node, keys)
    if attributes:
        arns = {found.get("QueueArn", ""): name for name, found in attributes.items()}
        try:
            async with _client("sns", endpoint_url) as sns:
                findings.subscriptions += [item async for item in _subscriptions(sns, arns)]
        except ConfigurationError as error:
            findings.note(Node(None), f"subscriptions to topics are not known: {error}")
        for subscription in findings.subscriptions:
            what = f"its subscription to {names.shown(subscription.topic)}"
            findings.left_out(subscription.node, aws_keys.SUBSCRIPTION, what)
    else:
        findings.problem(Node(None), f"no queue's name begins with {prefix!a}")
    return findings


@asynccontextmanager
async def _client(service: str, endpoint_url: str | None) -> AsyncIterator[Any]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session
    from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

    config = AioConfig(connect_timeout=_TIMEOUT, read_timeout=_TIMEOUT)
    try:
        session = get_session()
        region = find_region(session)
        if is_local(endpoint_url):
            region = region or DEFAULT_REGION
            if await session.get_credentials() is None:
                session.set_credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
        async with session.create_client(
            service, region_name=region, endpoint_url=endpoint_url, config=config
        ) as client:
            yield client
    except NoRegionError as error:
        raise ConfigurationError("AWS needs a region: set AWS_REGION") from error
    except (BotoCoreError, ClientError, ValueError) as error:
        raise ConfigurationError(f"AWS: {' '.join(str(error).split())}") from error


async def _attributes(sqs: Any, prefix: str) -> Mapping[str, Mapping[str, str]]:
    """The attributes of each queue, by its name; a queue that is gone meanwhile is left out."""
    paginator = sqs.get_paginator("list_queues")
    pages = paginator.paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 1000})
    urls = [url async for page in pages for url in page.get("QueueUrls", [])]
    places = asyncio.Semaphore(_AT_ONCE)

    async def read_one(url: str) -> Mapping[str, str] | None:
        async with places:
            try:
                answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
            except sqs.exceptions.QueueDoesNotExist:
                return None
        found: Mapping[str, str] = answer["Attributes"]
        return found

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {url: group.create_task(read_one(url)) for url in urls}
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return {last_part(url): found for url, task in tasks.items() if (found := task.result())}


def _queue(findings: ImportResult, name: str, node: Node) -> Queue:
    settings = {
        key: whole_number(node[word])
        for word, (key, default) in _SETTINGS.items()
        if node[word].value not in (None, default)
    }
    policy = node["RedrivePolicy"].parsed
    if target := policy["deadLetterTargetArn"].text:
        settings["dead_letter_queue"] = policy.with_value(last_part(target))
        settings["max_receive_count"] = whole_number(policy["maxReceiveCount"])
    findings.left_out(policy, aws_keys.REDRIVE_POLICY)
    return Queue(name, node, settings)


async def _subscriptions(sns: Any, queues: Mapping[str, str]) -> AsyncIterator[Subscription]:
    """The subscriptions of the queues, which are given by their ARNs."""
    async for page in sns.get_paginator("list_subscriptions").paginate():
        for item in page["Subscriptions"]:
            if item["Protocol"] != "sqs" or item["Endpoint"] not in queues:
                continue
            answer = await sns.get_subscription_attributes(SubscriptionArn=item["SubscriptionArn"])
            name = queues[item["Endpoint"]]
            found = Node(answer["Attributes"], (name,))
            raw = found["RawMessageDelivery"].value == "true"
            yield Subscription(last_part(item["TopicArn"]), name, found, raw)
