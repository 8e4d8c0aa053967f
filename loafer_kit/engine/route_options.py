"""What a user may set on any route, checked when the route is made."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

from loafer_kit.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOptions:
    """The options of a route that every provider shares. Durations are in seconds."""

    #: Handlers that may run at the same time; of a batch handler, batches.
    concurrency: int = 10

    #: Messages held ready beyond those being handled; None: one fetch for each receiver.
    prefetch: int | None = None

    #: How long one handler call may take; None: for ever.
    handler_timeout: float | None = None

    #: Exceptions that no further attempt cures: the message is rejected.
    reject_on: tuple[type[BaseException], ...] = ()

    #: Messages that a batch handler takes at the most; None: the handler takes one message.
    batch_handler_size: int | None = None

    #: How long the first message of a batch waits for others.
    batch_handler_wait: float = 1.0

    #: Handler starts per second; None: no limit. Adjustable: `route.flow.rate`.
    rate_limit: float | None = None

    #: Failures in a row that open the circuit breaker; None: it never opens.
    breaker_threshold: int | None = None

    #: Exceptions that open the circuit breaker at once.
    breaker_exceptions: tuple[type[BaseException], ...] = ()

    #: How long the breaker stays open before one message probes.
    breaker_recovery: float = 30.0

    def __post_init__(self) -> None:
        for name in ("concurrency", "batch_handler_size", "breaker_threshold"):
            check_number(name, getattr(self, name), at_least=1, whole=True)
        check_number("prefetch", self.prefetch, at_least=0, whole=True)
        for name in ("handler_timeout", "rate_limit", "breaker_recovery"):
            check_number(name, getattr(self, name), more_than=0)
        check_number("batch_handler_wait", self.batch_handler_wait, at_least=0)

    @classmethod
    def from_keywords(cls, route: str, keywords: dict[str, Any]) -> Self:
        """Make the options of the named route; raise a one-line `ConfigurationError` that names it."""
        known = [field.name for field in fields(cls)]
        for name in keywords:
            if name not in known:
                raise ConfigurationError(
                    f"Route {route!r} has no option {name!r}.{suggestion(name, known)}"
                )
        try:
            return cls(**keywords)
        except ConfigurationError as error:
            raise ConfigurationError(f"Route {route!r}: {error}") from None


ROUTE_OPTIONS = frozenset(field.name for field in fields(RouteOptions))


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return what follows "There is no option …": the likeliest of the known names, or all."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" It has: {', '.join(sorted(known))}."


def check_number(
    name: str,
    value: float | None,
    *,
    at_least: float | None = None,
    more_than: float | None = None,
    whole: bool = False,
) -> None:
    """Raise a one-line `ConfigurationError` unless `value` is such a number, or None."""
    if value is None:
        return
    kind = "a whole number" if whole else "a number"
    bound = f"of at least {at_least:g}" if at_least is not None else f"greater than {more_than:g}"
    fits = (
        isinstance(value, int if whole else (int, float))
        and not isinstance(value, bool)
        and (at_least is None or value >= at_least)
        and (more_than is None or value > more_than)
    )
    if not fits:
        raise ConfigurationError(f"{name} must be {kind} {bound}, not {value!r}.")
