"""Delivers messages to handlers: the one place that decides an outcome and has it carried out."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loafer_kit import outcomes
from loafer_kit.engine.callables import ends_task
from loafer_kit.engine.flow import full_jitter
from loafer_kit.events import Settlement, result_of
from loafer_kit.exceptions import FatalError
from loafer_kit.logs import as_pairs, log_event
from loafer_kit.outcomes import Delivery, Leave, Outcome, Retry
from loafer_kit.payloads.decoding import is_undecodable
from loafer_kit.routes import Route, ask_error_handler
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: `policy(exc, facts)` may decide the outcome of a failed message that nothing else decided; None
#: leaves the message. `facts` is what `provider.describe(message)` gives, `first_received`, and
#: `failures`: how often the message has failed in this process, this time included.
FailurePolicy = Callable[[BaseException, Mapping[str, object]], Outcome | None]

_SETTLE_ATTEMPTS = 3
_BACKOFF, _LONGEST_BACKOFF = 0.2, 2.0

_ACKNOWLEDGED = Delivery(outcomes.ACKNOWLEDGE)


class FailureCounts:
    """How often each message has failed in this process since it last succeeded.

    A source counts deliveries, which include those that were given back unstarted. At most `most`
    messages are remembered; those that failed last are kept.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._counts: dict[object, int] = {}

    def next(self, facts: Mapping[str, object]) -> int:
        """Return the count that another failure leads to; 1 for a message without an id."""
        return self._counts.get(facts.get("message_id"), 0) + 1

    def counted(self, route: Route, message: Message, delivery: Delivery) -> Delivery:
        """Count a message that failed, forget any other; return the delivery with its count."""
        outcome = delivery.outcome
        failed = isinstance(outcome, Leave | Retry)
        if not failed and not self._counts:
            return delivery
        message_id = route.provider.describe(message).get("message_id")
        count = self._counts.pop(message_id, 0) + 1
        if not failed:
            return delivery
        if message_id is not None:
            self._counts[message_id] = count
            if len(self._counts) > self._most:
                del self._counts[next(iter(self._counts))]
        if not isinstance(outcome, Retry):
            return delivery
        return replace(delivery, outcome=replace(outcome, failures=count))


class Deliveries:
    """Delivers the messages of one route and decides their outcomes.

    Its methods raise only `FatalError` and `CancelledError`.
    """

    def __init__(self, route: Route, policy: FailurePolicy | None = None) -> None:
        self._route = route
        self._policy = policy
        self._failures = FailureCounts()

    async def deliver(self, message: Message) -> Delivery:
        """Deliver one message."""
        try:
            answer = await self._route.deliver(message)
            delivery = _ACKNOWLEDGED if answer is True else Delivery(outcomes.from_answer(answer))
        except BaseException as exc:
            if ends_task(exc):
                raise
            delivery = await self._failed(message, exc)
        return self._failures.counted(self._route, message, delivery)

    async def deliver_batch(self, messages: Sequence[Message]) -> list[Delivery]:
        """Deliver messages in one handler call; return a delivery for each, in their order.

        A message that cannot be decoded fails alone; the handler gets the others.
        """
        decoded: dict[int, tuple[Any, Any]] = {}
        deliveries: dict[int, Delivery] = {}
        for position, found in enumerate(await self._arguments_for_all(messages)):
            if isinstance(found, BaseException):
                deliveries[position] = await self._failed(messages[position], found)
            else:
                decoded[position] = found
        if decoded:
            contents, metadata = map(list, zip(*decoded.values(), strict=True))
            try:
                answer = await self._route.call(contents, metadata)
                batch_outcomes = outcomes.from_batch_answer(answer, len(contents))
                deliveries |= zip(decoded, map(Delivery, batch_outcomes), strict=True)
            except BaseException as exc:
                if ends_task(exc):
                    raise
                for position in decoded:
                    deliveries[position] = await self._failed(messages[position], exc)
        return [
            self._failures.counted(self._route, message, deliveries[position])
            for position, message in enumerate(messages)
        ]

    async def _arguments_for_all(
        self, messages: Sequence[Message]
    ) -> Sequence[tuple[Any, Any] | BaseException]:
        """Return content and metadata of each message, or what was raised instead."""

        async def arguments_for(message: Message) -> tuple[Any, Any] | BaseException:
            try:
                return await self._route.arguments_for(message)
            except BaseException as exc:
                if ends_task(exc):
                    raise
                return exc

        if self._route.translates_async:
            return await asyncio.gather(*map(arguments_for, messages))
        return [await arguments_for(message) for message in messages]

    async def _failed(self, message: Message, exc: BaseException) -> Delivery:
        """Decide the outcome of a message whose delivery raised `exc`; re-raise a `FatalError`."""
        if isinstance(exc, FatalError):
            raise exc
        if isinstance(exc, outcomes.REQUESTS):
            return Delivery(outcomes.from_exception(exc))
        facts = self._route.provider.describe(message)
        if is_undecodable(exc):  # a traceback would show only the decoder
            self._log("message.undecodable", facts, outcomes.reason_text(exc))
        else:
            self._log("message.failed", facts, exc_info=exc)
        outcome = await self._decide(message, exc, facts)
        if isinstance(outcome, Leave | Retry) and not outcome.reason:
            outcome = replace(outcome, reason=outcomes.reason_text(exc))
        return Delivery(outcome, exc)

    async def _decide(
        self, message: Message, exc: BaseException, facts: Mapping[str, object]
    ) -> Outcome:
        """Ask, in this order: the error handler, `reject_on`, the failure policy."""
        route = self._route
        facts = {**facts, "failures": self._failures.next(facts)}
        try:
            exc_info = (type(exc), exc, exc.__traceback__)
            if await ask_error_handler(route.error_handler, exc_info, message):
                return outcomes.ACKNOWLEDGE
        except FatalError:
            raise
        except outcomes.REQUESTS as request:
            return outcomes.from_exception(request)
        except BaseException as error:
            if ends_task(error):
                raise
            self._log("error_handler.failed", facts, exc_info=error)
            return outcomes.LEAVE
        if is_undecodable(exc) or isinstance(exc, route.options.reject_on):
            return outcomes.DeadLetter(outcomes.reason_text(exc))
        return self._ask_policy(message, exc, facts) or outcomes.LEAVE

    def _ask_policy(
        self, message: Message, exc: BaseException, facts: Mapping[str, object]
    ) -> Outcome | None:
        if self._policy is None:
            return None
        facts = {**facts, "first_received": self._route.provider.first_received(message)}
        try:
            return self._policy(exc, facts)
        except Exception as error:  # noqa: BLE001 - the policy is the user's code
            self._log("failure_policy.failed", facts, exc_info=error)
            return None

    def _log(
        self,
        event: str,
        facts: Mapping[str, object],
        text: str = "",
        exc_info: BaseException | None = None,
    ) -> None:
        facts = {"route": self._route.name, **facts}
        log_event(logger, logging.ERROR, event, facts, text, exc_info=exc_info)


