"""A Celery application on SQS; run as a program, it publishes one task."""

import os
from urllib.parse import urlsplit

from celery import Celery
from work import work

server = urlsplit(os.environ["AWS_ENDPOINT_URL_SQS"])
queue = os.environ["BENCH_QUEUE"]
app = Celery("bench", broker=f"sqs://bench:bench@{server.netloc}")
app.conf.task_default_queue = queue
app.conf.broker_transport_options = {"region": "us-east-1", "is_secure": False}


@app.task(name="noop", ignore_result=True)
def noop(_text: str) -> None:
    """Do nothing, unless the environment asks for work."""
    work()


if __name__ == "__main__":
    noop.delay(os.environ["BENCH_BODY"])
