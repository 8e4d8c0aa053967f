"""Retry: a message whose handling failed is tried again, later and not for ever."""

import functools
import random
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from loafer_kit import outcomes
from loafer_kit.applications import Application
from loafer_kit.engine.application_route import Postpone
from loafer_kit.engine.callables import is_async
from loafer_kit.exceptions import Abort, ConfigurationError
from loafer_kit.extensions import Extension
from loafer_kit.outcomes import DeadLetter, Outcome
from loafer_kit.types import Callback, Message

_LONGEST_DELAY = 365 * 86_400.0


class RetryableException(Exception):  # noqa: N818 - the documented name
    """Exception to be raised when a message should be retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Whether and when to retry after one kind of exception. Durations are in seconds."""

    delay: float
    backoff: float
    max_delay: float | None
    jitter: float
    threshold: int | None
    timeout: float | None
    callback: Callback | None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Read a policy from the `RETRY_…` settings."""
        return cls(**{name: settings[setting] for name, setting in cls.setting_names().items()})

    @classmethod
    def setting_names(cls) -> dict[str, str]:
        """Return which setting each field is read from."""
        return {field.name: f"RETRY_{field.name.upper()}" for field in fields(cls)}

    @classmethod
    def for_error(cls, settings: Mapping[str, Any], error: BaseException) -> Self | None:
        """Return the policy for `error`; None when it is not retryable.

        The override of the nearest class counts; an exception that has one is retryable.
        """
        overrides = settings["RETRY_OVERRIDES"]
        for kind in type(error).__mro__:
            if kind in overrides:
                return cls.of({**settings, **overrides[kind]})
        return cls.of(settings) if isinstance(error, settings["RETRY_EXCEPTIONS"]) else None

    def delay_after(self, count: int, elapsed: float, chance: float = 0.0) -> float | None:
        """Return the seconds until the next retry; None when there is to be none.

        `count` retries were made, `elapsed` seconds have passed since the first failure; `chance`
        is drawn from 0 to 1.
        """
        if self.threshold is not None and count >= self.threshold:
            return None
        if self.timeout is not None and elapsed > self.timeout:
            return None
        longest = _LONGEST_DELAY if self.max_delay is None else self.max_delay
        try:
            delay = min(float(self.delay * self.backoff**count), longest)
        except OverflowError:
            delay = longest
        return delay * (1 - self.jitter * chance)

    def check(self, *, needs_callback: bool) -> None:
        """Raise `ValueError` or `TypeError` for what cannot work, the documented checks first."""
        if self.delay < 0:
            raise ValueError("The delay cannot be negative.")
        if self.backoff < 0:
            raise ValueError("The backoff cannot be negative.")
        if needs_callback and (self.callback is None or not is_async(self.callback)):
            raise TypeError("The retry callback is not a coroutine.")
        if self.max_delay is not None and self.max_delay < 0:
            raise ValueError("The longest delay cannot be negative.")
        if not 0 <= self.jitter <= 1:
            raise ValueError("The jitter must be from 0 to 1: the part of the delay it may take.")


_OVERRIDABLE = frozenset(RetryPolicy.setting_names().values())


class Retry(Extension):
    """Retries messages whose handling raised a retryable exception.

    On an `Application`, RETRY_CALLBACK gives the message back to its source, with its history in
    `message["_retry"]`. On a `LoaferManager` the message is left where it lives and becomes
    visible again after the delay, computed from its receive count; one that is not to be retried
    again is sent to the dead-letter queue.
    """

    DEFAULT_SETTINGS: ClassVar[Mapping[str, Any]] = {
        "RETRY_BACKOFF": 1,
        "RETRY_DELAY": 0,
        "RETRY_EXCEPTIONS": RetryableException,
        "RETRY_JITTER": 0,
        "RETRY_MAX_DELAY": None,
        "RETRY_OVERRIDES": {},
        "RETRY_THRESHOLD": None,
        "RETRY_TIMEOUT": None,
    }
    REQUIRED_SETTINGS = ("RETRY_CALLBACK",)

    def init_app(self, app: Any) -> None:
        """Begin to retry; raise `KeyError`, `ValueError` or `TypeError` for wrong settings."""
        is_application = isinstance(app, Application)
        if not is_application:  # the message goes back where it came from: nothing to call
            app.settings.setdefault("RETRY_CALLBACK", None)
        super().init_app(app)
        _check(app.settings, needs_callback=is_application)
        if is_application:
            app.callbacks["error"].insert(0, self._retry)
        else:
            app.failure_policy = self._decide

    async def _retry(self, app: Application, message: Message, error: Exception) -> None:
        policy = RetryPolicy.for_error(app.settings, error)
        if policy is None or policy.callback is None:
            return
        if not isinstance(message, MutableMapping):
            app.logger.error(
                "message.not_retryable: Retry keeps its count in message['_retry'], which needs a "
                "mapping, but the message is of type %s",
                type(message).__name__,
            )
            return
        now = time.time()  # it travels with the message, so no monotonic clock can tell it
        count, started = _history(message, now)
        delay = policy.delay_after(count, now - started, random.random())  # noqa: S311
        if delay is None:
            return
        message["_retry"] = {"count": count + 1, "start_time": started}
        if policy.delay:
            message["_retry"]["delay"] = delay
        work = functools.partial(policy.callback, app, message)
        if delay:
            raise Postpone("message.retried", message, delay, work)
        await work()
        raise Abort("message.retried", message)

    def _decide(self, error: BaseException, facts: Mapping[str, object]) -> Outcome | None:
        policy = RetryPolicy.for_error(self.app.settings, error)
        if policy is None:
            return None
        retries = int(str(facts.get("receive_count", 1))) - 1
        started = facts.get("first_received")
        elapsed = time.time() - started if isinstance(started, float) else 0.0
        delay = policy.delay_after(retries, elapsed, random.random())  # noqa: S311
        if delay is None:
            return DeadLetter(f"given up after {retries} retries: {type(error).__name__}: {error}")
        return outcomes.Retry(delay)


def _check(settings: Mapping[str, Any], *, needs_callback: bool) -> None:
    policies = [RetryPolicy.of(settings)]
    for kind, overrides in settings["RETRY_OVERRIDES"].items():
        unknown = sorted(set(overrides) - _OVERRIDABLE)
        if unknown:
            raise ConfigurationError(
                f"RETRY_OVERRIDES of {kind.__name__} cannot have {', '.join(unknown)}; "
                f"it may have {', '.join(sorted(_OVERRIDABLE))}."
            )
        policies.append(RetryPolicy.of({**settings, **overrides}))
    for policy in policies:
        policy.check(needs_callback=needs_callback)


def _history(message: Message, now: float) -> tuple[int, float]:
    """Return how many retries were made, and when the first failure was."""
    history = message.get("_retry")
    try:
        return int(history["count"]), float(history["start_time"])
    except (KeyError, TypeError, ValueError):  # none yet, or not ours
        return 0, now
