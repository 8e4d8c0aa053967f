"""An event loop in which waiting takes no time."""

import asyncio
import selectors


class JumpingSelector(selectors.SelectSelector):
    """Moves the clock to the next timer when no I/O is ready."""

    now = 0.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("Deadlock: every task waits, and no timer is set.")
            self.now += timeout
        return ready


class ShortTimer:
    """The handle of a timer due within half a millisecond: like uvloop's, it has no `when()`."""

    _source_traceback = None

    def __init__(self, timer):
        self.cancel = timer.cancel
        self.cancelled = timer.cancelled


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0.0, and whose timers fire in order without waiting."""

    def __init__(self):
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.now

    def call_at(self, when, callback, *args, context=None):
        timer = super().call_at(when, callback, *args, context=context)
        return timer if when - self.time() > 0.0005 else ShortTimer(timer)


def run(main):
    """Run a coroutine function in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


def freeze(seconds):
    """Let time pass in which the running loop does nothing, as if it were blocked or stopped."""
    asyncio.get_running_loop()._jumping.now += seconds


def now():
    """The running loop's time, rounded to a multiple of 1/1024 s.

    Sums with such times are exact. A wait that is lost in rounding would never end, because the
    clock would not move.
    """
    return round(asyncio.get_running_loop().time() * 1024) / 1024
