"""loafer_kit with default settings, as its users write it.

`loafer_service.py botocore` has aiobotocore carry the requests; `loafer_service.py observed` has an
observer that counts every event; `loafer_service.py monitored` has Monitoring. BENCH_HANDLER_SECONDS makes the
handler await, BENCH_CONCURRENCY says how many may at a time, and BENCH_SLOW_QUEUE adds a route
whose handlers take a second.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

from work import work

from loafer_kit.contrib.monitoring import Monitoring
from loafer_kit.events import EVENTS, Observer
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.managers import LoaferManager

SECONDS = float(os.environ.get("BENCH_HANDLER_SECONDS", "0"))


async def noop(_content: Any, _metadata: Any) -> bool:
    work()
    return True


async def wait(_content: Any, _metadata: Any) -> bool:
    await asyncio.sleep(SECONDS)
    return True


async def wait_a_second(_content: Any, _metadata: Any) -> bool:
    await asyncio.sleep(1)
    return True


class Count(Observer):
    def __init__(self) -> None:
        self.counts = dict.fromkeys(EVENTS, 0)

    def polled(self, route: Any, received: int, seconds: float, error: Any) -> None:
        self.counts["polled"] += 1

    def received(self, route: Any, messages: Sequence[Any]) -> None:
        self.counts["received"] += len(messages)

    def started(self, call: Any) -> None:
        self.counts["started"] += 1

    def finished(self, call: Any) -> None:
        self.counts["finished"] += 1

    def settled(self, route: Any, messages: Sequence[Any], result: str, seconds: float) -> None:
        self.counts["settled"] += len(messages)

    def heartbeat_sent(self, route: Any, messages: Sequence[Any], error: Any) -> None:
        self.counts["heartbeat_sent"] += 1


options: dict[str, Any] = {}
if "botocore" in sys.argv:
    options["transport"] = "botocore"
if "BENCH_CONCURRENCY" in os.environ:
    options["concurrency"] = int(os.environ["BENCH_CONCURRENCY"])
routes = [SQSRoute(os.environ["BENCH_QUEUE"], handler=wait if SECONDS else noop, **options)]
if "BENCH_SLOW_QUEUE" in os.environ:
    routes.append(SQSRoute(os.environ["BENCH_SLOW_QUEUE"], handler=wait_a_second, name="slow"))
manager = LoaferManager(routes)
if "observed" in sys.argv:
    manager.observe(Count())
if "monitored" in sys.argv:
    Monitoring(manager)
manager.run()
