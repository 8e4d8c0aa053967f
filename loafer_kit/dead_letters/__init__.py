"""Dead letters for a person: what `loafer-kit dlq` and the console do, on SQS and on RabbitMQ.

Functions print nothing and ask nobody. How a service sends dead letters is in `ext`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loafer_kit.dead_letters.rabbitmq import RabbitMQ


def rabbitmq_broker() -> "type[RabbitMQ]":
    """Return the class of RabbitMQ's brokers; raise `MissingExtraError` without the extra."""
    from loafer_kit.dead_letters import rabbitmq  # only services of RabbitMQ have aio_pika

    return rabbitmq.RabbitMQ
