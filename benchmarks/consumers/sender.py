"""Sends so many messages of half a kilobyte, and prints the seconds and the CPU time that it took.

`sender.py producer` has loafer_kit's producer collect the messages of eighty tasks. The others
collect ten by hand, in eight loops or threads: `aiobotocore`, `tuned` (with uvloop and a fixed user
agent) and `boto3`.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from loafer_kit.ext.aws.producer import Producer

MESSAGES, WARM_UP = int(os.environ["BENCH_MESSAGES"]), 200
LOOPS, BATCH = 8, 10
BODY = os.environ["BENCH_BODY"]
QUEUE = os.environ["BENCH_QUEUE"]


def entries() -> list[dict[str, str]]:
    return [{"Id": str(number), "MessageBody": BODY} for number in range(BATCH)]


def check(answer: dict[str, Any]) -> None:
    if failed := answer.get("Failed"):
        raise RuntimeError(failed)


class Clock:
    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def show(self) -> None:
        seconds, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        print(json.dumps({"seconds": seconds, "cpu": cpu}))


async def timed(loops: int, loop: Callable[[Iterator[int]], Awaitable[None]], step: int) -> None:
    """Run so many loops that share the messages, first for the warm-up."""
    for messages in (WARM_UP, MESSAGES):
        clock, steps = Clock(), itertools.repeat(0, messages // step)
        await asyncio.gather(*(loop(steps) for _ in range(loops)))
    clock.show()


async def producer() -> None:
    async with Producer(QUEUE) as at_work:

        async def loop(steps: Iterator[int]) -> None:
            for _ in steps:
                await at_work.send(BODY)

        await timed(LOOPS * BATCH, loop, 1)


async def by_hand(config: AioConfig | None) -> None:
    async with get_session().create_client("sqs", config=config) as sqs:
        url = (await sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]

        async def loop(steps: Iterator[int]) -> None:
            for _ in steps:
                check(await sqs.send_message_batch(QueueUrl=url, Entries=entries()))

        await timed(LOOPS, loop, BATCH)


def by_boto3() -> None:
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]

    def send(_: int) -> None:
        check(sqs.send_message_batch(QueueUrl=url, Entries=entries()))

    with ThreadPoolExecutor(LOOPS) as threads:
        for messages in (WARM_UP, MESSAGES):
            clock = Clock()
            list(threads.map(send, range(messages // BATCH)))
    clock.show()


match sys.argv[1]:
    case "producer":
        uvloop.run(producer())
    case "aiobotocore":
        asyncio.run(by_hand(None))
    case "tuned":
        uvloop.run(by_hand(AioConfig(user_agent="bench")))
    case "boto3":
        by_boto3()
