"""Every error that loafer_kit raises on purpose, under one base."""

import math
from typing import Any


class LoaferKitError(Exception):
    """The base of all errors below: any other exception is a bug."""


class ConfigurationError(LoaferKitError):
    """The configuration cannot work. Every operation stops."""


class SettingError(ConfigurationError, KeyError, SystemExit):
    """A setting or parameter is missing, or its environment variable has an invalid value.

    Services are constructed while they are imported, where they cannot catch it. As a `SystemExit`
    it ends the process with its one line and exit code 1. Code for Doozer catches it as a `KeyError`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message

    def __str__(self) -> str:
        return str(self.args[0])


class MissingExtraError(LoaferKitError, SystemExit):
    """A feature needs a package that the base install does not include.

    Services import it where they cannot catch the error: as a `SystemExit` it ends the process with its
    one line and exit code 1.
    """

    def __init__(self, feature: str, extra: str) -> None:
        message = f"{feature} needs more than the base install: pip install 'loafer-kit[{extra}]'"
        super().__init__(message)
        self.code = message
        self.feature = feature
        self.extra = extra


class ProviderError(LoaferKitError):
    """A provider failed permanently. Every operation stops."""


class TransientProviderError(ProviderError):
    """A provider failed temporarily: the engine backs off and tries again.

    `retry_after` is the minimum wait in seconds, if the source named one.
    """

    def __init__(self, *args: object, retry_after: float | None = None) -> None:
        super().__init__(*args)
        self.retry_after = retry_after


class ConsumerError(LoaferKitError):
    """An Application's consumer failed; its exception is the `__cause__`."""


class SourceExhausted(LoaferKitError):  # noqa: N818 - an end, not an error
    """Raised by a provider's fetch when there are no more messages: its route ends cleanly."""


class ServiceError(LoaferKitError):
    """SQS or SNS refused a request or cannot be reached; `code` is AWS's error code, or empty."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class LoaferException(LoaferKitError):  # noqa: N818 - the documented name
    """The base of the requests that a handler raises or returns to decide its message's outcome.

    The class itself, and subclasses of it other than those below, are failures like any exception.
    """


class DeleteMessage(LoaferException):
    """Acknowledge the message: it is deleted."""


class RetryMessage(LoaferException):
    """Make the message visible again after `delay` seconds.

    Without a delay, it grows exponentially with the receive count, with full jitter.
    """

    def __init__(self, reason: str = "", *, delay: float | None = None) -> None:
        super().__init__(reason)
        if delay is not None and not 0 <= delay < math.inf:
            raise ValueError(f"The delay cannot be negative or infinite, but it is {delay!r}.")
        self.reason = reason
        self.delay = delay


class RejectMessage(LoaferException):
    """Send the message to the dead-letter queue: no further attempt can succeed.

    The reason may be any object, such as an exception.
    """

    def __init__(self, reason: object = "rejected by the handler") -> None:
        super().__init__(reason)
        self.reason = reason


class InvalidPayloadError(LoaferKitError, ValueError):
    """A message's content does not fit the type that its handler names."""


class Abort(LoaferKitError):  # noqa: N818 - the documented name
    """Stop processing a message; from a consumer's `read()`, stop reading.

    `reason` has the form "noun.verb" (e.g. "provider.ignored"); `message` is the aborted message.
    """

    def __init__(self, reason: str, message: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message


class FatalError(LoaferKitError):
    """Raised by a route to stop the whole service; `run` raises its `__cause__`."""

    @property
    def reason(self) -> Exception:
        """The exception that `run` raises.

        A SystemExit or the like would end the event loop before the messages in hand are settled,
        so it stays a cause.
        """
        return self.__cause__ if isinstance(self.__cause__, Exception) else self
