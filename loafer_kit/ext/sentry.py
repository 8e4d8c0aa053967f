"""Error handler that reports failed messages to Sentry."""

from collections.abc import Callable
from typing import Any


def sentry_handler(client: Any, delete_message: bool = False) -> Callable[..., bool]:
    """Return an error handler that reports the exception, with the raw message beside it.

    `client` is `sentry_sdk` itself, one of its scopes or hubs, or an object with raven's
    `captureException`. If `delete_message` is true, a reported message is acknowledged.
    """
    report = _reporter(client)

    def error_handler(*failure: Any) -> bool:
        """Take `(exc_info, message)`, or `(exc_type, exc, message)` as Loafer 1.0 called it."""
        *error, message = failure
        exc_info = error[0] if len(error) == 1 else (*error, error[1].__traceback__)
        report(exc_info, message)
        return delete_message

    return error_handler


def _reporter(client: Any) -> Callable[[Any, Any], object]:
    if hasattr(client, "capture_exception"):
        return lambda exc_info, message: client.capture_exception(
            exc_info, extras={"message": message}
        )
    if hasattr(client, "captureException"):
        return lambda exc_info, message: client.captureException(
            exc_info, extra={"message": message}
        )
    raise TypeError(
        "sentry_handler takes sentry_sdk, a scope or hub of it, or a raven client, "
        f"but got {client!r}."
    )
