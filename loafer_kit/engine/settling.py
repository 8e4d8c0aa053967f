"""Carrying out an outcome through the provider, and saying so."""

import asyncio
import logging

from loafer_kit.engine.backoff import full_jitter
from loafer_kit.engine.deliveries import as_pairs
from loafer_kit.exceptions import FatalError
from loafer_kit.outcomes import Outcome
from loafer_kit.routes import Route
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_BACKOFF, _LONGEST_BACKOFF = 0.2, 2.0


async def settle(route: Route, message: Message, outcome: Outcome) -> None:
    """Have the provider carry out `outcome`; only `FatalError` and a cancellation get out.

    A provider that fails is asked again; after that the message is left, and comes back by itself.
    """
    for attempt in range(_ATTEMPTS):
        try:
            await route.provider.settle(message, outcome)
        except FatalError:
            raise
        except Exception as error:  # noqa: BLE001 - a provider's failure is not the service's end
            failure = error
            await asyncio.sleep(full_jitter(attempt, base=_BACKOFF, cap=_LONGEST_BACKOFF))
        else:
            return
    facts = route.provider.describe(message)
    logger.error(
        "message.not_settled route=%s outcome=%s %s: it comes back by itself",
        route.name,
        outcome,
        as_pairs(facts),
        exc_info=failure,
        extra=dict(facts),
    )


def log_handled(route: Route, message: Message, outcome: Outcome, seconds: float) -> None:
    """Write the one line that every handled message gets."""
    if not logger.isEnabledFor(logging.INFO):
        return
    facts = route.provider.describe(message)
    logger.info(
        "message.handled route=%s %s outcome=%r duration=%.3fs",
        route.name,
        as_pairs(facts),
        str(outcome),
        seconds,
        extra={**facts, "route": route.name, "outcome": str(outcome), "duration": seconds},
    )
    logger.debug("message.body route=%s %s: %r", route.name, as_pairs(facts), message)
