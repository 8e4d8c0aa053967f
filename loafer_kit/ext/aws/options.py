"""Options of an SQS queue, and what may go wrong between them and the attributes of the queue."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from loafer_kit.config import check_names, check_number
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws.limits import (
    SQS_BATCH_SIZE,
    SQS_DEFAULT_VISIBILITY,
    SQS_LONGEST_POLL,
    SQS_LONGEST_VISIBILITY,
    SQS_MESSAGES_IN_FLIGHT,
)
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

#: The attributes that count the messages of a queue, by what they count.
MESSAGE_COUNTS = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}

#: The counts are approximate: this many count as all.
_NEARLY_ALL_IN_FLIGHT = SQS_MESSAGES_IN_FLIGHT * 0.99

#: A maxReceiveCount up to which receives without a start are worth a warning.
_FEW_RECEIVES = 4


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


def parse_options(
    queue: str, receive_options: Mapping[str, Any], keywords: Mapping[str, Any]
) -> tuple[dict[str, Any], SQSOptions, dict[str, Any]]:
    """Return the client's options, the queue's settings, and the parameters of each ReceiveMessage.

    `receive_options` override the defaults of these parameters; `keywords` are those of a provider.
    Raises `ConfigurationError` that names the queue.
    """
    check_names(f"Queue {queue!r}", keywords, CLIENT_OPTIONS | SQS_SETTINGS | {"options"})
    client = {name: value for name, value in keywords.items() if name in CLIENT_OPTIONS}
    settings = {name: value for name, value in keywords.items() if name in SQS_SETTINGS}
    try:
        parameters = _receive_parameters(receive_options)
        _check_read_timeout(client.get("config"), parameters["WaitTimeSeconds"])
        return client, _settings(settings, receive_options), parameters
    except ConfigurationError as error:
        raise ConfigurationError(f"Queue {queue!r}: {error}") from None


def _settings(settings: dict[str, Any], receive_options: Mapping[str, Any]) -> SQSOptions:
    timeout = receive_options.get("VisibilityTimeout")
    if settings.get("visibility_timeout") is None:
        settings["visibility_timeout"] = timeout
    elif timeout is not None and timeout != settings["visibility_timeout"]:
        raise ConfigurationError(
            f"visibility_timeout is {settings['visibility_timeout']!r}, "
            f"VisibilityTimeout in options {timeout!r}: keep one of them."
        )
    return SQSOptions(**settings)


def _receive_parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise ConfigurationError(
            f"options must be a dict of parameters of ReceiveMessage, not {options!r}."
        )
    check_names("ReceiveMessage", options, _RECEIVE_OPTIONS)
    parameters: dict[str, Any] = {
        "MaxNumberOfMessages": SQS_BATCH_SIZE,
        "WaitTimeSeconds": SQS_LONGEST_POLL,
        "MessageAttributeNames": ["All"],
        **options,
    }
    for name, least, most in (
        ("MaxNumberOfMessages", 1, SQS_BATCH_SIZE),
        ("WaitTimeSeconds", 0, SQS_LONGEST_POLL),
    ):
        check_number(name, parameters[name], at_least=least, whole=True)
        _check_at_most(name, parameters[name], most)
    asked = {
        *parameters.pop("AttributeNames", ()),
        *parameters.pop("MessageSystemAttributeNames", ()),
    }
    parameters["MessageSystemAttributeNames"] = (
        sorted({*asked, *_NEEDED_ATTRIBUTES}) if asked and "All" not in asked else ["All"]
    )
    return parameters


def _check_read_timeout(config: Any, wait: int) -> None:
    """Reject a client `config` whose read timeout is too short for the long polls."""
    given = getattr(config, "_user_provided_options", None) or {}
    read_timeout = given.get("read_timeout", LONG_POLL_READ_TIMEOUT)
    if read_timeout <= wait:
        raise ConfigurationError(
            f"the client's read_timeout of {read_timeout:g} s cuts off long polls of {wait} s: "
            "raise it, or lower WaitTimeSeconds in options."
        )


def _check_at_most(name: str, value: int | None, most: int) -> None:
    if value is not None and value > most:
        raise ConfigurationError(f"{name} must be at most {most}, not {value!r}.")


# The attributes of the queue


def redrive_target(attributes: Mapping[str, str]) -> str | None:
    """Return the ARN of the dead-letter queue that the redrive policy names."""
    policy = attributes.get("RedrivePolicy")
    return json.loads(policy).get("deadLetterTargetArn") if policy else None


def visibility_timeout(attributes: Mapping[str, str], options: SQSOptions) -> int:
    """Return the visibility timeout in seconds that every receive names.

    It is the option's or the queue's own. A queue without one, or with 0, which would deliver each
    message again before it can be handled, gets SQS's default.
    """
    own = int(attributes.get("VisibilityTimeout", 0))
    return options.visibility_timeout or own or SQS_DEFAULT_VISIBILITY


def max_receive_count(attributes: Mapping[str, str]) -> int | None:
    """Return how often SQS delivers a message before it moves it; None without a redrive policy."""
    policy = attributes.get("RedrivePolicy")
    count = json.loads(policy).get("maxReceiveCount") if policy else None
    return None if count is None else int(count)


def queue_warnings(
    attributes: Mapping[str, str],
    options: SQSOptions,
    handler_timeout: float | None,
    prefetch: int | None = None,
) -> list[str]:
    """Return what may go wrong with a queue and its options; each text says what to do."""
    found = []
    timeout = visibility_timeout(attributes, options)
    if attributes.get("VisibilityTimeout") == "0" and options.visibility_timeout is None:
        found.append(
            f"its visibility timeout is 0 s: receives set {timeout} s instead; "
            "give the queue a visibility timeout"
        )
    if timeout <= LONG_POLL_READ_TIMEOUT:
        found.append(
            f"the visibility timeout of {timeout} s does not exceed the client's read timeout of "
            f"{LONG_POLL_READ_TIMEOUT:g} s: messages of a slow answer may be handled twice; raise it"
        )
    if handler_timeout is not None and not options.heartbeat and handler_timeout > timeout:
        found.append(
            f"handler_timeout ({handler_timeout:g} s) exceeds the visibility timeout ({timeout} s) and "
            "the heartbeat is off: raise visibility_timeout or set heartbeat=True"
        )
    if (
        handler_timeout is not None
        and options.max_processing_time is not None
        and handler_timeout > options.max_processing_time
    ):
        found.append(
            f"handler_timeout ({handler_timeout:g} s) exceeds max_processing_time "
            f"({options.max_processing_time:g} s): raise max_processing_time"
        )
    if not redrive_target(attributes):
        found.append(
            "it has no redrive policy: a message that always fails comes back until it expires; "
            "give the queue a dead-letter queue"
        )
    receives = max_receive_count(attributes)
    if receives is not None and prefetch and receives <= _FEW_RECEIVES:
        found.append(
            f"maxReceiveCount is {receives} and prefetch {prefetch}: a message that is fetched and given "
            f"back unstarted, as at each stop, uses up a receive, so after {receives} of them it is "
            "dead-lettered without having been handled; raise maxReceiveCount or leave prefetch out"
        )
    elif receives == 1:
        found.append(
            "maxReceiveCount is 1: a message whose handler is interrupted, as by a crash, is "
            "dead-lettered; raise maxReceiveCount to 3 or more"
        )
    if is_full(attributes):
        found.append(in_flight_warning(attributes))
    return found


def message_counts(attributes: Mapping[str, str]) -> dict[str, int]:
    """Return how many messages of a queue are `visible`, `in_flight` and `delayed`, if it says so."""
    return {
        kind: int(attributes[name]) for kind, name in MESSAGE_COUNTS.items() if name in attributes
    }


def is_full(attributes: Mapping[str, str]) -> bool:
    """Return whether so many messages are in flight that SQS delivers no others."""
    return int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0)) >= _NEARLY_ALL_IN_FLIGHT


def in_flight_warning(attributes: Mapping[str, str]) -> str:
    """Return the warning about a queue that `is_full`."""
    return (
        f"{attributes['ApproximateNumberOfMessagesNotVisible']} messages are in flight and SQS allows "
        f"{SQS_MESSAGES_IN_FLIGHT:,}: look for consumers that neither finish nor fail"
    )
