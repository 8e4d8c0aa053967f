"""Middleware: coroutine functions around the handler of a route."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from loafer_kit.engine.callables import is_async
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.types import Forwarder

#: `call_next(content, metadata)` calls the next middleware, or the handler, and returns its answer.
CallNext = Callable[[Any, Any], Awaitable[Any]]

#: `async middleware(content, metadata, call_next)` returns the answer that decides the outcome.
#: Around a batch handler, content and metadata are lists. What it raises counts as raised by the
#: handler.
Middleware = Callable[[Any, Any, CallNext], Awaitable[Any]]


def checked(where: str, middleware: object) -> tuple[Middleware, ...]:
    """Return the middleware of a route or service; `where` names it in an error.

    Raises `ConfigurationError` for anything but coroutine functions.
    """
    if not isinstance(middleware, Iterable) or isinstance(middleware, str | bytes):
        raise ConfigurationError(
            f"{where}: middleware must be a list of coroutine functions, not {middleware!r}."
        )
    found = tuple(middleware)
    for function in found:
        if not callable(function) or isinstance(function, type) or not is_async(function):
            raise ConfigurationError(
                f"{where}: middleware must be a coroutine function, "
                f"`async def name(content, metadata, call_next)`, not {function!r}."
            )
    return found


def checked_forwarder(where: str, target: object) -> Forwarder | None:
    """Return the `forward_to` of a route or service; raise `ConfigurationError` if it cannot be one."""
    if target is None or isinstance(target, Forwarder):
        return target
    raise ConfigurationError(f"{where}: forward_to must be a Producer, not {target!r}.")


def compose(middleware: Iterable[Middleware], handler: CallNext) -> CallNext:
    """Return a callable that passes content and metadata through all of them, the first outermost."""
    for function in reversed(tuple(middleware)):
        handler = partial(_call, function, handler)
    return handler


def _call(function: Middleware, call_next: CallNext, content: Any, metadata: Any) -> Awaitable[Any]:
    return function(content, metadata, call_next)
