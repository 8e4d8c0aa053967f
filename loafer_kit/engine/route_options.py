"""RouteOptions: the options of every route, validated when the route is made."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

from loafer_kit.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOptions:
    """The options that routes of all providers share. Durations are in seconds."""

    #: The most handlers that run at the same time. Adjustable: `route.flow.concurrency`.
    concurrency: int = 10

    #: The most messages that wait beside those being handled; None: as many as the route starts
    #: within a second, measured while it runs.
    prefetch: int | None = None

    #: The longest handler call; None: no limit.
    handler_timeout: float | None = None

    #: Exceptions that are permanent: the message goes to the dead-letter queue.
    reject_on: tuple[type[BaseException], ...] = ()

    #: The most messages of one batch handler call; None: the handler takes a single message.
    batch_handler_size: int | None = None

    #: The longest wait of a batch's first message for others.
    batch_handler_wait: float = 1.0

    #: Handler starts per second; None: no limit. Adjustable: `route.flow.rate_limit`.
    rate_limit: float | None = None

    #: The failures in a row that open the circuit breaker; None: it never opens.
    breaker_threshold: int | None = None

    #: Exceptions that open the circuit breaker at once.
    breaker_exceptions: tuple[type[BaseException], ...] = ()

    #: The wait of an open breaker before one message probes.
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
        """Validate the keywords of a route; raise a one-line `ConfigurationError` that names it."""
        known = [field.name for field in fields(cls)]
        check_names(f"Route {route!r}", keywords, known)
        try:
            return cls(**keywords)
        except ConfigurationError as error:
            raise ConfigurationError(f"Route {route!r}: {error}") from None


ROUTE_OPTIONS = frozenset(field.name for field in fields(RouteOptions))

#: The types of the options that an environment variable can set: all but the exceptions.
SETTABLE_OPTIONS = {
    field.name: field.type
    for field in fields(RouteOptions)
    if field.name not in ("reject_on", "breaker_exceptions")
}


def check_names(subject: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise a one-line `ConfigurationError` for the first name of an option that is not known."""
    for name in names:
        if name not in known:
            raise ConfigurationError(f"{subject} has no option {name!r}.{suggestion(name, known)}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the hint after an unknown name: the closest known name, or all of them."""
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
    """Raise a one-line `ConfigurationError` unless `value` is None or fits the bounds."""
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
