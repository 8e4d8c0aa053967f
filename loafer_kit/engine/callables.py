"""Calls functions of users: in the event loop if they are async, else in a handler thread.

It also holds these threads, and what is known of the handler call that runs.
"""

import asyncio
import contextlib
import contextvars
import functools
import importlib
import inspect
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from loafer_kit.exceptions import ConfigurationError

logger = logging.getLogger(__name__)

_Work = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class DaemonThreadPool(Executor):
    """An executor whose threads never keep the process alive.

    The interpreter joins the threads of `ThreadPoolExecutor` at exit, so a handler that hangs would
    keep the service from ending, even after repeated signals.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self._limit = max_workers or min(32, (os.cpu_count() or 1) + 4)
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads = 0
        self._started = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` in an idle thread, in a new one, or in the next free one."""
        future: Future[Any] = Future()
        self._queue.put((future, fn, args, kwargs))
        if not self._idle.acquire(blocking=False):
            self._add_thread()
        return future

    def replace(self, future: Future[Any]) -> None:
        """Let another thread take the place of the one that runs `future`, until that ends.

        Nobody waits for a call that outlasted its time limit. Its thread no longer counts, or it
        would keep error handlers and the handlers of other messages from running.
        """
        with self._lock:
            self._limit += 1
        if not self._queue.empty():
            self._add_thread()
        future.add_done_callback(self._replaced)

    def resize(self, by: int) -> None:
        """Allow so many more threads, or fewer: those beyond the limit end after their calls."""
        with self._lock:
            self._limit += by
        for _ in range(min(by, self._queue.qsize())):
            self._add_thread()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads after their current calls, without waiting for them."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _replaced(self, _: Future[Any]) -> None:
        with self._lock:
            self._limit -= 1

    def _add_thread(self) -> None:
        with self._lock:
            if self._threads >= self._limit:
                return
            self._threads += 1
            self._started += 1
            name = f"handler-{self._started}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _is_surplus(self) -> bool:
        """True, once, for each thread beyond the limit: a replaced thread came back."""
        if self._threads <= self._limit:
            return False
        with self._lock:
            surplus = self._threads > self._limit
            self._threads -= surplus
        return surplus

    def _next_work(self) -> _Work | None:
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            self._idle.release()
            return self._queue.get()

    def _work(self) -> None:
        while not self._is_surplus() and (work := self._next_work()) is not None:
            future, function, args, kwargs = work
            del work
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - the future's owner gets it
                    future.set_exception(error)
            del future, function, args, kwargs


#: The threads of plain callables. A runner sets its own.
handler_threads: ContextVar[DaemonThreadPool] = ContextVar(
    "handler_threads",
    default=DaemonThreadPool(),  # noqa: B039 - shared on purpose
)


@dataclass(slots=True, eq=False)
class HandlerCall:
    """What the engine knows of a running handler call."""

    #: When the handler began, by `time.monotonic`; a plain handler begins in its thread.
    began: float = field(default_factory=time.monotonic, kw_only=True)
    #: The task of the call.
    task: asyncio.Task[Any] | None = field(default=None, kw_only=True)
    #: The thread in which a plain callable runs.
    thread: int | None = field(default=None, kw_only=True)
    #: Plain calls that nobody waits for any more, but whose threads run on.
    left_behind: list[Future[Any]] = field(default_factory=list, kw_only=True)

    def facts(self) -> Mapping[str, object]:
        """Return what identifies the call in a log line: its route, queue and message ids."""
        return {}

    def enter_thread(self) -> None:
        """Note, in the thread, that a plain callable begins in it."""
        self.began, self.thread = time.monotonic(), threading.get_ident()

    def stack(self) -> str:
        """Format the stack of the thread, or the chain of awaits of the task, outermost call first."""
        if self.thread is not None:
            frame = sys._current_frames().get(self.thread)  # noqa: SLF001 - documented
            return "".join(traceback.format_stack(frame)) if frame else ""
        frames = []
        awaited: Any = self.task.get_coro() if self.task is not None else None
        while awaited is not None:
            frame = _first_of(awaited, "cr_frame", "gi_frame", "ag_frame")
            if frame is not None:
                frames.append((frame, frame.f_lineno))
            awaited = _first_of(awaited, "cr_await", "gi_yieldfrom", "ag_await")
        return "".join(traceback.StackSummary.extract(iter(frames)).format())


def _first_of(awaited: object, *names: str) -> Any:
    return next((getattr(awaited, name) for name in names if hasattr(awaited, name)), None)


#: The handler call of the current task.
current_call: ContextVar[HandlerCall | None] = ContextVar("current_call", default=None)


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
