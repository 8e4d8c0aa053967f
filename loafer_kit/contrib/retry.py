"""Retry: an extension that handles failed messages again, with delays and limits."""

import functools
import random
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from loafer_kit import outcomes
from loafer_kit.applications import Application, Postpone
from loafer_kit.engine.callables import is_async
from loafer_kit.exceptions import Abort, ConfigurationError, SettingError
from loafer_kit.extensions import Extension
from loafer_kit.outcomes import DeadLetter, Outcome, reason_text
from loafer_kit.types import Callback, Message

_LONGEST_DELAY = 365 * 86_400.0


class RetryableException(Exception):  # noqa: N818 - the documented name
    """Raised by a callback or handler to have its message retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Decides whether and when to retry after an exception. Durations are in seconds."""

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
        """Return the name of each field's setting."""
        return {field.name: f"RETRY_{field.name.upper()}" for field in fields(cls)}

    @classmethod
    def for_error(cls, settings: Mapping[str, Any], error: BaseException) -> Self | None:
        """Return the policy for `error`; None if it is not retryable.

        An exception with an override is retryable; the override of its nearest base class counts.
        """
        overrides = settings["RETRY_OVERRIDES"]
        for kind in type(error).__mro__:
            if kind in overrides:
                return cls.of({**settings, **overrides[kind]})
        return cls.of(settings) if isinstance(error, settings["RETRY_EXCEPTIONS"]) else None

    def delay_after(self, count: int, elapsed: float, chance: float = 0.0) -> float | None:
        """Return the seconds until the next retry; None for no retry.

        `count` retries were made in the `elapsed` seconds since the first failure. `chance` is a
        random number from 0 to 1.
        """
        if self.threshold is not None and count >= self.threshold:
            return None
        if self.timeout is not None and (elapsed > self.timeout or self.timeout == 0):
            return None
        longest = _LONGEST_DELAY if self.max_delay is None else self.max_delay
        try:
            delay = min(float(self.delay * self.backoff**count), longest)
        except OverflowError:
            delay = longest
        return delay * (1 - self.jitter * chance)

    def check(self, *, needs_callback: bool) -> None:
        """Raise `ValueError` or `TypeError` for invalid settings, as Doozer does."""
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

    On an `Application`, RETRY_CALLBACK puts the message back into its source, with its history in
    `message["_retry"]`. On a `LoaferManager`, the message stays in its queue and becomes visible
    again after a delay that depends on how often it has failed; after the last retry it goes to the
    dead-letter queue. Each process counts the failures that it
    saw, and a restart counts anew.
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

    def init_app(self, app: Any) -> None:
        """Register with `app`. Raises `KeyError`, `ValueError` or `TypeError` for wrong settings."""
        is_application = isinstance(app, Application)
        if is_application and "RETRY_CALLBACK" not in app.settings:
            raise SettingError(
                "Retry requires the setting RETRY_CALLBACK of an Application: the function that "
                "puts a message back into its source."
            )
        app.settings.setdefault("RETRY_CALLBACK", None)  # SQS redelivers a manager's messages
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
                "message.not_retryable: Retry keeps its count in message['_retry'], so it needs a "
                "mapping, but the message is of type %s",
                type(message).__name__,
                extra={"event": "message.not_retryable"},
            )
            return
        now = time.time()  # wall clock: it travels with the message between processes
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
        failures = facts.get("failures", facts.get("receive_count", 1))
        retries = int(str(failures)) - 1
        started = facts.get("first_received")
        elapsed = time.time() - started if isinstance(started, float) else 0.0
        delay = policy.delay_after(retries, elapsed, random.random())  # noqa: S311
        if delay is None:
            return DeadLetter(f"given up after {retries} retries: {reason_text(error)}")
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
    """Return the number of retries so far and the time of the first failure."""
    history = message.get("_retry")
    try:
        return int(history["count"]), float(history["start_time"])
    except (KeyError, TypeError, ValueError):  # the first failure, or another library's key
        return 0, now
