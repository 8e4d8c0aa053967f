"""Routes from RabbitMQ queues to handlers, and the translators of their messages."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from aio_pika.abc import AbstractIncomingMessage

from loafer_kit.config import ROUTE_OPTIONS, check_names, environment_options
from loafer_kit.events import publishing
from loafer_kit.ext.amqp.letters import bytes_of, deliveries
from loafer_kit.ext.amqp.options import AMQP_SETTINGS, SETTABLE_OPTIONS
from loafer_kit.ext.amqp.providers import AMQPProvider
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.middleware import Middleware
from loafer_kit.routes import Route
from loafer_kit.types import ErrorHandler, Forwarder, Handler, Message, TranslatedMessage


class AMQPMessageTranslator(AbstractMessageTranslator):
    """The body is JSON: its value is the content.

    The metadata are `message_id`, `exchange`, `routing_key`, `headers`, `deliveries`, `content_type`,
    `correlation_id`, `reply_to` and `timestamp`.
    """

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the decoded body; raise `ValueError` if it is not JSON."""
        try:
            content = json.loads(message.body)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"The body is not text, so it is not JSON either: {error}. For bytes, use "
                "message_translator=None and the message's `body`."
            ) from None
        except json.JSONDecodeError as error:
            hint = (
                f"The body is not JSON; for plain text, use AMQPTextMessageTranslator. {error.msg}"
            )
            raise json.JSONDecodeError(hint, error.doc, error.pos) from None
        return {"content": content, "metadata": metadata_of(message)}


class AMQPTextMessageTranslator(AbstractMessageTranslator):
    """The body is plain text: the content is the body; the metadata as of `AMQPMessageTranslator`."""

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the body; raise `ValueError` if it is not UTF-8."""
        return {"content": message.body.decode(), "metadata": metadata_of(message)}


def metadata_of(message: AbstractIncomingMessage) -> dict[str, Any]:
    """Return what a message carries beside its body."""
    return {
        "message_id": message.message_id,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "headers": dict(message.headers),
        "deliveries": deliveries(message),
        "content_type": message.content_type,
        "correlation_id": message.correlation_id,
        "reply_to": message.reply_to,
        "timestamp": message.timestamp,
    }


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
