"""Routes from SQS queues."""

import pytest

from loafer_kit import config
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws import options as queue_options
from loafer_kit.ext.aws.message_translators import (
    SNSMessageTranslator,
    SQSMessageTranslator,
    SQSTextMessageTranslator,
)
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.routes import SNSQueueRoute, SQSRoute
from loafer_kit.routes import Route
from loafer_kit.scaffold.spec import fields


def handler(content, metadata):
    """Do nothing."""


@pytest.mark.parametrize(
    ("route_class", "translator"),
    [(SQSRoute, SQSMessageTranslator), (SNSQueueRoute, SNSMessageTranslator)],
)
def test_route_brings_provider_and_translator(route_class, translator):
    """A queue and a handler are enough."""
    route = route_class("orders", handler=handler)
    assert isinstance(route, Route)
    assert isinstance(route.provider, SQSProvider)
    assert type(route.message_translator) is translator
    assert route.name == "orders"


def test_explicit_none_disables_translation():
    """`message_translator=None` delivers raw messages; another translator replaces the default."""
    assert SQSRoute("orders", handler=handler, message_translator=None).message_translator is None
    text = SQSTextMessageTranslator()
    assert (
        SNSQueueRoute("orders", handler=handler, message_translator=text).message_translator is text
    )


@pytest.mark.parametrize(
    "queue",
    [
        "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
        "http://127.0.0.1:5000/123456789012/orders/",
        "arn:aws:sqs:eu-west-1:123456789012:orders",
    ],
)
def test_name_is_the_bare_name_of_the_queue(queue):
    """Logs name the queue, not its URL."""
    assert SQSRoute(queue, handler=handler).name == "orders"
    assert SQSRoute(queue, handler=handler, name="other").name == "other"


def test_documented_provider_options_reach_the_provider():
    """The dict of Loafer's documentation keeps its meaning."""
    route = SNSQueueRoute(
        "orders", {"use_ssl": False, "options": {"WaitTimeSeconds": 4}}, handler=handler
    )
    assert route.provider._client_options["use_ssl"] is False
    assert route.provider._receive_parameters["WaitTimeSeconds"] == 4


def test_keywords_are_parted_between_route_and_queue():
    """One list of keywords for the user; each reaches the part it is for."""
    route = SQSRoute(
        "orders",
        {"visibility_timeout": 60},
        handler=handler,
        concurrency=50,
        handler_timeout=20,
        visibility_timeout=90,
        max_receivers=3,
    )
    assert route.options.concurrency == 50
    assert route.provider.settings.visibility_timeout == 90
    assert route.provider.max_receivers == 3
    assert route.provider.handler_timeout == 20


@pytest.mark.parametrize(
    ("option", "suggested"),
    [("concurency", "concurrency"), ("visibility_timeot", "visibility_timeout")],
)
def test_unknown_option_is_suggested_from_both(option, suggested):
    """A slip in an option of the route or of the queue is named with what was meant."""
    with pytest.raises(ConfigurationError, match=f"Did you mean '{suggested}'"):
        SQSRoute("orders", handler=handler, **{option: 3})


def test_the_environment_overrides_every_kind_of_option(monkeypatch):
    """Those of the route, of the queue and of its receives, each in its type."""
    for option, value in {
        "CONCURRENCY": "7",
        "HEARTBEAT": "no",
        "VISIBILITY_TIMEOUT": "50",
        "WAIT_TIME": "3",
        "BATCH_SIZE": "4",
    }.items():
        monkeypatch.setenv(f"LOAFER_ORDERS_FIFO_{option}", value)
    options = {"VisibilityTimeout": 20, "WaitTimeSeconds": 9}

    route = SQSRoute("orders.fifo", {"options": options}, handler=handler, concurrency=2)

    assert route.options.concurrency == 7
    assert (route.provider.settings.heartbeat, route.provider.settings.visibility_timeout) == (
        False,
        50,
    )
    assert route.provider._receive_parameters["WaitTimeSeconds"] == 3
    assert route.provider.batch_size == 4
    assert options == {"VisibilityTimeout": 20, "WaitTimeSeconds": 9}


def test_every_option_of_a_spec_can_be_set():
    """`loafer-kit doctor` and the README of a service promise it."""
    settable = {**config.SETTABLE_ROUTE_OPTIONS, **queue_options.SETTABLE_OPTIONS}

    assert {field.name for field in fields.OPTIONS} <= set(settable)


def test_an_option_of_the_environment_that_is_out_of_bounds_ends_with_one_line(monkeypatch):
    """It names the variable."""
    monkeypatch.setenv("LOAFER_ORDERS_WAIT_TIME", "99")

    with pytest.raises(SystemExit, match=r"The environment sets LOAFER_ORDERS_WAIT_TIME\.\Z"):
        SQSRoute("orders", handler=handler)
