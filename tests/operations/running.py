"""A manager that runs beside a test, and what the test waits for."""

import asyncio
from contextlib import asynccontextmanager


async def accept(content, metadata):
    return True


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for sets no event
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(manager):
    task = asyncio.create_task(manager.serve())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
