"""The source AWS: the queues of an account and their subscriptions. It only reads."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws.addresses import find_region
from loafer_kit.local.environments import (
    ACCESS_KEY_ID,
    DEFAULT_REGION,
    SECRET_ACCESS_KEY,
    is_local,
)
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import aws_dead_letters
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import (
    ImportResult,
    Queue,
    Subscription,
    fifo_attributes,
    keys,
    last_part,
    subscription,
    whole_number,
)
from loafer_kit.scaffold.spec.fields import Field
from loafer_kit.scaffold.spec.specs import Draft

# The attributes of queues, topics, subscriptions and mappings; CloudFormation and SAM use them too.

#: The default is 1 MiB, for queues from before August 2025 256 KiB.
MESSAGE_SIZES = ("262144", "1048576")

_QUEUE_DEFAULTS = {
    "DelaySeconds": ("0",),
    "KmsDataKeyReusePeriodSeconds": ("300",),
    "MaximumMessageSize": MESSAGE_SIZES,
    "MessageRetentionPeriod": ("345600",),
    "ReceiveMessageWaitTimeSeconds": ("0",),
    "SqsManagedSseEnabled": ("true",),
    "VisibilityTimeout": ("30",),
}
# What AWS measures itself.
_MEASURED = """
    ApproximateNumberOfMessages ApproximateNumberOfMessagesDelayed
    ApproximateNumberOfMessagesNotVisible CreatedTimestamp LastModifiedTimestamp QueueArn
