"""Routes from RabbitMQ queues to handlers."""

from collections.abc import Iterable, Mapping
from typing import Any

from loafer_kit.config import ROUTE_OPTIONS, check_names, environment_options
from loafer_kit.events import publishing
from loafer_kit.ext.amqp.connections import bytes_of
from loafer_kit.ext.amqp.message_translators import AMQPMessageTranslator
from loafer_kit.ext.amqp.options import AMQP_SETTINGS, SETTABLE_OPTIONS
from loafer_kit.ext.amqp.providers import AMQPProvider
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.middleware import Middleware
from loafer_kit.routes import Route
from loafer_kit.types import ErrorHandler, Forwarder, Handler

_DEFAULT: Any = object()


class _Results:
    """Sends the results of a route to an exchange, by the connection of its provider."""

    def __init__(self, provider: AMQPProvider, exchange: str, routing_key: str) -> None:
        self._provider = provider
        self._exchange = exchange
        self._routing_key = routing_key

    async def forward(self, result: Any, source: Mapping[str, Any], position: int = 0) -> None:
        """Publish a result; return when the broker has it."""
        provider = self._provider
        to = self._exchange or self._routing_key
        with publishing(provider.broker, to, provider.address) as told:
            await provider.publish(
                bytes_of(result), self._routing_key, self._exchange, dict(told.headers)
            )


class AMQPRoute(Route):
    """Links a RabbitMQ queue to a handler; message bodies are JSON.

    `provider_options` are the keywords of `AMQPProvider`. `name` defaults to the queue's name.
    `message_translator=None` delivers raw messages. `middleware` and `forward_to` as of `Route`; a text
    is the name of a queue, two are an exchange and a routing key. `options` are those of a route
    (`RouteOptions`) and of the queue (`AMQPOptions`).
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
        forward_to: Forwarder | str | tuple[str, str] | None = None,
        **options: Any,
    ) -> None:
        name = name or provider_queue
        check_names(f"Route {name!r}", options, ROUTE_OPTIONS | AMQP_SETTINGS)
        settings = {key: value for key, value in options.items() if key in AMQP_SETTINGS}
        with environment_options(name, SETTABLE_OPTIONS) as overrides:
            provider = AMQPProvider(
                provider_queue, **{**(provider_options or {}), **settings, **overrides}
            )
        match forward_to:
            case str(queue):
                forward_to = _Results(provider, "", queue)
            case (str(exchange), str(routing_key)):
                forward_to = _Results(provider, exchange, routing_key)
        super().__init__(
            provider,
            handler,
            name,
            AMQPMessageTranslator() if message_translator is _DEFAULT else message_translator,
            error_handler,
            middleware=middleware,
            forward_to=forward_to,
            **{key: value for key, value in options.items() if key in ROUTE_OPTIONS},
        )
        provider.handler_timeout = self.options.handler_timeout
