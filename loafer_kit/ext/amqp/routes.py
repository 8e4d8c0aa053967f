"""Routes from RabbitMQ queues to handlers."""

from collections.abc import Iterable, Mapping
from typing import Any

from loafer_kit.config import ROUTE_OPTIONS, check_names, environment_options
from loafer_kit.ext.amqp.message_translators import AMQPMessageTranslator
from loafer_kit.ext.amqp.options import AMQP_SETTINGS, SETTABLE_OPTIONS
from loafer_kit.ext.amqp.providers import AMQPProvider
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.middleware import Middleware
from loafer_kit.routes import Route
from loafer_kit.types import ErrorHandler, Handler

_DEFAULT: Any = object()


class AMQPRoute(Route):
    """Links a RabbitMQ queue to a handler; message bodies are JSON.

    `provider_options` are the keywords of `AMQPProvider`. `name` defaults to the queue's name.
    `message_translator=None` delivers raw messages. `middleware` as of `Route`; `options` are those of
    a route (`RouteOptions`) and of the queue (`AMQPOptions`).
    """

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
        **options: Any,
    ) -> None:
        name = name or provider_queue
        check_names(f"Route {name!r}", options, ROUTE_OPTIONS | AMQP_SETTINGS)
        settings = {key: value for key, value in options.items() if key in AMQP_SETTINGS}
        with environment_options(name, SETTABLE_OPTIONS) as overrides:
            provider = AMQPProvider(
                provider_queue, **{**(provider_options or {}), **settings, **overrides}
            )
        super().__init__(
            provider,
            handler,
            name,
            AMQPMessageTranslator() if message_translator is _DEFAULT else message_translator,
            error_handler,
            middleware=middleware,
            **{key: value for key, value in options.items() if key in ROUTE_OPTIONS},
        )
        provider.handler_timeout = self.options.handler_timeout
