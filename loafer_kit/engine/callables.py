"""Calls functions of users: in the event loop if they are async, else in a thread."""

import asyncio
import contextvars
import functools
import importlib
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import ContextVar
from typing import Any

from loafer_kit.exceptions import ConfigurationError

#: The executor of plain (not async) callables; None is the loop's default executor.
handler_threads: ContextVar[Executor | None] = ContextVar("handler_threads", default=None)


def is_async(function: Callable[..., Any]) -> bool:
    """True if calling `function` returns a coroutine.

    Also for `functools.partial` and for objects with an `async def __call__`.
    """
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - its kind matters
    )


async def run_in_loop_or_executor(function: Callable[..., Any], *args: Any) -> Any:
    """Await an async callable; run any other in a handler thread."""
    if is_async(function):
        return await function(*args)
    return await run_in_executor(function, *args)


async def run_in_executor(function: Callable[..., Any], *args: Any) -> Any:
    """Run a plain callable in a handler thread, with a copy of the caller's context.

    If it returns an awaitable, that is awaited in the loop.
    """
    context = contextvars.copy_context()
    call = functools.partial(context.run, function, *args)
    result = await asyncio.get_running_loop().run_in_executor(handler_threads.get(), call)
    return await result if inspect.isawaitable(result) else result


def import_callable(full_name: str) -> Callable[..., Any]:
    """Return the callable at a dotted path such as `package.module.function`.

    Raises `ConfigurationError` if the path leads to none.
    """
    module_name, _, name = full_name.rpartition(".")
    if not module_name:
        raise ConfigurationError(f"{full_name!r} is not a dotted path: write package.module.name.")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise ConfigurationError(
            f"Cannot import {module_name!r} for {full_name!r}: {error}"
        ) from error
    except AttributeError as error:
        raise ConfigurationError(f"Module {module_name!r} has no {name!r}.") from error
    if not callable(found):
        raise ConfigurationError(
            f"{full_name!r} is a {type(found).__name__}, which cannot be called."
        )
    return found  # type: ignore[no-any-return]
