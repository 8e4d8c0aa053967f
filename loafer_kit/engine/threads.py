"""The threads of plain (not `async`) handlers, and the handler call that runs in a task or thread."""

import asyncio
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
