"""Asks AWS what sends its dead letters to a queue: functions, rules, schedules, pipes, buses, queues."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import dead_letters
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import ImportResult, last_part

# A description of what names dead-letter targets, and the answer that holds them.
_Found = AsyncIterator[tuple[str, object]]
Connect = Callable[[str], AbstractAsyncContextManager[Any]]


async def add(result: ImportResult, queues: Mapping[str, str], connect: Connect) -> None:
    """Add the dead-letter queues among `queues`, which maps ARNs to names, to the result.

    What AWS does not answer becomes a note.
    """

    async def ask(service: str) -> str | None:
        try:
            async with connect(service) as client:
                async for owner, answer in _SERVICES[service](client):
                    for place in dead_letters.places(answer):
                        for text in dead_letters.texts(place):
                            if text in queues:
                                result.dead_letter(queues[text], owner)
        except ConfigurationError as error:
            return str(error)
        return None

    errors = dict(
        zip(_SERVICES, await asyncio.gather(*(ask(name) for name in _SERVICES)), strict=True)
    )
    unknown = [service for service, error in errors.items() if error]
    if unknown:
        what = f"the dead-letter queues of {', '.join(unknown)} are unknown"
        result.note(Node(None), f"{what}: {errors[unknown[0]]}")


async def add_sources(result: ImportResult, sqs: Any, url: str, urls: Collection[str]) -> None:
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


async def _lambda(client: Any) -> _Found:
    async for function in _listed(client, "list_functions", "Functions"):
        name = function["FunctionName"]
        owner = f"the function {quoted(name)}"
        yield owner, function
        listed = "list_function_event_invoke_configs"
        async for item in _listed(client, listed, "FunctionEventInvokeConfigs", FunctionName=name):
            yield owner, item
    async for mapping in _listed(client, "list_event_source_mappings", "EventSourceMappings"):
        yield f"the event source mapping {quoted(mapping['UUID'])}", mapping


async def _events(client: Any) -> _Found:
    async for item in _listed(client, "list_event_buses", "EventBuses"):
        bus = item["Name"]
        yield f"the event bus {quoted(bus)}", await client.describe_event_bus(Name=bus)
        async for rule in _listed(client, "list_rules", "Rules", EventBusName=bus):
            request = {"EventBusName": bus, "Rule": rule["Name"]}
            async for target in _listed(client, "list_targets_by_rule", "Targets", **request):
                yield f"the rule {quoted(rule['Name'])}", target


async def _scheduler(client: Any) -> _Found:
    async for item in _listed(client, "list_schedules", "Schedules"):
        found = await client.get_schedule(Name=item["Name"], GroupName=item["GroupName"])
        yield f"the schedule {quoted(item['Name'])}", found


async def _pipes(client: Any) -> _Found:
    async for item in _listed(client, "list_pipes", "Pipes"):
        yield f"the pipe {quoted(item['Name'])}", await client.describe_pipe(Name=item["Name"])


_SERVICES: Mapping[str, Callable[[Any], _Found]] = {
    "lambda": _lambda,
    "events": _events,
    "scheduler": _scheduler,
    "pipes": _pipes,
}
