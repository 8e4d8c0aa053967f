"""For the tests of services: pytest fixtures, an in-memory provider and helpers.

This is a pytest plugin. pytest loads it in every environment that has loafer_kit, so it holds only
the fixtures; the rest is imported on first use.
"""

import functools
import importlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from loafer_kit import local
from loafer_kit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from loafer_kit.local import LocalQueues, LocalServer
    from loafer_kit.testing.deliveries import deliver, run_until_empty, sns_message, sqs_message
    from loafer_kit.testing.providers import InMemoryProvider
    from loafer_kit.testing.rabbitmq import LocalRabbitMQ, amqp_message


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
    "run_until_empty": "deliveries",
    "sns_message": "deliveries",
    "sqs_message": "deliveries",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


@pytest.fixture(scope="session")
def local_server() -> Iterator["LocalServer"]:
    """The embedded SQS and SNS server, one per test run (needs the extra `local`)."""
    with local.LocalServer() as server:
        yield server


@pytest.fixture
def local_queues(
    local_server: "LocalServer", monkeypatch: pytest.MonkeyPatch
) -> Iterator["LocalQueues"]:
    """The queues of an empty server; during the test, AWS clients connect to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in local_server.environment.items():
        monkeypatch.setenv(name, value)
    local_server.clear()  # other users of the server may have left some
    yield _queues_of(local_server.url)
    local_server.clear()


@pytest.fixture(scope="session")
def local_broker() -> Iterator[str]:
    """The URL of a RabbitMQ broker, one per test run (needs the extra `amqp`)."""
    try:
        broker = local.development_broker()
        url = broker.__enter__()
    except ConfigurationError as error:
        pytest.fail(str(error), pytrace=False)
    yield url
    broker.__exit__(None, None, None)


@pytest.fixture
def local_rabbitmq(local_broker: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["LocalRabbitMQ"]:
    """A broker; during the test, routes connect to it. Afterwards their queues are gone."""
    monkeypatch.setenv("LOAFER_AMQP_URL", local_broker)
    rabbitmq = __getattr__("LocalRabbitMQ")()
    yield rabbitmq
    rabbitmq.clear()


@functools.cache
def _queues_of(url: str) -> "LocalQueues":
    """Return the queues of a server: to make clients takes longer than most tests."""
    return local.LocalQueues(url)
