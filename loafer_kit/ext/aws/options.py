"""Options of an SQS queue, checked when its provider is made."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from loafer_kit.config import check_names, check_number, suggestion
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws.limits import SQS_BATCH_SIZE, SQS_LONGEST_POLL, SQS_LONGEST_VISIBILITY
from loafer_kit.ext.aws.requests.clients import (
    CLIENT_OPTIONS,
    LONG_POLL_READ_TIMEOUT,
    TransportKind,
)

_RECEIVE_OPTIONS = frozenset(
    {
        "AttributeNames",
        "MaxNumberOfMessages",
        "MessageAttributeNames",
        "MessageSystemAttributeNames",
        "VisibilityTimeout",
        "WaitTimeSeconds",
    }
)

#: Always asked for: the receive count determines the backoff, the group the order.
_NEEDED_ATTRIBUTES = ("ApproximateReceiveCount", "MessageGroupId")


@dataclass(frozen=True, slots=True, kw_only=True)
class SQSOptions:
    """The settings of one queue. Durations are in seconds."""

    #: How long a received message stays hidden from other consumers; None: the queue's own setting
    #: at the start of the service. Every receive names it.
    visibility_timeout: int | None = None

    #: Where rejected messages go (name, URL or ARN); None: the target of the queue's redrive policy.
    dead_letter_queue: str | None = None

    #: Whether a message that fails on its last receive is sent to the redrive policy's target with the
    #: reason. Otherwise, or without the permission to send there, SQS moves it without one.
    dead_letter_exhausted: bool = True

    #: The most long polls that may be open at the same time.
    max_receivers: int = 100

    #: How long a deletion or a visibility change waits for others, to share one request.
    linger: float = 0.2

    #: Whether messages in hand are kept hidden beyond the visibility timeout.
    heartbeat: bool = True

    #: How long after its receive the heartbeat keeps a message hidden at most; None: 12 h, SQS's limit.
    max_processing_time: float | None = None

    #: Whether a handler is cancelled when another consumer may have its message.
    cancel_on_lost_lease: bool = True

    #: Retries without a delay of their own wait from 0 to `retry_delay * 2 ** (failures - 1)`, where
    #: the failures of the message in this process count…
    retry_delay: float = 2.0

    #: … but no longer than this.
    retry_delay_cap: float = 900.0

    #: How long open long polls may take to return when the service stops.
    poll_grace: float = 5.0

    #: How requests are carried: over plain HTTP, or by botocore at several times the cost. Client
    #: options that only botocore supports (a proxy, for example) always use botocore.
    transport: TransportKind = "direct"

    def __post_init__(self) -> None:
        check_number("visibility_timeout", self.visibility_timeout, at_least=1, whole=True)
        check_number("max_receivers", self.max_receivers, at_least=1, whole=True)
        check_number("max_processing_time", self.max_processing_time, more_than=0)
        for name in ("linger", "retry_delay", "retry_delay_cap", "poll_grace"):
            check_number(name, getattr(self, name), at_least=0)
        _check_at_most("visibility_timeout", self.visibility_timeout, SQS_LONGEST_VISIBILITY)
        if self.dead_letter_queue is not None and not self.dead_letter_queue:
            raise ConfigurationError("dead_letter_queue must be a name, a URL or an ARN, not ''.")
        if self.transport not in get_args(TransportKind):
            raise ConfigurationError(
                f"transport must be 'direct' or 'botocore', not {self.transport!r}."
            )


SQS_SETTINGS = frozenset(field.name for field in fields(SQSOptions))

#: The parameters of ReceiveMessage that an environment variable can set, as `loafer.toml` names them.
SETTABLE_RECEIVE_OPTIONS = {"wait_time": "WaitTimeSeconds", "batch_size": "MaxNumberOfMessages"}

#: The types of a queue's options that an environment variable can set.
SETTABLE_OPTIONS: Mapping[str, Any] = {
    **{field.name: field.type for field in fields(SQSOptions)},
    **dict.fromkeys(SETTABLE_RECEIVE_OPTIONS, int),
}


def split_keywords(
    queue: str, keywords: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a provider's keywords into the client's options and the queue's settings."""
    client = {name: value for name, value in keywords.items() if name in CLIENT_OPTIONS}
    settings = {name: value for name, value in keywords.items() if name in SQS_SETTINGS}
    for name in keywords:
        if name not in client and name not in settings:
            known = CLIENT_OPTIONS | SQS_SETTINGS | {"options"}
            raise ConfigurationError(
                f"Queue {queue!r} has no option {name!r}.{suggestion(name, known)}"
            )
    return client, settings


def make_settings(
    queue: str, settings: Mapping[str, Any], options: Mapping[str, Any]
) -> SQSOptions:
    """Return the settings of a queue; `options` are those of ReceiveMessage."""
    settings = dict(settings)
    timeout = options.get("VisibilityTimeout")
    if settings.get("visibility_timeout") is None:
        settings["visibility_timeout"] = timeout
    elif timeout is not None and timeout != settings["visibility_timeout"]:
        raise ConfigurationError(
            f"Queue {queue!r}: visibility_timeout is {settings['visibility_timeout']!r}, "
            f"VisibilityTimeout in options {timeout!r}: keep one of them."
        )
    try:
        return SQSOptions(**settings)
    except ConfigurationError as error:
        raise ConfigurationError(f"Queue {queue!r}: {error}") from None


def receive_parameters(queue: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of every ReceiveMessage: `options` over the defaults."""
    check_names(f"Queue {queue!r}: ReceiveMessage", options, _RECEIVE_OPTIONS)
    parameters: dict[str, Any] = {
        "MaxNumberOfMessages": SQS_BATCH_SIZE,
        "WaitTimeSeconds": SQS_LONGEST_POLL,
        "MessageAttributeNames": ["All"],
    }
    parameters.update(options)
    try:
        _check_within("MaxNumberOfMessages", parameters["MaxNumberOfMessages"], 1, SQS_BATCH_SIZE)
        _check_within("WaitTimeSeconds", parameters["WaitTimeSeconds"], 0, SQS_LONGEST_POLL)
    except ConfigurationError as error:
        raise ConfigurationError(f"Queue {queue!r}: {error}") from None
    asked = {
        *parameters.pop("AttributeNames", ()),
        *parameters.pop("MessageSystemAttributeNames", ()),
    }
    parameters["MessageSystemAttributeNames"] = (
        sorted({*asked, *_NEEDED_ATTRIBUTES}) if asked and "All" not in asked else ["All"]
    )
    return parameters


def check_read_timeout(queue: str, config: Any, wait: int) -> None:
    """Reject a client `config` whose read timeout is too short for the long polls."""
    given = getattr(config, "_user_provided_options", None) or {}
    read_timeout = given.get("read_timeout", LONG_POLL_READ_TIMEOUT)
    if read_timeout <= wait:
        raise ConfigurationError(
            f"Queue {queue!r}: the client's read_timeout of {read_timeout:g} s cuts off long polls of "
            f"{wait} s: raise it, or lower WaitTimeSeconds in options."
        )


def _check_within(name: str, value: Any, least: int, most: int) -> None:
    check_number(name, value, at_least=least, whole=True)
    _check_at_most(name, value, most)


def _check_at_most(name: str, value: int | None, most: int) -> None:
    if value is not None and value > most:
        raise ConfigurationError(f"{name} must be at most {most}, not {value!r}.")
