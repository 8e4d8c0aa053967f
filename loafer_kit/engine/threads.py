"""The threads in which plain (not `async`) handlers run."""

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

_Work = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class DaemonThreadPool(Executor):
    """An executor whose threads never keep the process alive.

    The standard pool is joined when the interpreter exits: one handler that hangs would keep a
    service from ending, however often it is told to.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self._max_workers = max_workers or min(32, (os.cpu_count() or 1) + 4)
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` in a thread: an idle one, a new one, or the next that is free."""
        future: Future[Any] = Future()
        self._queue.put((future, fn, args, kwargs))
        if not self._idle.acquire(blocking=False) and self._threads < self._max_workers:
            self._threads += 1
            threading.Thread(
                target=self._work, name=f"handler-{self._threads}", daemon=True
            ).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end when they are done; running calls are not waited for."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            future, function, args, kwargs = work
            del work
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - it belongs to who waits for it
                    future.set_exception(error)
            del future, function, args, kwargs
            self._idle.release()
