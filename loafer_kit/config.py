"""The settings of a service and the options of its routes, with their environment variables."""

import copy
import difflib
import os
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Self

from loafer_kit.exceptions import ConfigurationError, SettingError

#: The environment variables of a process as a whole.
PROCESS_VARIABLES = (
    "LOAFER_AMQP_URL",
    "LOAFER_CONTROL",
    "LOAFER_HEALTH_FILE",
    "LOAFER_HTTP",
    "LOAFER_LOG",
    "LOAFER_LOG_LEVEL",
    "LOAFER_MAX_RSS",
    "LOAFER_PROCESSES",
)


def parameter(name: str, default: str | None = None) -> str:
    """Return an environment variable; the default if it is unset or empty.

    `SettingError` if there is no default either: it ends the process with one line.
    """
    value = os.environ.get(name) or default
    if value is None:
        raise SettingError(f"The environment variable {name} is missing: set it.")
    return value


def route_variable(route: str, option: str) -> str:
    """Return the environment variable that sets an option of a route: LOAFER_ORDERS_CONCURRENCY."""
    return "_".join(
        re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_").upper() for word in ("loafer", route, option)
    )


@contextmanager
def environment_options(route: str, kinds: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the options of a route that the environment sets; `kinds` are their types.

    They override what the code says. `SettingError`, which ends the process with one line, if a
    value does not have its type, or if the block raises `ConfigurationError` for the options.
    """
    values = {
        option: from_environment(route_variable(route, option), kind)
        for option, kind in kinds.items()
    }
    found = {option: value for option, value in values.items() if value is not None}
    try:
        yield found
    except ConfigurationError as error:
        if names := ", ".join(route_variable(route, option) for option in found):
            raise SettingError(f"{error} The environment sets {names}.") from None
        raise


def from_environment(name: str, kind: Any) -> Any:
    """Return an environment variable as a value of type `kind`; None if it is unset or empty.

    Lists, dicts and the like are JSON; a text is taken as it is.
    """
    text = os.environ.get(name)
    if not text or kind is str:
        return text or None
    import pydantic  # most services set nothing, and start faster

    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(kind)
    read = adapter.validate_json if kind in (dict, list) else adapter.validate_python
    try:
        return read(text)
    except pydantic.ValidationError as error:
        raise SettingError(
            f"The environment variable {name} is invalid: {error.errors()[0]['msg']}."
        ) from None


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
        check_names(f"Route {route!r}", keywords, ROUTE_OPTIONS)
        try:
            return cls(**keywords)
        except ConfigurationError as error:
            raise ConfigurationError(f"Route {route!r}: {error}") from None


ROUTE_OPTIONS = frozenset(field.name for field in fields(RouteOptions))

#: The types of the options that an environment variable can set: all but the exceptions.
SETTABLE_ROUTE_OPTIONS = {
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


def copied(value: Any) -> Any:
    """Return `value` with the dicts, lists, sets and other containers in it copied.

    The rest stays as it is, unlike with `copy.deepcopy`: modules and locks cannot be copied, and
    sentinels are known by their identity. So does a container that refuses to be copied, and all of
    `value` if it is nested too deeply or holds itself.
    """
    try:
        return _copied(value)
    except RecursionError:
        return value


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _copied(item) for key, item in value.items()}
    if kind in (list, tuple):
        return kind(map(_copied, value))
    if not isinstance(value, dict | list | set | bytearray | deque):
        return value
    try:
        copy_of_it: Any = copy.copy(value)
        if isinstance(value, dict):
            copy_of_it.update({key: _copied(item) for key, item in value.items()})
        elif isinstance(value, list):
            copy_of_it[:] = map(_copied, value)
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001 - a class may raise anything
        return value
    return copy_of_it


class Config(dict[str, Any]):
    """A dict of settings that can be filled from mappings, modules, classes and instances."""

    @classmethod
    def of(cls, settings: object | None) -> Self:
        """Make a config from a mapping, an object, or None."""
        config = cls()
        if isinstance(settings, Mapping):
            config.from_mapping(settings)
        elif settings is not None:
            config.from_object(settings)
        return config

    def from_mapping(self, mapping: Mapping[Any, Any]) -> None:
        """Add the upper-case keys of `mapping`, overwriting existing ones."""
        self.update({key: mapping[key] for key in mapping if _is_setting_name(key)})

    def from_object(self, obj: object) -> None:
        """Add the upper-case attributes of `obj`, overwriting existing ones."""
        self.update({key: getattr(obj, key) for key in dir(obj) if _is_setting_name(key)})


def _is_setting_name(key: object) -> bool:
    return isinstance(key, str) and key.isupper()
