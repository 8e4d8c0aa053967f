"""Work on one machine without AWS: the embedded SQS and SNS server, its queues, `dev` and `send`.

Not here: what a deployed service imports.
"""

from loafer_kit.local.environments import child_environment, environment
from loafer_kit.local.queues import LocalQueue, LocalQueues, QueueCounts
from loafer_kit.local.servers import LocalServer

__all__ = [
    "LocalQueue",
    "LocalQueues",
    "LocalServer",
    "QueueCounts",
    "child_environment",
    "environment",
]
