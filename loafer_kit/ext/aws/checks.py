"""Checks of a queue's attributes: before it is consumed, and when it falls silent."""

import asyncio
import json
import logging
import math
from collections.abc import Mapping

from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws.limits import SQS_DEFAULT_VISIBILITY, SQS_MESSAGES_IN_FLIGHT
from loafer_kit.ext.aws.options import SQSOptions
from loafer_kit.ext.aws.requests.clients import LONG_POLL_READ_TIMEOUT
from loafer_kit.ext.aws.requests.transport import Queue

logger = logging.getLogger(__name__)

#: The counts are approximate: this many count as all.
_NEARLY_ALL_IN_FLIGHT = SQS_MESSAGES_IN_FLIGHT * 0.99

#: A maxReceiveCount up to which receives without a start are worth a warning.
_FEW_RECEIVES = 4

#: Seconds between two requests for how many messages are in flight.
_WATCH_PAUSE = 300.0


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


def warnings(
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


def is_full(attributes: Mapping[str, str]) -> bool:
    """Return whether so many messages are in flight that SQS delivers no others."""
    return int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0)) >= _NEARLY_ALL_IN_FLIGHT


def in_flight_warning(attributes: Mapping[str, str]) -> str:
    """Return the warning about a queue that `is_full`."""
    return (
        f"{attributes['ApproximateNumberOfMessagesNotVisible']} messages are in flight and SQS allows "
        f"{SQS_MESSAGES_IN_FLIGHT:,}: look for consumers that neither finish nor fail"
    )


class InFlightWatch:
    """Reports a queue that is silent only because too many messages are in flight.

    It asks for the queue's counts when the queue turns from busy to empty, and while it is full: an
    idle queue costs no request.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self._full = False
        self._checked_at = -math.inf
        self._check: asyncio.Task[None] | None = None

    def received(self, messages: int) -> None:
        """Take note of how many messages a receive returned."""
        if messages:
            self._busy = True
            return
        now = self._loop.time()
        if (self._busy or self._full) and now - self._checked_at >= _WATCH_PAUSE:
            self._checked_at = now
            self._check = self._loop.create_task(self._check_counts(), name="in-flight watch")
        self._busy = False

    async def _check_counts(self) -> None:
        try:
            attributes = await self._queue.attributes()
        except ProviderError as error:
            logger.debug(
                "queue.counts_unknown queue=%s: %s",
                self._queue.name,
                error,
                extra={"event": "queue.counts_unknown", "queue": self._queue.name},
            )
            return
        self._full = is_full(attributes)
        if self._full:
            logger.warning(
                "queue.full queue=%s: %s",
                self._queue.name,
                in_flight_warning(attributes),
                extra={"event": "queue.full", "queue": self._queue.name},
            )

    async def close(self) -> None:
        """Stop watching."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.wait([self._check])
