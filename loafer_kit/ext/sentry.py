"""Reports to Sentry: failed messages, and which message any other report is about."""

from collections.abc import Callable
from typing import Any

from loafer_kit.events import ObservedCall, Observer

#: The part of a `traceparent` that is Sentry's own header: the ids of trace and span.
_IDS = slice(3, 52)


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
        f"not {client!r}."
    )


class SentryScope(Observer):
    """Gives what is reported while a message is handled its route, its id and its trace.

    `sdk` is `sentry_sdk`. Route, queue and id are tags; so are the ids of a batch, as one.
    """

    def __init__(self, sdk: Any) -> None:
        self._sdk = sdk

    def started(self, call: ObservedCall) -> None:
        """Give the task of a handler a scope of its own, which its error handler has, too."""
        provider, messages = call.route.provider, call.messages
        tags = {"route": call.route.name, **provider.describe(messages[0])}
        if len(messages) > 1:
            ids = [str(provider.describe(message).get("message_id")) for message in messages]
            tags |= {"message_id": ", ".join(ids)}
        headers = provider.trace_headers(messages[0])
        scope = self._sdk.get_isolation_scope().fork()
        scope.set_tags(tags)
        scope.generate_propagation_context(
            {**headers, "sentry-trace": headers.get("traceparent", "")[_IDS]}
        )
        self._sdk.Scope.set_isolation_scope(scope)
