"""A dramatiq actor on SQS; run as a program, it publishes one message."""

import os

import dramatiq
from dramatiq_sqs import SQSBroker

dramatiq.set_broker(SQSBroker())


@dramatiq.actor(queue_name=os.environ["BENCH_QUEUE"])
def noop(text: str) -> None:
    """Do nothing."""


if __name__ == "__main__":
    noop.send(os.environ["BENCH_BODY"])
