"""The broker for development: which one it is, and what `put` does with a queue."""

import asyncio
import contextlib

import pytest
import rabbit

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local import rabbitmq as local_rabbitmq
from loafer_kit.local.services import Delivery


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


def test_retries_are_counted_until_they_are_delivered():
    """By the outcomes that the service reports: a queue with a time limit cannot be found by name."""
    retries = local_rabbitmq.Retries({"orders": {"max_deliveries": 3}, "refunds": {}})
    for name, count, outcome, waiting in (
        ("a", 1, "left", 1),
        ("b", 1, "to be retried after 3 s", 2),
        ("c", 1, "acknowledged", 2),
        ("c", 1, "to be given back", 2),
        ("a", 2, "left", 2),
        ("a", 3, "left", 1),  # the last delivery
        ("b", 2, "acknowledged", 0),
        ("old", 2, "left", 1),  # of another run
        (None, 1, "left", 2),
        (None, 2, "rejected: no", 1),
    ):
        retries.record(Delivery("orders", name, count, outcome))
        assert retries.waiting("orders") == waiting
    retries.record(Delivery("of SQS", "x", 1, "left"))
    assert retries.waiting("refunds") == 0


def test_failed_messages_come_again_at_once_but_not_for_ever(monkeypatch):
    """What the user has set stays."""
    monkeypatch.setenv("LOAFER_REFUNDS_REDELIVERY_DELAY", "7")
    retries = local_rabbitmq.Retries({"orders": {"max_deliveries": 3}, "refunds": {}})
    assert retries.environment == {
        "LOAFER_ORDERS_REDELIVERY_DELAY": "0",
        "LOAFER_ORDERS_MAX_DELIVERIES": "3",
        "LOAFER_REFUNDS_MAX_DELIVERIES": "5",
    }
