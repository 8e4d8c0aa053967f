"""Work on one machine without AWS: the embedded SQS and SNS server, its queues, `dev` and `send`.

Not here: what a deployed service imports. Its names are imported on first use: a command that
completes names at TAB needs none.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loafer_kit.local.queues import LocalQueue, LocalQueues, QueueCounts
    from loafer_kit.local.servers import LocalServer, child_environment, environment

__all__ = [
    "LocalQueue",
    "LocalQueues",
    "LocalServer",
    "QueueCounts",
    "child_environment",
    "environment",
]

_SERVERS = ("LocalServer", "child_environment", "environment")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "servers" if name in _SERVERS else "queues"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
