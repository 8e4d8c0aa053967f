"""Eight bare aiobotocore loops: receive ten, handle nothing, delete a batch of ten.

`bare.py tuned` adds what costs nothing to add: uvloop, and a fixed user agent, without which
botocore builds that string twice per call.
"""

import asyncio
import os
import sys
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

LOOPS = 8


async def consume(sqs: Any, queue_url: str) -> None:
    while True:
        received = await sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=20
        )
        if messages := received.get("Messages"):
            entries = [
                {"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]}
                for i, message in enumerate(messages)
            ]
            await sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)


async def main(config: AioConfig | None) -> None:
    async with get_session().create_client("sqs", config=config) as sqs:
        queue = await sqs.get_queue_url(QueueName=os.environ["BENCH_QUEUE"])
        await asyncio.gather(*[consume(sqs, queue["QueueUrl"]) for _ in range(LOOPS)])


if sys.argv[1:] == ["tuned"]:
    import uvloop

    uvloop.run(main(AioConfig(user_agent="bench")))
else:
    asyncio.run(main(None))
