"""loafer_kit with default settings, as its users write it.

`loafer_service.py botocore` has aiobotocore carry the requests. BENCH_HANDLER_SECONDS makes the
handler await, BENCH_CONCURRENCY says how many may at a time, and BENCH_SLOW_QUEUE adds a route
whose handlers take a second.
"""

import asyncio
import os
import sys
from typing import Any

from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.managers import LoaferManager

SECONDS = float(os.environ.get("BENCH_HANDLER_SECONDS", "0"))


async def noop(_content: Any, _metadata: Any) -> bool:
    return True


async def wait(_content: Any, _metadata: Any) -> bool:
    await asyncio.sleep(SECONDS)
    return True


async def wait_a_second(_content: Any, _metadata: Any) -> bool:
    await asyncio.sleep(1)
    return True


options: dict[str, Any] = {}
if sys.argv[1:]:
    options["transport"] = sys.argv[1]
if "BENCH_CONCURRENCY" in os.environ:
    options["concurrency"] = int(os.environ["BENCH_CONCURRENCY"])
routes = [SQSRoute(os.environ["BENCH_QUEUE"], handler=wait if SECONDS else noop, **options)]
if "BENCH_SLOW_QUEUE" in os.environ:
    routes.append(SQSRoute(os.environ["BENCH_SLOW_QUEUE"], handler=wait_a_second, name="slow"))
LoaferManager(routes).run()
