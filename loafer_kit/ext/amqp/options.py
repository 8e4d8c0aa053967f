"""Options of a RabbitMQ queue, checked when its provider is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self, get_args

from loafer_kit.config import check_names, check_number
from loafer_kit.exceptions import ConfigurationError

QueueType = Literal["quorum", "classic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AMQPOptions:
    """The settings of one queue. Durations are in seconds."""

    #: The broker, as `amqp://user:password@host:5672/vhost`; None: LOAFER_AMQP_URL, or else a guest on
    #: this machine.
    url: str | None = field(default=None, repr=False)

    #: The exchange that the queue is bound to; empty: senders name the queue itself.
    exchange: str = ""
    exchange_type: str = "topic"
    exchange_durable: bool = True
    exchange_arguments: Mapping[str, Any] = field(default_factory=dict)

    #: With which routing key the queue is bound to the exchange; None: the queue's name.
    routing_key: str | None = None

    queue_type: QueueType = "quorum"
    durable: bool = True
    queue_arguments: Mapping[str, Any] = field(default_factory=dict)

    #: Whether exchange, queue and dead-letter queue are declared; otherwise they must exist.
    declare: bool = True

    #: Messages are handled one after another, in their order, by one consumer of all.
    single_active_consumer: bool = False

    #: How often a message is delivered at most before it becomes a dead letter; None: without a limit.
    max_deliveries: int | None = None

    #: Where dead letters go; None: the queue's name with ".dead"; empty: nowhere.
    dead_letter_queue: str | None = None

    #: How long a message that failed waits, unless its handler or a policy says so.
    redelivery_delay: float = 30.0

    #: Retries without a delay of their own wait from 0 to `retry_delay * 2 ** (deliveries - 1)`, but…
    retry_delay: float = 2.0

    #: … no longer than this.
    retry_delay_cap: float = 900.0

    def __post_init__(self) -> None:
        check_number("max_deliveries", self.max_deliveries, at_least=1, whole=True)
        for name in ("redelivery_delay", "retry_delay", "retry_delay_cap"):
            check_number(name, getattr(self, name), at_least=0)
        if self.queue_type not in get_args(QueueType):
            raise ConfigurationError(
                f"queue_type must be 'quorum' or 'classic', not {self.queue_type!r}."
            )
        if self.queue_type == "quorum" and not self.durable:
            raise ConfigurationError("A quorum queue is durable: use queue_type='classic'.")
        if self.max_deliveries is not None and self.dead_letter_queue == "":
            raise ConfigurationError("max_deliveries needs a dead_letter_queue.")

    @classmethod
    def from_keywords(cls, queue: str, keywords: Mapping[str, Any]) -> Self:
        """Validate the keywords of a provider; raise a one-line `ConfigurationError`."""
        check_names(f"Queue {queue!r}", keywords, AMQP_SETTINGS)
        try:
            return cls(**keywords)
        except ConfigurationError as error:
            raise ConfigurationError(f"Queue {queue!r}: {error}") from None


AMQP_SETTINGS = frozenset(option.name for option in fields(AMQPOptions))

#: The types of a queue's options that an environment variable can set. All queues share a broker.
SETTABLE_OPTIONS: Mapping[str, Any] = {
    option.name: dict if option.name.endswith("_arguments") else option.type
    for option in fields(AMQPOptions)
    if option.name != "url"
}
