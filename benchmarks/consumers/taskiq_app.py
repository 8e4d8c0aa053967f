"""A taskiq broker on SQS; run as a program, it publishes one task."""

import asyncio
import os

from taskiq_aio_sqs import SQSBroker

broker = SQSBroker(
    os.environ["BENCH_QUEUE"],
    endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"],
    region_name="us-east-1",
    max_number_of_messages=10,
)


@broker.task("noop")
async def noop(text: str) -> None:
    """Do nothing."""


async def publish() -> None:
    await broker.startup()
    await noop.kiq(os.environ["BENCH_BODY"])
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(publish())
