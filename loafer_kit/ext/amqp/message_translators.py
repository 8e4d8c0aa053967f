"""Translators of RabbitMQ's messages."""

import json
from typing import Any

from aio_pika.abc import AbstractIncomingMessage

from loafer_kit.ext.amqp.letters import deliveries
from loafer_kit.message_translators import AbstractMessageTranslator
from loafer_kit.types import Message, TranslatedMessage


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
