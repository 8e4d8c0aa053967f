"""A dramatiq actor on SQS; run as a program, it publishes one message."""

import os

import dramatiq
from dramatiq_sqs import SQSBroker
from work import work

dramatiq.set_broker(SQSBroker())


@dramatiq.actor(queue_name=os.environ["BENCH_QUEUE"])
def noop(_text: str) -> None:
    """Do nothing, unless the environment asks for work."""
    work()


if __name__ == "__main__":
    noop.send(os.environ["BENCH_BODY"])
