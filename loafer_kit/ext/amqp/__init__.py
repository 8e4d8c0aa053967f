"""RabbitMQ: routes, providers, and the extension `AMQP` for an Application.

Not here: what starts a broker for development, which is in `local`.
"""

from loafer_kit.exceptions import MissingExtraError

try:
    import aio_pika as _  # noqa: F401
except ImportError:
    raise MissingExtraError("loafer_kit.ext.amqp", "amqp") from None

from loafer_kit.ext.amqp.extension import AMQP, Consumer, DeliveryMode, Envelope, Message, Producer
from loafer_kit.ext.amqp.providers import AMQPProvider
from loafer_kit.ext.amqp.routes import AMQPMessageTranslator, AMQPRoute, AMQPTextMessageTranslator

__all__ = [
    "AMQP",
    "AMQPMessageTranslator",
    "AMQPProvider",
    "AMQPRoute",
    "AMQPTextMessageTranslator",
    "Consumer",
    "DeliveryMode",
    "Envelope",
    "Message",
    "Producer",
]
