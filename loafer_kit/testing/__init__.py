"""For the tests of services: pytest fixtures, an in-memory provider and helpers.

This is a pytest plugin. pytest loads it in every environment that has loafer_kit, so it imports
only the fixtures; the rest is imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from loafer_kit.testing.fixtures import (
    local_broker,
    local_queues,
    local_rabbitmq,
    local_server,
)

if TYPE_CHECKING:
    from loafer_kit.testing.deliveries import deliver, sns_message, sqs_message
    from loafer_kit.testing.providers import InMemoryProvider
    from loafer_kit.testing.rabbitmq import LocalRabbitMQ, amqp_message
    from loafer_kit.testing.runs import run_until_empty

__all__ = [
    "InMemoryProvider",
    "LocalRabbitMQ",
    "amqp_message",
    "deliver",
    "local_broker",
    "local_queues",
    "local_rabbitmq",
    "local_server",
    "run_until_empty",
    "sns_message",
    "sqs_message",
]

_HOMES = {
    "InMemoryProvider": "providers",
    "LocalRabbitMQ": "rabbitmq",
    "amqp_message": "rabbitmq",
    "deliver": "deliveries",
    "run_until_empty": "runs",
    "sns_message": "deliveries",
    "sqs_message": "deliveries",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