"""
QUEUE = keys(
    """
    ContentBasedDeduplication DeduplicationScope FifoQueue FifoThroughputLimit QueueName
    ReceiveMessageWaitTimeSeconds RedrivePolicy VisibilityTimeout
    """,
    _MEASURED,
    _QUEUE_DEFAULTS,
)
# The spec has the name of a dead-letter queue only.
DEAD_LETTER_QUEUE = keys(
    "FifoQueue QueueName",
    _MEASURED,
    {
        **_QUEUE_DEFAULTS,
        "ContentBasedDeduplication": ("false",),
        "DeduplicationScope": ("queue",),
        "FifoThroughputLimit": ("perqueue",),
    },
)
REDRIVE_POLICY = keys("deadLetterTargetArn maxReceiveCount")
# `DisplayName` is for e-mail and SMS.
TOPIC = keys(
    "FifoTopic Subscription TopicName",
    "DisplayName TopicArn",
    {
        "ContentBasedDeduplication": ("false",),
        "FifoThroughputScope": ("messagegroup",),
        "MaximumMessageSize": MESSAGE_SIZES,
        "SignatureVersion": ("1",),
        "TracingConfig": ("passthrough",),
    },
)
SUBSCRIPTION = keys(
    "Endpoint FilterPolicy FilterPolicyScope Protocol RawMessageDelivery TopicArn",
    """
    ConfirmationWasAuthenticated EffectiveDeliveryPolicy Owner PendingConfirmation SubscriptionArn
    SubscriptionPrincipal
    """,
)
# `ReportBatchItemFailures` is the only function response type; a service always settles each message
# alone.
MAPPING = keys(
    "BatchSize EventSourceArn Queue",
    "FunctionName FunctionResponseTypes",
    {"Enabled": ("true",), "MaximumBatchingWindowInSeconds": ("0",)},
)

# AWS always returns these; its defaults are left out of the spec.
_SETTINGS = {
    "ReceiveMessageWaitTimeSeconds": ("wait_time", "0"),
    "VisibilityTimeout": ("visibility_timeout", "30"),
}
_AT_ONCE = 10
_TIMEOUT = 10


def read(prefix: str, include: Collection[str] = (), endpoint_url: str | None = None) -> Draft:
    """The draft of a service for the queues whose names begin with `prefix`.

    The dead-letter queues of `include` get routes too.
    Credentials and region come from the environment. ConfigurationError if AWS refuses.
    """
    result = asyncio.run(_import(prefix, include, endpoint_url))
    return result.draft("AWS", lambda _path: None)


async def _import(prefix: str, include: Collection[str], endpoint_url: str | None) -> ImportResult:
    result = ImportResult(included=include)
    async with _client("sqs", endpoint_url) as sqs:
        attributes = await _attributes(sqs, prefix, result)
    if not attributes:
        result.problem(Node(None), f"no queue's name begins with {prefix!a}")
        return result
    queues = {name: Node(found, (name,)) for name, found in sorted(attributes.items())}
    result.queues += [_queue(result, name, node) for name, node in queues.items()]
    arns = {found.get("QueueArn", ""): name for name, found in attributes.items()}
    try:
        async with _client("sns", endpoint_url) as sns:
            async for item in _subscriptions(sns, arns, result):
                result.subscriptions.append(item)
    except ConfigurationError as error:
        result.note(Node(None), f"subscriptions to topics are unknown: {error}")
    await aws_dead_letters.add(result, arns, lambda service: _client(service, endpoint_url))
    others = result.dead_letter_queues()
    for name, node in queues.items():
        result.note_unsupported(node, DEAD_LETTER_QUEUE if name in others else QUEUE)
    for found in result.subscriptions:
        what = f"its subscription to {quoted(found.topic)}"
        result.note_unsupported(found.node, SUBSCRIPTION, what)
    return result


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


async def _attributes(
    sqs: Any, prefix: str, result: ImportResult
) -> Mapping[str, Mapping[str, str]]:
    """The attributes of each queue, by its name, without queues deleted in the meantime."""
    paginator = sqs.get_paginator("list_queues")
    pages = paginator.paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 1000})
    urls = [url async for page in pages for url in page.get("QueueUrls", [])]
    places = asyncio.Semaphore(_AT_ONCE)

    async def read_one(url: str) -> Mapping[str, str] | None:
        async with places:
            try:
                answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
                await aws_dead_letters.add_sources(result, sqs, url, urls)
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


def _queue(result: ImportResult, name: str, node: Node) -> Queue:
    settings = {
        key: whole_number(node[word])
        for word, (key, default) in _SETTINGS.items()
        if node[word].value not in (None, default)
    }
    policy = node["RedrivePolicy"].parsed
    if target := policy["deadLetterTargetArn"].text:
        settings["dead_letter_queue"] = policy.with_value(last_part(target))
        settings["max_receive_count"] = whole_number(policy["maxReceiveCount"])
    result.note_unsupported(policy, REDRIVE_POLICY)
    settings |= fifo_attributes(name, partial(_attribute, node), result)
    return Queue(name, node, settings)


async def _subscriptions(
    sns: Any, queues: Mapping[str, str], result: ImportResult
) -> AsyncIterator[Subscription]:
    """The subscriptions of the queues; `queues` maps ARNs to names.

    A subscription of any protocol may have one of the queues as its dead-letter queue.
    """
    places = asyncio.Semaphore(_AT_ONCE)

    async def attributes(item: Mapping[str, str]) -> Node:
        async with places:
            arn = item["SubscriptionArn"]
            answer = await sns.get_subscription_attributes(SubscriptionArn=arn)
        return Node(answer["Attributes"], (queues.get(item["Endpoint"], ""),))

    async for page in sns.get_paginator("list_subscriptions").paginate():
        # A subscription that waits for its confirmation has no ARN.
        items = [item for item in page["Subscriptions"] if item["SubscriptionArn"][:4] == "arn:"]
        for item, found in zip(items, await asyncio.gather(*map(attributes, items)), strict=True):
            topic = last_part(item["TopicArn"])
            target = found["RedrivePolicy"].parsed["deadLetterTargetArn"].text
            if target and target in queues:
                owner = f"the subscription of {quoted(item['Endpoint'])} to {quoted(topic)}"
                result.dead_letter(queues[target], owner)
            if item["Protocol"] == "sqs" and item["Endpoint"] in queues:
                yield Subscription(
                    topic,
                    queues[item["Endpoint"]],
                    found,
                    subscription(partial(_attribute, found), result),
                    arn=None if _is_near(item) else item["TopicArn"],
                )


def _attribute(node: Node, row: Field) -> Node:
    return node[str(row.attribute)]


def _is_near(item: Mapping[str, str]) -> bool:
    """Whether the topic of a subscription is in the queue's region and account."""
    return item["TopicArn"].split(":")[3:5] == item["Endpoint"].split(":")[3:5]
