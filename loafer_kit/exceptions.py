"""Every error that loafer_kit raises on purpose, under one base."""

from typing import Any


class LoaferKitError(Exception):
    """The base of every error below: catch it to tell a reported problem from a bug."""


class ConfigurationError(LoaferKitError):
    """What was configured cannot work. Every operation stops."""


class MissingExtraError(LoaferKitError):
    """A feature needs a package that the base install does not carry."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs more than the base install: pip install 'loafer-kit[{extra}]'"
        )
        self.feature = feature
        self.extra = extra


class ProviderError(LoaferKitError):
    """A provider failed in a way that trying again does not cure. Every operation stops."""


class TransientProviderError(ProviderError):
    """A provider failed for a passing reason: the engine backs off and tries again.

    `retry_after` is the least number of seconds to wait, when the source named one.
    """

    def __init__(self, *args: object, retry_after: float | None = None) -> None:
        super().__init__(*args)
        self.retry_after = retry_after


class ConsumerError(LoaferKitError):
    """An Application's consumer failed; its exception is the `__cause__`."""


class SourceExhausted(LoaferKitError):  # noqa: N818 - an end, not an error
    """Raised by a provider's fetch when no message will ever come again: its route ends cleanly."""


class LoaferException(LoaferKitError):  # noqa: N818 - the documented name
    """The base of what a handler raises (or returns) to say what becomes of its message."""


class DeleteMessage(LoaferException):
    """Acknowledge the message: it is deleted."""


class RetryMessage(LoaferException):
    """Make the message visible again after `delay` seconds.

    Without a delay it is computed from the receive count: exponential, with full jitter.
    """

    def __init__(self, reason: str = "", *, delay: float | None = None) -> None:
        super().__init__(reason)
        if delay is not None and delay < 0:
            raise ValueError("The delay cannot be negative.")
        self.reason = reason
        self.delay = delay


class RejectMessage(LoaferException):
    """Send the message to the dead-letter queue: no further attempt can succeed."""

    def __init__(self, reason: str = "rejected by the handler") -> None:
        super().__init__(reason)
        self.reason = reason


class InvalidPayloadError(LoaferKitError, ValueError):
    """A message's content does not fit the type that its handler takes."""


class Abort(LoaferKitError):  # noqa: N818 - the documented name
    """Stop processing a message; from a consumer's `read()`, stop reading.

    `reason` has the form "noun.verb" (e.g. "provider.ignored"); `message` is what is aborted.
    """

    def __init__(self, reason: str, message: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message


class FatalError(LoaferKitError):
    """Raised by a route to stop the whole service; its `__cause__` comes out of `run`."""
