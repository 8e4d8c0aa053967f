"""The broker for development: which one it is, and what `put` does with a queue."""

import asyncio
import contextlib

import pytest
import rabbit

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local import rabbitmq as local_rabbitmq


@pytest.fixture
def started(monkeypatch):
    """The brokers that are started, none of which is real."""
    brokers = []

    def running_broker():
        brokers.append("started")
        return contextlib.nullcontext("amqp://started")

    monkeypatch.setattr(local_rabbitmq, "running_broker", running_broker)
    return brokers


@pytest.mark.parametrize(
    ("installed", "url", "expected"),
    [
        (True, None, "amqp://started"),
        (True, "amqp://guest:guest@localhost:5672/", "amqp://guest:guest@localhost:5672/"),
        (True, "amqp://broker.example.org/", "amqp://started"),
        (False, "amqp://broker.example.org/", "amqp://broker.example.org/"),
    ],
)
def test_a_broker_elsewhere_is_used_only_where_none_is_installed(
    monkeypatch, started, installed, url, expected
):
    """The tests of a service must not reach its production."""
    monkeypatch.setattr(local_rabbitmq, "server_script", lambda: "script" if installed else None)
    monkeypatch.delenv("LOAFER_AMQP_URL", raising=False)
    if url:
        monkeypatch.setenv("LOAFER_AMQP_URL", url)
    with local_rabbitmq.development_broker() as found:
        assert found == expected


def test_without_any_broker_the_error_says_what_to_install(monkeypatch):
    """In one line."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(local_rabbitmq.shutil, "which", lambda *_, **__: None)
    monkeypatch.delenv("LOAFER_AMQP_URL", raising=False)
    with pytest.raises(ConfigurationError, match=r"rabbitmq-server.*LOAFER_AMQP_URL") as error:
        local_rabbitmq.development_broker()
    assert "\n" not in str(error.value)


async def test_put_declares_the_queue_as_its_route_does(rabbitmq):
    """So `send` works before the service runs."""
    queue, exchange = rabbit.fresh(), rabbit.fresh("shop")
    options = {"exchange": exchange, "routing_key": "order.*"}
    await asyncio.to_thread(local_rabbitmq.put, rabbitmq, queue, options, ["1"])
    await rabbit.send(rabbitmq, "order.placed", "2", exchange=exchange)
    assert rabbit.bodies(await rabbit.take(rabbitmq, queue, 2)) == ["1", "2"]
