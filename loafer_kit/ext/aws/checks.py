"""The start-up check of a queue: what its attributes say about how it will be consumed."""

import json
import logging
from collections.abc import Mapping

from loafer_kit.ext.aws.clients import LONG_POLL_READ_TIMEOUT
from loafer_kit.ext.aws.errors import IN_FLIGHT_LIMIT
from loafer_kit.ext.aws.options import SQSOptions

logger = logging.getLogger(__name__)

#: Where the queue's own visibility timeout cannot be read.
DEFAULT_VISIBILITY = 30

#: Near enough: the counts are approximate.
_NEARLY_ALL_IN_FLIGHT = IN_FLIGHT_LIMIT * 0.99


def redrive_target(attributes: Mapping[str, str]) -> str | None:
    """Return the ARN of the dead-letter queue that the redrive policy names."""
    policy = attributes.get("RedrivePolicy")
    return json.loads(policy).get("deadLetterTargetArn") if policy else None


def warnings(
    attributes: Mapping[str, str], options: SQSOptions, handler_timeout: float | None
) -> list[str]:
    """Return what is doubtful about a queue and its options, each with what to do about it."""
    found = []
    timeout = options.visibility_timeout or int(
        attributes.get("VisibilityTimeout", DEFAULT_VISIBILITY)
    )
    if timeout <= LONG_POLL_READ_TIMEOUT:
        found.append(
            f"the visibility timeout of {timeout} s is not above the client's read timeout of "
            f"{LONG_POLL_READ_TIMEOUT:g} s: messages of a slow answer may be handled twice; raise it"
        )
    if handler_timeout is not None and not options.heartbeat and handler_timeout > timeout:
        found.append(
            f"a handler may take {handler_timeout:g} s, the visibility timeout is {timeout} s and the "
            "heartbeat is off: raise visibility_timeout or set heartbeat=True"
        )
    if (
        handler_timeout is not None
        and options.max_processing_time is not None
        and handler_timeout > options.max_processing_time
    ):
        found.append(
            f"a handler may take {handler_timeout:g} s but is kept its message for "
            f"{options.max_processing_time:g} s: raise max_processing_time"
        )
    if not redrive_target(attributes):
        found.append(
            "it has no redrive policy: a message that always fails comes back until it is too old; "
            "give the queue a dead-letter queue"
        )
    if is_full(attributes):
        found.append(in_flight_warning(attributes))
    return found


def is_full(attributes: Mapping[str, str]) -> bool:
    """Tell whether so many messages are in flight that SQS hands out no more."""
    return int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0)) >= _NEARLY_ALL_IN_FLIGHT


def in_flight_warning(attributes: Mapping[str, str]) -> str:
    """Return the line about a queue that `is_full`."""
    return (
        f"{attributes['ApproximateNumberOfMessagesNotVisible']} messages are in flight, and SQS hands "
        f"out no more than {IN_FLIGHT_LIMIT:,}: look for consumers that neither finish nor fail"
    )