def log_cancelled(route: Route, messages: Iterable[Message]) -> None:
    """Report messages whose handler was cancelled, or awaited something that was."""
    for message in messages:
        facts = {"route": route.name, **route.provider.describe(message)}
        text = "its handler, or what that awaited, was cancelled"
        log_event(logger, logging.WARNING, "message.cancelled", facts, text)


async def settle(route: Route, message: Message, outcome: Outcome) -> None:
    """Have the provider carry out `outcome`. Raises only `FatalError` and `CancelledError`.

    A provider that fails is asked three times; after that the source redelivers the message.
    """
    provider = route.provider
    observed = provider.route_events.settled is not None
    began = time.monotonic() if observed else 0.0
    for attempt in range(_SETTLE_ATTEMPTS):
        try:
            await provider.settle(message, outcome)
        except FatalError:
            raise
        except BaseException as error:
            if ends_task(error):
                raise
            failure = error
            await asyncio.sleep(full_jitter(attempt, base=_BACKOFF, cap=_LONGEST_BACKOFF))
        else:
            if observed and not provider.settles_later:
                _tell_settled(route, message, result_of(outcome), began)
            return
    _tell_settled(route, message, "given up", began)
    facts = {"route": route.name, "outcome": str(outcome), **provider.describe(message)}
    text = "it comes back by itself"
    log_event(logger, logging.ERROR, "message.not_settled", facts, text, exc_info=failure)


def _tell_settled(route: Route, message: Message, result: Settlement, began: float) -> None:
    if (tell := route.provider.route_events.settled) is not None:
        tell([message], result, time.monotonic() - began)


def log_handled(route: Route, message: Message, outcome: Outcome, seconds: float) -> None:
    """Write the INFO line of a handled message; its body only at DEBUG.

    The outcome is what was decided: it is not carried out yet.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    facts = {"route": route.name, **route.provider.describe(message)}
    decided = {"outcome": str(outcome), "duration": seconds}
    logger.info(
        "message.handled %s outcome=%r duration=%.3fs",
        as_pairs(facts),
        *decided.values(),
        extra={"event": "message.handled", **facts, **decided},
    )
    if logger.isEnabledFor(logging.DEBUG):
        log_event(logger, logging.DEBUG, "message.body", facts, repr(message))
