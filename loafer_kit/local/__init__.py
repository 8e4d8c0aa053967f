"""The embedded SQS and SNS server, for work on one machine."""

from loafer_kit.local.creation import LocalQueue
from loafer_kit.local.environments import child_environment, environment
from loafer_kit.local.queues import LocalQueues, QueueCounts
from loafer_kit.local.servers import LocalServer

__all__ = [
    "LocalQueue",
    "LocalQueues",
    "LocalServer",
    "QueueCounts",
    "child_environment",
    "environment",
]
