"""Routes from SQS queues to handlers."""

from collections.abc import Iterable, Mapping
from typing import Any

from loafer_kit.config import ROUTE_OPTIONS, check_names, environment_options
from loafer_kit.ext.aws.addresses import bare_name
from loafer_kit.ext.aws.message_translators import SNSMessageTranslator, SQSMessageTranslator
from loafer_kit.ext.aws.options import (
    SETTABLE_OPTIONS,
    SETTABLE_RECEIVE_OPTIONS,
    SQS_SETTINGS,
)
from loafer_kit.ext.aws.producer import Producer
from loafer_kit.ext.aws.providers import SQSProvider
from loafer_kit.ext.aws.requests.clients import CLIENT_OPTIONS
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.middleware import Middleware
from loafer_kit.routes import Route
from loafer_kit.types import ErrorHandler, Forwarder, Handler

_DEFAULT: Any = object()


class SQSRoute(Route):
    """Links a queue (name, URL or ARN) to a handler; message bodies are JSON.

    `provider_options` are the keywords of `SQSProvider`. `name` defaults to the queue's name.
    `message_translator=None` delivers raw messages. `middleware` and `forward_to` as of `Route`;
    a text is the name, URL or ARN of a queue, or the ARN of a topic. `options` are those of a route
    (`RouteOptions`) and of the queue (`SQSOptions`).
    """

    #: The class of the translator, unless the route names one.
    default_translator: type[AbstractMessageTranslator] = SQSMessageTranslator

    def __init__(
        self,
        provider_queue: str,
        provider_options: Mapping[str, Any] | None = None,
        *,
        handler: Handler,
        name: str | None = None,
        message_translator: AbstractMessageTranslator | None = _DEFAULT,
        error_handler: ErrorHandler | None = None,
        middleware: Iterable[Middleware] = (),
        forward_to: Forwarder | str | None = None,
        **options: Any,
    ) -> None:
        name = name or bare_name(provider_queue)
        check_names(f"Route {name!r}", options, ROUTE_OPTIONS | SQS_SETTINGS)
        settings = {key: value for key, value in options.items() if key in SQS_SETTINGS}
        with environment_options(name, SETTABLE_OPTIONS) as overrides:
            provider_options = _overridden({**(provider_options or {}), **settings}, overrides)
            provider = SQSProvider(provider_queue, **provider_options)
        if message_translator is _DEFAULT:
            message_translator = self.default_translator()
        if isinstance(forward_to, str):
            forward_to = _producer(forward_to, provider_options)
        super().__init__(
            provider,
            handler,
            name,
            message_translator,
            error_handler,
            middleware=middleware,
            forward_to=forward_to,
            **{key: value for key, value in options.items() if key in ROUTE_OPTIONS},
        )
        provider.handler_timeout = self.options.handler_timeout
        provider.prefetch = self.options.prefetch


class SNSQueueRoute(SQSRoute):
    """Links a queue that is subscribed to an SNS topic to a handler; the published messages are JSON."""

    default_translator = SNSMessageTranslator


def _producer(address: str, provider_options: Mapping[str, Any]) -> Producer:
    options = {key: value for key, value in provider_options.items() if key in CLIENT_OPTIONS}
    if address.startswith("arn:") and address.split(":")[2] == "sns":
        return Producer(topic=address, **options)
    return Producer(address, **options)


def _overridden(keywords: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provider's keywords with the options that the environment sets."""
    if not overrides:
        return dict(keywords)
    found = dict(overrides)
    receive = dict(keywords.get("options") or {})
    if "visibility_timeout" in found:
        receive.pop("VisibilityTimeout", None)  # it would contradict the keyword
    for option, parameter in SETTABLE_RECEIVE_OPTIONS.items():
        if option in found:
            receive[parameter] = found.pop(option)
    return {**keywords, **found, "options": receive}
