"""Watchdog: keeps leases while the event loop is blocked, and says what blocked it.

A handler that blocks the loop also stops the heartbeat and the deletions that wait in it. A thread
notices that, and extends the leases with requests of its own until the loop runs again.
"""

import asyncio
import contextlib
import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import loafer_kit
from loafer_kit.logs import log_event

logger = logging.getLogger(__name__)

#: Seconds between two looks of the thread; for short visibility timeouts, this part of them. The
#: loop gives two signs of life meanwhile. After two looks without one, leases are extended.
_INTERVAL = 0.5
_PART_OF_TIMEOUT = 0.1

#: Seconds: a loop that was blocked for longer is reported, and earlier if the block goes on.
_REPORTED, _REPORTED_EARLY = 1.0, 10.0

#: Seconds after a block in which an answer counts as one that had waited for the loop.
_WAITED = 1.0

#: Places in the code that are named for one block.
_MOST_PLACES = 3

#: Seconds: a loop whose clock differs more from the system's has one of its own, as in tests.
_SAME_CLOCK = 60.0

Clock = Callable[[], float]


def lease_clock(loop: asyncio.AbstractEventLoop) -> Clock:
    """Return a clock that shows the loop's time, and never stands still.

    uvloop's own clock stands still while a callback runs, and no loop's goes on while the machine is
    suspended. SQS's does both.
    """
    now = time.monotonic()
    if abs(loop.time() - now) > _SAME_CLOCK:
        return loop.time
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return time.monotonic
    offset = now - time.clock_gettime(time.CLOCK_BOOTTIME)
    return lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + offset


class VisibilityLock:
    """Held while the visibility of a queue's messages changes, so that no change overtakes another.

    The loop takes it with `async with`. The watchdog's thread does not wait for it: it extends only
    messages that are in hand or being deleted, which no change under way is about. The loop's
    changes wait for the thread's.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._thread_has_it = False
        self._released = asyncio.Event()

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        try:
            while self._thread_has_it:
                self._released.clear()
                if self._thread_has_it:
                    await self._released.wait()
        except BaseException:
            self._lock.release()
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        self._lock.release()

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[None]:
        """Make the loop's changes wait. What the block is about must be looked up inside it."""
        self._thread_has_it = True
        try:
            yield
        finally:
            self._thread_has_it = False
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._released.set)


class Watchdog:
    """Watches one loop, for all queues that it consumes.

    A loop with a clock of its own is not watched: the thread would not know the time.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self.clock = lease_clock(self._loop)
        self._can_watch = self.clock != self._loop.time
        #: What extends the leases of each queue, and their visibility timeout.
        self._watched: dict[Callable[[], None], float] = {}
        self._interval = _INTERVAL
        self._timer: asyncio.TimerHandle | None = None
        self._closed = threading.Event()
        #: When the loop last gave a sign of life.
        self._alive_at = self.clock()
        #: From when to when the loop last did not run.
        self._block = (-1.0, -1.0)
        #: Where the loop stood meanwhile: an ordered set.
        self._places: dict[str, None] = {}
        self._reported = False

    def add(self, extend: Callable[[], None], timeout: float) -> None:
        """Call `extend` in the thread while the loop is blocked; it extends leases past half.

        `timeout` is their visibility timeout in seconds.
        """
        self._watched = {**self._watched, extend: timeout}
        self._interval = min(_INTERVAL, _PART_OF_TIMEOUT * min(self._watched.values()))
        if self._timer is None and self._can_watch:
            self._sign_of_life()
            threading.Thread(target=self._run, name="loafer_kit watchdog", daemon=True).start()

    def remove(self, extend: Callable[[], None]) -> None:
        """Call `extend` no longer; the last removal ends the thread."""
        self._watched = {other: t for other, t in self._watched.items() if other != extend}
        if self._watched:
            return
        self._closed.set()
        if self._timer is not None:
            self._timer.cancel()
        _watchdogs.pop(self._loop, None)

    def received_at(self, asked_at: float, answered_at: float) -> float:
        """Return from when the leases of an answer count.

        An answer that arrives while the loop is blocked, or the process stopped, waits: its leases
        may have begun when the block did.
        """
        if self._can_watch:
            self._note_block()
            began, ended = self._block
            if asked_at <= ended and answered_at - ended < _WAITED:
                return began
        return answered_at

    def _sign_of_life(self) -> None:
        self._note_block()
        self._timer = self._loop.call_later(self._interval / 2, self._sign_of_life)

    def _note_block(self) -> None:
        """Note that the loop runs, and whether it did not before."""
        began, now = self._alive_at, self.clock()
        self._alive_at = now
        seconds = now - began
        if seconds < self._interval:
            return
        self._block = began, now
        places, self._places = self._places, {}
        self._reported = False
        if seconds > _REPORTED + self._interval / 4:
            _report(seconds, places, "was")

    # In the thread

    def _run(self) -> None:
        while not self._closed.wait(self._interval) and not self._loop.is_closed():
            blocked = self.clock() - self._alive_at
            if blocked < self._interval:
                continue
            if len(self._places) < _MOST_PLACES and (place := self._find_place()):
                self._places[place] = None
            if blocked > _REPORTED_EARLY and not self._reported:
                self._reported = True
                _report(blocked, self._places, "is")
            if blocked >= 2 * self._interval:
                self._extend()

    def _extend(self) -> None:
        for extend in self._watched:
            try:
                extend()
            except Exception as error:  # noqa: BLE001 - it must go on watching
                log_event(logger, logging.ERROR, "watchdog.failed", {}, exc_info=error)

    def _find_place(self) -> str | None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented so
        return None if frame is None else _place(frame)


def _report(seconds: float, places: dict[str, None], verb: str) -> None:
    where = "; ".join(places) or "an unknown place (the process was stopped, or the GIL was held)"
    logger.warning(
        "loop.blocked duration=%.1fs: the event loop %s blocked in %s",
        seconds,
        verb,
        where,
        extra={"event": "loop.blocked", "duration": seconds, "places": list(places)},
    )


def _place(frame: FrameType) -> str | None:
    """Return the function that the engine or asyncio called, and the line where it stands."""
    line, outermost = "", None
    current: FrameType | None = frame
    while current is not None and not _is_inner(current):
        outermost = current
        line = line or f"{current.f_code.co_filename}:{current.f_lineno}"
        current = current.f_back
    if outermost is None:
        return None
    return f"{outermost.f_code.co_qualname} ({line})"


_INNER = (str(Path(loafer_kit.__file__).parent), str(Path(asyncio.__file__).parent))


def _is_inner(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_INNER)


_watchdogs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watchdog] = (
    weakref.WeakKeyDictionary()
)


def watchdog() -> Watchdog:
    """Return the watchdog of the running loop."""
    loop = asyncio.get_running_loop()
    found = _watchdogs.get(loop)
    if found is None:
        found = _watchdogs[loop] = Watchdog()
    return found
