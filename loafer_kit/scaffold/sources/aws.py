"""The source AWS: the queues of an account, their subscriptions and dead-letter queues. It only reads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws.addresses import find_region
from loafer_kit.local.servers import (
    ACCESS_KEY_ID,
    DEFAULT_REGION,
    SECRET_ACCESS_KEY,
    is_local,
)
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import cloudformation
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import (
    ImportResult,
    Subscription,
    fifo,
    last_part,
    subscription,
    whole_number,
)
from loafer_kit.scaffold.spec.fields import Field
from loafer_kit.scaffold.spec.specs import Draft

# AWS always returns these; its defaults are left out of the spec.
_SETTINGS = {
    "ReceiveMessageWaitTimeSeconds": ("wait_time", "0"),
    "VisibilityTimeout": ("visibility_timeout", "30"),
}
_AT_ONCE = 10
_TIMEOUT = 10

# A description of what names dead-letter targets, and the answer that has them.
_Owners = AsyncIterator[tuple[str, object]]


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
    for name, node in queues.items():
        _queue(result, name, node)
    arns = {found.get("QueueArn", ""): name for name, found in attributes.items()}
    try:
        async with _client("sns", endpoint_url) as sns:
            await _add_subscriptions(result, arns, sns)
    except ConfigurationError as error:
        result.note(Node(None), f"subscriptions to topics are unknown: {error}")
    await _add_dead_letters(result, arns, endpoint_url)
    others = result.dead_letter_queues()
    for name, node in queues.items():
        result.note_unsupported(
            node,
            cloudformation.DEAD_LETTER_QUEUE_KEYS if name in others else cloudformation.QUEUE_KEYS,
        )
    for found in result.subscriptions:
        what = f"its subscription to {quoted(found.topic)}"
        result.note_unsupported(found.node, cloudformation.SUBSCRIPTION_KEYS, what)
    return result


@asynccontextmanager
async def _client(service: str, endpoint_url: str | None) -> AsyncIterator[Any]:
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
    request = {"QueueNamePrefix": prefix, "PaginationConfig": {"PageSize": 1000}}
    urls = [url async for url in _listed(sqs, "list_queues", "QueueUrls", **request)]
    places = asyncio.Semaphore(_AT_ONCE)

    async def read_one(url: str) -> Mapping[str, str] | None:
        async with places:
            try:
                answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
                await _add_sources(result, sqs, url, urls)
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


def _queue(result: ImportResult, name: str, node: Node) -> None:
    settings = {
        key: whole_number(node[word])
        for word, (key, default) in _SETTINGS.items()
        if node[word].value not in (None, default)
    }
    policy = node["RedrivePolicy"].parsed
    if target := policy["deadLetterTargetArn"].text:
        settings["dead_letter_queue"] = policy.with_value(last_part(target))
        settings["max_receive_count"] = whole_number(policy["maxReceiveCount"])
    result.note_unsupported(policy, cloudformation.REDRIVE_POLICY_KEYS)
    settings |= fifo(name, node["FifoQueue"], partial(_attribute, node), result)
    result.queue(name, node, settings)


async def _add_subscriptions(result: ImportResult, queues: Mapping[str, str], sns: Any) -> None:
    """Add the subscriptions of `queues`, which maps ARNs to names.

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
                settings = subscription(partial(_attribute, found), result)
                arn = None if _is_near(item) else item["TopicArn"]
                queue = queues[item["Endpoint"]]
                result.subscriptions.append(Subscription(topic, queue, found, settings, arn))


def _attribute(node: Node, row: Field) -> Node:
    return node[str(row.attribute)]


def _is_near(item: Mapping[str, str]) -> bool:
    """Whether the topic of a subscription is in the queue's region and account."""
    return item["TopicArn"].split(":")[3:5] == item["Endpoint"].split(":")[3:5]


async def _add_dead_letters(
    result: ImportResult, queues: Mapping[str, str], endpoint_url: str | None
) -> None:
    """Add the dead-letter queues among `queues`, which maps ARNs to names, to the result.

    What AWS does not answer becomes a note.
    """

    async def ask(service: str) -> str | None:
        try:
            async with _client(service, endpoint_url) as client:
                async for owner, answer in _SERVICES[service](client):
                    result.dead_letters_of(owner, answer, queues.get)
        except ConfigurationError as error:
            return str(error)
        return None

    answers = await asyncio.gather(*map(ask, _SERVICES))
    errors = {name: error for name, error in zip(_SERVICES, answers, strict=True) if error}
    if errors:
        what = f"the dead-letter queues of {', '.join(errors)} are unknown"
        result.note(Node(None), f"{what}: {next(iter(errors.values()))}")


async def _add_sources(result: ImportResult, sqs: Any, url: str, urls: Collection[str]) -> None:
    """Add a queue that is the dead-letter queue of others than the queues of `urls`."""
    async for source in _listed(sqs, "list_dead_letter_source_queues", "queueUrls", QueueUrl=url):
        if source not in urls:
            result.dead_letter(last_part(url), f"the queue {quoted(last_part(source))}")


async def _listed(client: Any, operation: str, key: str, **request: Any) -> AsyncIterator[Any]:
    """The items of all pages of a list."""
    if client.can_paginate(operation):
        async for page in client.get_paginator(operation).paginate(**request):
            for item in page.get(key, []):
                yield item
        return
    while True:
        answer = await getattr(client, operation)(**request)
        for item in answer.get(key, []):
            yield item
        if not answer.get("NextToken"):
            return
        request["NextToken"] = answer["NextToken"]


async def _lambda(client: Any) -> _Owners:
    async for function in _listed(client, "list_functions", "Functions"):
        name = function["FunctionName"]
        owner = f"the function {quoted(name)}"
        yield owner, function
        listed = "list_function_event_invoke_configs"
        async for item in _listed(client, listed, "FunctionEventInvokeConfigs", FunctionName=name):
            yield owner, item
    async for mapping in _listed(client, "list_event_source_mappings", "EventSourceMappings"):
        yield f"the event source mapping {quoted(mapping['UUID'])}", mapping


async def _events(client: Any) -> _Owners:
    async for item in _listed(client, "list_event_buses", "EventBuses"):
        bus = item["Name"]
        yield f"the event bus {quoted(bus)}", await client.describe_event_bus(Name=bus)
        async for rule in _listed(client, "list_rules", "Rules", EventBusName=bus):
            request = {"EventBusName": bus, "Rule": rule["Name"]}
            async for target in _listed(client, "list_targets_by_rule", "Targets", **request):
                yield f"the rule {quoted(rule['Name'])}", target


async def _scheduler(client: Any) -> _Owners:
    async for item in _listed(client, "list_schedules", "Schedules"):
        found = await client.get_schedule(Name=item["Name"], GroupName=item["GroupName"])
        yield f"the schedule {quoted(item['Name'])}", found


async def _pipes(client: Any) -> _Owners:
    async for item in _listed(client, "list_pipes", "Pipes"):
        yield f"the pipe {quoted(item['Name'])}", await client.describe_pipe(Name=item["Name"])


_SERVICES: Mapping[str, Callable[[Any], _Owners]] = {
    "lambda": _lambda,
    "events": _events,
    "scheduler": _scheduler,
    "pipes": _pipes,
}
