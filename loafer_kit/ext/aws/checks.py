"""Checks of a queue's attributes: before it is consumed, and when it falls silent."""

import asyncio
import json
import logging
import math
from collections.abc import Mapping

from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws.clients import LONG_POLL_READ_TIMEOUT
from loafer_kit.ext.aws.limits import SQS_DEFAULT_VISIBILITY, SQS_MESSAGES_IN_FLIGHT
from loafer_kit.ext.aws.options import SQSOptions
from loafer_kit.ext.aws.transport import Queue

logger = logging.getLogger(__name__)

#: The counts are approximate: this many count as all.
_NEARLY_ALL_IN_FLIGHT = SQS_MESSAGES_IN_FLIGHT * 0.99

#: Seconds between two requests for how many messages are in flight.
_WATCH_PAUSE = 300.0


def redrive_target(attributes: Mapping[str, str]) -> str | None:
    """Return the ARN of the dead-letter queue that the redrive policy names."""
    policy = attributes.get("RedrivePolicy")
    return json.loads(policy).get("deadLetterTargetArn") if policy else None


def warnings(
    attributes: Mapping[str, str], options: SQSOptions, handler_timeout: float | None
) -> list[str]:
    """Return what may go wrong with a queue and its options; each text says what to do."""
    found = []
    timeout = options.visibility_timeout or int(
        attributes.get("VisibilityTimeout", SQS_DEFAULT_VISIBILITY)
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
            logger.debug("queue.counts_unknown queue=%s: %s", self._queue.name, error)
            return
        self._full = is_full(attributes)
        if self._full:
            logger.warning(
                "queue.full queue=%s: %s",
                self._queue.name,
                in_flight_warning(attributes),
                extra={"queue": self._queue.name},
            )

    async def close(self) -> None:
        """Stop watching."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.wait([self._check])
