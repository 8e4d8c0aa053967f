"""Calls functions of users: in the event loop if they are async, else in a thread."""

import asyncio
import contextlib
import contextvars
import functools
import importlib
import inspect
import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from loafer_kit.engine.threads import HandlerCall, current_call, handler_threads
from loafer_kit.exceptions import ConfigurationError

logger = logging.getLogger(__name__)


def is_async(function: Callable[..., Any]) -> bool:
    """True if calling `function` returns a coroutine.

    Also for `functools.partial` and for objects with an `async def __call__`.
    """
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - its kind matters
    )


def generator_kind(function: Callable[..., Any]) -> str | None:
    """Return "a generator" or "an async generator" if a call of `function` only makes one.

    Also for partials, methods, objects with such a `__call__`, and behind plain decorators.
    """
    if isinstance(function, type):
        return None
    function = _innermost(function)
    call = getattr(function, "__call__", function)  # noqa: B004 - its kind matters
    for inner in (function, _innermost(call)):
        if inspect.isasyncgenfunction(inner):
            return "an async generator"
        if inspect.isgeneratorfunction(inner) and not _is_awaitable_generator(inner):
            return "a generator"
    return None


def _innermost(function: Any) -> Any:
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__") and not is_async(function):
            function = function.__wrapped__
        else:
            return function


def _is_awaitable_generator(function: Any) -> bool:
    """True for a function that `types.coroutine` has made awaitable."""
    code = getattr(function, "__code__", None)
    return bool(code and code.co_flags & inspect.CO_ITERABLE_COROUTINE)


async def run_in_loop_or_executor(function: Callable[..., Any], *args: Any) -> Any:
    """Await an async callable; run any other in a handler thread. Await an awaitable answer."""
    if is_async(function):
        return await awaited(await function(*args))
    return await run_in_executor(function, *args)


async def awaited(answer: Any) -> Any:
    """Return `answer`, awaited for as long as it is awaitable."""
    while inspect.isawaitable(answer):
        answer = await answer
    return answer


#: The time limit of the current handler call; None without one.
time_limit: ContextVar[asyncio.Timeout | None] = ContextVar("time_limit", default=None)


async def run_in_executor(function: Callable[..., Any], *args: Any) -> Any:
    """Run a plain callable in a handler thread, with a copy of the caller's context.

    The clock of `time_limit` stands still until a thread has started the call: waiting for one is
    not the handler's fault. If the caller is cancelled, a call that has not started is withdrawn;
    one that has runs on, and the current handler call keeps it among its `left_behind`. If it
    returns an awaitable, that is awaited in the loop.
    """
    handler_call = current_call.get()
    run = functools.partial(contextvars.copy_context().run, function, *args)
    began = _stopped_clock()
    threads = handler_threads.get()
    future = threads.submit(_in_thread, run, handler_call, began)
    try:
        result, error = await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        if not future.done():  # a call that had not started is withdrawn by now
            logger.warning(
                "handler.runs_on: %r runs on, a thread cannot be cancelled",
                function,
                extra={"event": "handler.runs_on", "handler": repr(function)},
            )
            # Soon: calls that are cancelled together with this one are withdrawn, not started.
            asyncio.get_running_loop().call_soon(threads.replace, future)
            if handler_call is not None:
                handler_call.left_behind.append(future)
        raise
    finally:
        del future  # it holds the exception, whose traceback holds this frame
    if error is not None:
        try:
            raise raisable(error)
        finally:
            del error
    return await awaited(result)


def _in_thread(
    run: Callable[[], Any], handler_call: HandlerCall | None, began: Callable[[], object] | None
) -> tuple[Any, BaseException | None]:
    """Return the result of `run` or its exception.

    asyncio's futures refuse StopIteration, and a SystemExit would end the loop.
    """
    if handler_call is not None:
        handler_call.enter_thread()
    if began is not None:
        began()
    try:
        return run(), None
    except BaseException as error:  # noqa: BLE001 - raised in the loop
        return None, error
    finally:
        if handler_call is not None:
            handler_call.thread = None


def _stopped_clock() -> Callable[[], object] | None:
    """Stop the clock of the current time limit; return what lets it go on, from any thread."""
    scope = time_limit.get()
    due = None if scope is None else scope.when()
    if scope is None or due is None:  # None as well when middleware calls the handler twice at once
        return None
    loop = asyncio.get_running_loop()
    left = due - loop.time()
    scope.reschedule(None)

    def go_on() -> None:
        with contextlib.suppress(RuntimeError):  # the call was cancelled meanwhile
            scope.reschedule(loop.time() + left)

    def call_soon() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(go_on)

    return call_soon


def raisable(error: BaseException) -> BaseException:
    """Return what a coroutine raises in the place of a plain function's `error`.

    It is the error itself, but a RuntimeError from it for a StopIteration, which would end the
    coroutine, and for a CancelledError, which would pass for a cancellation of the task.
    """
    if not isinstance(error, StopIteration | asyncio.CancelledError):
        return error
    carrier = RuntimeError(f"A plain function raised {error!r}.")
    carrier.__cause__ = error
    return carrier


def ends_task(exc: BaseException) -> bool:
    """True if `exc` is a cancellation, or ends a coroutine that is closed.

    Anything else is a failure of the code that raised it, SystemExit and KeyboardInterrupt too: out
    of a task they would end the loop, and with it all the messages in hand. (A signal does not
    raise here, since the runner handles it.)
    """
    if isinstance(exc, GeneratorExit):
        return asyncio._get_running_loop() is None  # noqa: SLF001 - get_running_loop raises
    return isinstance(exc, asyncio.CancelledError)


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
