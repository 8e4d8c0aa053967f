"""LoaferRunner: owns the event loop, the handler threads and the signal handlers."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from loafer_kit.engine.callables import DaemonThreadPool, handler_threads
from loafer_kit.logs import log_event

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop  # type: ignore[assignment, unused-ignore]

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: The request that does not wait for handlers.
_STOPS_AT_ONCE = 2

#: Seconds that leftover tasks get to end after their cancellation.
_LEFT_BEHIND_GRACE = 1.0


class LoaferRunner:
    """Runs a coroutine, or only the event loop, until it ends or a signal arrives.

    The first SIGINT or SIGTERM stops in an orderly way, the second at once, the third kills the
    process. While the service starts up, the first cancels that, and the second kills.
    `max_workers` limits the threads for plain (not `async`) handlers. `on_stop_callback` is called
    when stopping begins. A runner can be started again.
    """

    def __init__(
        self, max_workers: int | None = None, on_stop_callback: Callable[[], Any] | None = None
    ) -> None:
        self._max_workers = max_workers
        self._on_stop_callback = on_stop_callback
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: Callable[[], object] | None = None
        self._stop_now: Callable[[], object] | None = None
        self._work: Callable[[], None] | None = None
        self._owns_loop = True
        self._reactions = _by_number({"SIGUSR1": lambda: None})
        self._stop_requests = 0
        self._stop_announced = False
        #: True in one of several processes: its parent alone decides about a second request. The
        #: terminal and a service manager signal the whole group.
        self.has_parent = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the current or next run; uvloop's, if it is installed."""
        if self._loop is None or self._loop.is_closed():
            self._loop = new_event_loop()
        return self._loop

    def start(self, debug: bool = False) -> None:
        """Run the loop until `prepare_stop`; then cancel leftover tasks and close it.

        `run` calls it as well, to have the loop run what it was given.
        """
        loop = self.loop
        work = self._work or loop.run_forever
        self._stop_requests, self._stop_announced = 0, False
        if debug:
            loop.set_debug(True)
        threads = DaemonThreadPool(self._max_workers)
        token = handler_threads.set(threads)
        try:
            stops: dict[signal.Signals, Callable[[], object]] = (
                {signal.SIGTERM: self._stop_once}
                if self.has_parent
                else dict.fromkeys(_SIGNALS, self.prepare_stop)
            )
            with on_signals(loop, {**stops, **self._reactions}):
                try:
                    work()
                finally:
                    self.stop()
                    loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            handler_threads.reset(token)
            threads.shutdown()
            if self._owns_loop:
                loop.close()

    def run(
        self,
        main: Coroutine[Any, Any, None],
        *,
        stop: Callable[[], object],
        stop_now: Callable[[], object],
        report: Callable[[], object] = lambda: None,
        pause: Callable[[], object] = lambda: None,
        resume: Callable[[], object] = lambda: None,
        loop: asyncio.AbstractEventLoop | None = None,
        debug: bool = False,
    ) -> None:
        """Run `main` to its end and raise what it raises.

        The first signal calls `stop`, the second `stop_now`: both must make `main` end. If `stop`
        returns true there is nothing to finish, and the second signal kills the process. A `loop`
        that is passed in is not closed. SIGUSR1 calls `report`. SIGTSTP calls `pause` and SIGCONT
        `resume`, unless a terminal is the standard input: there Ctrl-Z stops the process, as ever.
        """
        self._stop, self._stop_now, self._owns_loop = stop, stop_now, loop is None
        flow = {} if os.isatty(0) else {"SIGTSTP": pause, "SIGCONT": resume}
        self._reactions = _by_number({"SIGUSR1": report, **flow})
        if loop is not None:
            self._loop = loop
        self._work = functools.partial(_run_to_end, self.loop, main)
        try:
            self.start(debug=debug)
        finally:
            self._work = self._stop = self._stop_now = None
            if loop is not None:
                self._loop, self._owns_loop = None, True

    def stop_now(self) -> None:
        """Stop at once; for the event loop's thread."""
        while self._stop_requests < _STOPS_AT_ONCE:
            self.prepare_stop()

    def _stop_once(self) -> None:
        if not self._stop_requests:
            self.prepare_stop()

    def prepare_stop(self, *_: object) -> None:
        """Stop in an orderly way; the second call stops at once."""
        self._stop_requests += 1
        if self._stop is None or self._stop_now is None:
            self.loop.stop()
        elif self._stop_requests == 1:
            text = "finishing the messages in hand; signal again to end at once"
            log_event(logger, logging.INFO, "service.stopping", {}, text)
            self._announce_stop()
            if self._stop():
                _let_signals_kill(self.loop)
        else:
            text = "the messages in hand are released; signal again to kill"
            log_event(logger, logging.WARNING, "service.stopping_now", {}, text)
            self._stop_now()
            _let_signals_kill(self.loop)

    def stop(self, *_: object) -> None:
        """Cancel the leftover tasks."""
        self._announce_stop()
        if self._loop is None or self._loop.is_closed() or self._loop.is_running():
            return
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left, timeout=_LEFT_BEHIND_GRACE))

    def _announce_stop(self) -> None:
        if not self._stop_announced and self._on_stop_callback is not None:
            self._on_stop_callback()
        self._stop_announced = True


def _let_signals_kill(loop: asyncio.AbstractEventLoop) -> None:
    """Let the next signal end a process that hangs.

    Linux ignores the default effect of signals on the first process of a container (PID 1), so
    there it needs a handler.
    """
    for number in _SIGNALS:
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.remove_signal_handler(number)
            signal.signal(number, _exit if os.getpid() == 1 else signal.SIG_DFL)


def _exit(number: int, _: object) -> None:
    os._exit(128 + number)


def _run_to_end(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, None]) -> None:
    """Run `main`, whatever other tasks raise.

    asyncio lets a SystemExit or KeyboardInterrupt of any task out of the loop, also of one that a
    handler has started. Its awaiter gets it too, so the handler's message fails with it.
    """
    task = loop.create_task(main)
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            is_signal = (
                isinstance(error, KeyboardInterrupt)
                and signal.getsignal(signal.SIGINT) is signal.default_int_handler
            )
            if task.done() or is_signal:
                raise
            text = "the service goes on"
            log_event(logger, logging.ERROR, "task.exited", {}, text, exc_info=error)


def _by_number(
    reactions: Mapping[str, Callable[[], object]],
) -> dict[signal.Signals, Callable[[], object]]:
    """Leave out the signals that this system does not have."""
    known = signal.Signals.__members__
    return {known[name]: call for name, call in reactions.items() if name in known}


@contextlib.contextmanager
def on_signals(
    loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], object]]
) -> Iterator[None]:
    """Call these handlers on signals while the block runs; outside the main thread, none."""
    handled = []
    for number, handler in handlers.items():
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, handler)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
