"""Work on one machine without AWS: the embedded SQS and SNS server, its queues, `dev` and `send`.

Not here: what a deployed service imports. Its names are imported on first use: a command that
completes names at TAB needs none.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loafer_kit.local.queues import LocalQueue, LocalQueues, QueueCounts
    from loafer_kit.local.rabbitmq import development_broker
    from loafer_kit.local.servers import LocalServer, child_environment, environment

__all__ = [
    "LocalQueue",
    "LocalQueues",
    "LocalServer",
    "QueueCounts",
    "child_environment",
    "development_broker",
    "environment",
]

_HOMES = {
    "LocalQueue": "queues",
    "LocalQueues": "queues",
    "LocalServer": "servers",
    "QueueCounts": "queues",
    "child_environment": "servers",
    "development_broker": "rabbitmq",
    "environment": "servers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
