"""A service under test, and the checks that hold after any fault."""

import asyncio
import contextlib
from pathlib import Path

import loafer_kit
from loafer_kit.dispatchers import LoaferDispatcher
from loafer_kit.ext.aws.routes import SQSRoute

CLIENT = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}


def route(proxy, queue, handler, **options):
    """A route through the proxy, with short polls; records every call of the handler."""

    async def noted(message, metadata):
        proxy.handled(metadata["MessageId"])
        return await handler(message, metadata)

    return plain_route(proxy, queue, noted, **options)


def plain_route(proxy, queue, handler, **options):
    """A route through the proxy, with short polls and the handler as it is."""
    provider_options = {**CLIENT, "endpoint_url": proxy.url, "options": {"WaitTimeSeconds": 1}}
    return SQSRoute(queue, provider_options, handler=handler, **options)


@contextlib.asynccontextmanager
async def running(*routes, **options):
    """Run the routes until the block ends, and check that they stop and leak no tasks."""
    before = asyncio.all_tasks()
    dispatcher = LoaferDispatcher(routes, **options)
    task = asyncio.create_task(dispatcher.dispatch_providers())
    try:
        yield dispatcher
        assert not task.done(), task.exception()
    finally:
        dispatcher.stop()
        await asyncio.wait_for(task, 30)
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() - before if _is_ours(task)]


def _is_ours(task):
    """Tell a task of loafer_kit from one of the proxy's connections."""
    return task.get_coro().cr_code.co_filename.startswith(str(Path(loafer_kit.__file__).parent))


async def until(condition, seconds=20):
    """Wait for a condition that depends on other tasks or on a server.

    Each look at a queue costs the server more than the service under test does.
    """
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - it happens in a server
            await asyncio.sleep(0.1)


def check_nothing_handled_after_delete(proxy):
    """A message whose delete succeeded never reaches a handler again."""
    deleted = set()
    for event, message in proxy.events:
        if event == "deleted":
            deleted.add(message)
        elif event == "handled":
            assert message not in deleted
