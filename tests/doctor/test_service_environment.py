"""`loafer-kit doctor` lists what the environment can set."""

import re
from pathlib import Path

import pytest
from remedies import problems

import loafer_kit
from loafer_kit.config import PROCESS_VARIABLES
from loafer_kit.local import LocalQueue

PARAMETERS = """
[[parameters]]
name = "STAGE"
default = "dev"

[[parameters]]
name = "TENANT"
"""
EXTENSION = """
from typing import ClassVar

from loafer_kit.extensions import Extension


class Redis(Extension):
    DEFAULT_SETTINGS: ClassVar = {"REDIS_TIMEOUT": 5}
    REQUIRED_SETTINGS = ("REDIS_PASSWORD",)
"""
USED = """
from redis_for_doctor import Redis
from broken_for_doctor import Broken
from shop.own import Own

redis = Redis(manager)
Broken(manager), Own(manager)
"""


def about(found, subject):
    return [
        (item["level"], item["message"], item["remedy"])
        for item in found
        if item["subject"] == subject
    ]


def test_the_options_of_a_route_are_listed(doctor, local_queues, monkeypatch):
    """Those that are set with their values; a misspelt variable is noted."""
    local_queues.create(LocalQueue("orders.fifo"))
    monkeypatch.setenv("LOAFER_ORDERS_FIFO_CONCURRENCY", "20")
    monkeypatch.setenv("LOAFER_ORDERS_FIFO_WAIT_TIM", "3")
    monkeypatch.setenv("LOAFER_PROCESSES", "2")

    found = doctor('name = "orders.fifo"')

    [(level, message, _)] = about(found, "settings of route orders.fifo")
    assert level == "ok"
    assert message.startswith("LOAFER_ORDERS_FIFO_CONCURRENCY=20 is set; not set: LOAFER_")
    assert ", LOAFER_ORDERS_FIFO_WAIT_TIME" in message
    assert about(found, "settings") == [
        (
            "note",
            "LOAFER_ORDERS_FIFO_WAIT_TIM sets nothing",
            "did you mean LOAFER_ORDERS_FIFO_WAIT_TIME?",
        )
    ]


def test_the_variables_of_every_service_are_listed(doctor, local_queues, monkeypatch):
    """They set something; a misspelt one is noted."""
    local_queues.create(LocalQueue("orders"))
    monkeypatch.setenv("LOAFER_HTTP", ":9464")
    monkeypatch.setenv("LOAFER_HELTH_FILE", "/dev/shm/shop.health")

    found = doctor('name = "orders"')

    [(level, message, _)] = about(found, "settings of the service")
    assert level == "ok"
    assert message.startswith("LOAFER_HTTP=:9464 is set; not set: LOAFER_")
    assert ", LOAFER_LOG_LEVEL" in message
    assert about(found, "settings") == [
        ("note", "LOAFER_HELTH_FILE sets nothing", "did you mean LOAFER_HEALTH_FILE?")
    ]


def test_no_variable_of_the_runtime_is_missing():
    """Each one that its code reads is one that is listed."""
    package = Path(loafer_kit.__file__).parent
    read = {
        name
        for module in package.rglob("*.py")
        for name in re.findall(r'"(LOAFER_[A-Z_]+)"', module.read_text())
    }
    assert read == set(PROCESS_VARIABLES)


def test_parameters_are_listed_and_name_the_queues(doctor, local_queues, monkeypatch):
    """One without a value is a problem, and then no queue is looked for."""
    queue = 'name = "${TENANT}-${STAGE}-orders"'
    monkeypatch.delenv("TENANT", raising=False)

    missing = doctor(queue, more=PARAMETERS)
    monkeypatch.setenv("TENANT", "acme")
    monkeypatch.setenv("STAGE", "prod")
    local_queues.create(LocalQueue("acme-prod-orders"))
    found = doctor(queue, more=PARAMETERS)

    assert about(missing, "parameter STAGE") == [("ok", "dev, its default", None)]
    assert problems(missing) == [
        (
            "parameter TENANT",
            "is not set and has no default",
            "set TENANT in the environment",
        )
    ]
    assert about(found, "parameter STAGE") == [("ok", "prod, from the environment", None)]
    assert about(found, "queue acme-prod-orders")
    assert problems(found) == []


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A service that uses an extension; another one cannot be imported."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text(USED)
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "redis_for_doctor.py").write_text(EXTENSION)
    (modules / "broken_for_doctor.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(modules)


def test_the_settings_of_extensions_are_listed_without_their_values(
    doctor, local_queues, monkeypatch, shop
):
    """Some are secrets. The service itself is not imported."""
    local_queues.create(LocalQueue("orders"))

    before = doctor('name = "orders"')
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    after = doctor('name = "orders"')

    assert about(before, "settings of Redis") == [
        (
            "note",
            "REDIS_PASSWORD is required, and not in the environment",
            "set REDIS_PASSWORD, unless the code does",
        ),
        ("ok", "REDIS_TIMEOUT, by default 5", None),
    ]
    assert about(after, "settings of Redis")[0] == (
        "ok",
        "REDIS_PASSWORD is set in the environment",
        None,
    )
    assert "secret" not in str(after)
