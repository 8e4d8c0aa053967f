"""The pytest fixtures for SQS, `local_server` and `local_queues`, and for RabbitMQ."""

import functools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from loafer_kit.local import LocalQueues, LocalServer
    from loafer_kit.testing.rabbitmq import LocalRabbitMQ


@pytest.fixture(scope="session")
def local_server() -> Iterator["LocalServer"]:
    """The embedded SQS and SNS server, one per test run (needs the extra `local`)."""
    from loafer_kit.local import LocalServer

    with LocalServer() as server:
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
    from loafer_kit.exceptions import ConfigurationError
    from loafer_kit.local.rabbitmq import development_broker

    try:
        broker = development_broker()
        url = broker.__enter__()
    except ConfigurationError as error:
        pytest.fail(str(error), pytrace=False)
    yield url
    broker.__exit__(None, None, None)


@pytest.fixture
def local_rabbitmq(local_broker: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["LocalRabbitMQ"]:
    """A broker; during the test, routes connect to it. Afterwards their queues are gone."""
    from loafer_kit.testing.rabbitmq import LocalRabbitMQ

    monkeypatch.setenv("LOAFER_AMQP_URL", local_broker)
    rabbitmq = LocalRabbitMQ()
    yield rabbitmq
    rabbitmq.clear()


@functools.cache
def _queues_of(url: str) -> "LocalQueues":
    """Return the queues of a server: to make clients takes longer than most tests."""
    from loafer_kit.local import LocalQueues

    return LocalQueues(url)
