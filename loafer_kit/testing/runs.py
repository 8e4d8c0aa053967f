"""Runs a whole service in a test, until its queues are empty."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.managers import LoaferManager

if TYPE_CHECKING:
    from loafer_kit.local import LocalQueues

#: Seconds between two counts of the queues' messages.
_LOOK_EVERY = 0.05


def run_until_empty(
    manager: LoaferManager, queues: "LocalQueues", *, timeout: float = 30.0
) -> None:
    """Run a manager until the SQS queues that it reads are empty.

    For a plain (not `async`) test function: the manager has its own event loop. Messages in flight
    and delayed messages count; dead-letter queues do not. After `timeout` seconds, raises
    `TimeoutError` with the remaining messages. Also raises what the service raises.

        run_until_empty(manager, local_queues)
    """
    providers = [route.provider for route in manager.dispatcher.routes]
    names = [provider.name for provider in providers if isinstance(provider, SQSProvider)]
    if not _left(queues, names):
        return
    watch = manager.runner.loop.create_task(_stop_when_empty(manager, queues, names, timeout))
    manager.run()
    if watch.done() and (left := watch.result()):
        raise TimeoutError(f"After {timeout:g} s there is still {', '.join(left)}.")


async def _stop_when_empty(
    manager: LoaferManager, queues: "LocalQueues", names: list[str], patience: float
) -> list[str]:
    """Stop the manager when the queues are empty or time is up; return the rest."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    try:
        with ThreadPoolExecutor(max_workers=1) as threads:
            while left := await loop.run_in_executor(threads, _left, queues, names):
                if loop.time() >= deadline:
                    break
                await asyncio.sleep(_LOOK_EVERY)
        return left
    finally:
        manager.runner.prepare_stop()
        manager.runner.prepare_stop()  # the second request does not wait for open polls


def _left(queues: "LocalQueues", names: list[str]) -> list[str]:
    counts = {name: queues.counts(name) for name in names}
    return [f"{count} in {name}" for name, count in counts.items() if count.total]
