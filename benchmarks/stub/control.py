"""What a benchmark asks of the stub beside SQS: fill a queue, wait until it is drained, count."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from benchmarks.stub.errors import InvalidValueError
from benchmarks.stub.service import Service

Query = Mapping[str, str]
Control = Callable[[Service, Query], dict[str, Any] | Awaitable[dict[str, Any]]]


def fill(service: Service, query: Query) -> dict[str, Any]:
    """Send `copies` of the message that the queue was sent last, and time the receivers afresh."""
    queue = service.named(query["queue"])
    if queue.last_payload is None:
        raise InvalidValueError(f"Send a message to {queue.name} first: it is what fill copies.")
    queue.first_received_at = None
    for _ in range(int(query["copies"])):
        queue.send(queue.last_payload)
    return {}


def slow_down(service: Service, query: Query) -> dict[str, Any]:
    """Delay deletions by `latency` seconds, or throttle them for some from the next one on."""
    service.slow_down(float(query["latency"]), float(query["throttled_for"]))
    return {}


async def drained(service: Service, query: Query) -> dict[str, Any]:
    """Answer whether the queue holds no message, as soon as it does or after `seconds`."""
    empty = service.named(query["queue"]).drained()
    try:
        await asyncio.wait_for(empty, float(query["seconds"]))
    except TimeoutError:
        return {"drained": False}
    return {"drained": True}


def stats(service: Service, _query: Query) -> dict[str, Any]:
    return {
        "requests": service.requests,
        "queues": {name: queue.stats() for name, queue in service.queues.items()},
        "cpu_seconds": time.process_time(),
        "now": asyncio.get_running_loop().time(),
    }


CONTROLS: dict[str, Control] = {
    "/fill": fill,
    "/slow-down": slow_down,
    "/drained": drained,
    "/stats": stats,
}
