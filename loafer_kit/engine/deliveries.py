"""Delivering messages to a route's handler: the one place that decides what becomes of them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit import outcomes
from loafer_kit.exceptions import FatalError, LoaferException
from loafer_kit.outcomes import Outcome
from loafer_kit.routes import Route, is_undecodable
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: `policy(exc, facts)` may replace the outcome of a failed message that nothing else decided;
#: `facts` is what `provider.describe(message)` gives, and `first_received`. None: it is left.
FailurePolicy = Callable[[BaseException, Mapping[str, object]], Outcome | None]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one message, and the exception that decided it, if one did."""

    outcome: Outcome
    error: BaseException | None = None


async def deliver(route: Route, message: Message, policy: FailurePolicy | None = None) -> Delivery:
    """Deliver one message; only `FatalError` and a cancellation get out."""
    try:
        return Delivery(outcomes.from_answer(await route.deliver(message)))
    except FatalError:
        raise
    except LoaferException as request:
        return Delivery(outcomes.from_exception(request))
    except Exception as exc:  # noqa: BLE001 - whatever a handler raises is its message's failure
        return Delivery(await _decide_failure(route, message, exc, policy), exc)


async def deliver_batch(
    route: Route, messages: Sequence[Message], policy: FailurePolicy | None = None
) -> list[Delivery]:
    """Deliver messages together; return what became of each, in their order."""
    decodable: dict[int, tuple[Any, Any]] = {}
    deliveries: dict[int, Delivery] = {}
    for position, message in enumerate(messages):
        try:
            decodable[position] = route.arguments_for(message)
        except LoaferException as request:
            deliveries[position] = Delivery(outcomes.from_exception(request))
        except Exception as exc:  # noqa: BLE001 - as in `deliver`
            deliveries[position] = Delivery(await _decide_failure(route, message, exc, policy), exc)
    if decodable:
        deliveries |= await _deliver_decoded(route, messages, decodable, policy)
    return [deliveries[position] for position in range(len(messages))]


async def _deliver_decoded(
    route: Route,
    messages: Sequence[Message],
    arguments: Mapping[int, tuple[Any, Any]],
    policy: FailurePolicy | None,
) -> dict[int, Delivery]:
    contents = [content for content, _ in arguments.values()]
    metadata = [facts for _, facts in arguments.values()]
    try:
        answers = outcomes.from_batch_answer(await route.call(contents, metadata), len(contents))
    except FatalError:
        raise
    except LoaferException as request:
        return dict.fromkeys(arguments, Delivery(outcomes.from_exception(request)))
    except Exception as exc:  # noqa: BLE001 - as in `deliver`
        return {
            position: Delivery(await _decide_failure(route, messages[position], exc, policy), exc)
            for position in arguments
        }
    return dict(zip(arguments, map(Delivery, answers), strict=True))


async def _decide_failure(
    route: Route, message: Message, exc: Exception, policy: FailurePolicy | None
) -> Outcome:
    facts = route.provider.describe(message)
    _log_failure(route, exc, facts)
    try:
        if await route.error_handler((type(exc), exc, exc.__traceback__), message):
            return outcomes.ACKNOWLEDGE
    except FatalError:
        raise
    except LoaferException as request:
        return outcomes.from_exception(request)
    except Exception:
        logger.exception(
            "error_handler.failed route=%s %s", route.name, as_pairs(facts), extra=dict(facts)
        )
        return outcomes.LEAVE
    if is_undecodable(exc) or isinstance(exc, route.options.reject_on):
        return outcomes.DeadLetter(f"{type(exc).__name__}: {exc}")
    if policy is None:
        return outcomes.LEAVE
    first_received = route.provider.first_received(message)
    return policy(exc, {**facts, "first_received": first_received}) or outcomes.LEAVE


def _log_failure(route: Route, exc: Exception, facts: Mapping[str, object]) -> None:
    if is_undecodable(exc):  # the message's fault, where a traceback tells nothing
        logger.error(
            "message.undecodable route=%s %s: %s: %s",
            route.name,
            as_pairs(facts),
            type(exc).__name__,
            exc,
            extra=dict(facts),
        )
    else:
        logger.error(
            "message.failed route=%s %s",
            route.name,
            as_pairs(facts),
            exc_info=exc,
            extra=dict(facts),
        )


def as_pairs(facts: Mapping[str, object]) -> str:
    """Return facts as they stand in a log line: `queue=orders message_id=…`."""
    return " ".join(f"{name}={value}" for name, value in facts.items())
