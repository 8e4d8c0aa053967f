"""The services that commands are about, as the current folder has them."""

import pytest

from loafer_kit.cli import specs
from loafer_kit.exceptions import ConfigurationError

ON_RABBITMQ = """
name = "shop"

[[parameters]]
name = "STAGE"

[[queues]]
name = "${STAGE}-orders"
kind = "amqp"
"""
ON_SQS = """
name = "shop"

[[queues]]
name = "orders"
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The spec file of the current folder; nothing of this process's environment counts."""
    for name in ("LOAFER_AMQP_URL", "STAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "loafer.toml"


def test_a_service_of_rabbitmq_tells_its_dead_letter_queues(here, monkeypatch):
    """A queue without one of its own has the default."""
    here.write_text(ON_RABBITMQ)
    monkeypatch.setenv("STAGE", "prod")

    assert specs.rabbitmq_queues_here("x") == {"prod-orders": "prod-orders.dead"}


def test_a_service_of_rabbitmq_is_not_looked_for_on_sqs(here):
    """Where the environment lacks a parameter, that is the error."""
    here.write_text(ON_RABBITMQ)

    with pytest.raises(ConfigurationError, match="Set STAGE in the environment"):
        specs.rabbitmq_queues_here("x")


@pytest.mark.parametrize("content", [None, "name = ", 'name = "shop"\n'])
def test_without_a_sound_service_the_variable_names_the_broker(here, monkeypatch, content):
    """A queue can be looked into while its loafer.toml has problems."""
    if content is not None:
        here.write_text(content)
    assert specs.rabbitmq_queues_here("x") is None

    monkeypatch.setenv("LOAFER_AMQP_URL", "amqp://localhost")
    assert specs.rabbitmq_queues_here("x") == {}


@pytest.mark.parametrize(
    ("content", "queue"),
    [
        (ON_SQS, "x"),
        (ON_RABBITMQ, "https://sqs.eu-west-1.amazonaws.com/123456789012/x"),
        (ON_RABBITMQ, "arn:aws:sqs:eu-west-1:123456789012:x"),
    ],
)
def test_a_service_of_sqs_and_an_address_of_aws_are_for_sqs(here, monkeypatch, content, queue):
    """Whatever the variable says."""
    here.write_text(content)
    monkeypatch.setenv("LOAFER_AMQP_URL", "amqp://localhost")

    assert specs.rabbitmq_queues_here(queue) is None
