"""An event loop in which waiting takes no time."""

import asyncio
import selectors


class JumpingSelector(selectors.SelectSelector):
    """Where nothing happens until a timer is due, the clock jumps there."""

    now = 0.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("Nothing will ever happen: everything waits for everything.")
            self.now += timeout
        return ready


class ShortTimer:
    """The handle of a timer due within half a millisecond: like uvloop's, it has no `when()`."""

    _source_traceback = None

    def __init__(self, timer):
        self.cancel = timer.cancel
        self.cancelled = timer.cancelled


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock shows 0.0 at first, and whose timers fire at once, in order."""

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


def now():
    """The running loop's time, in steps of a power of two: whatever is added to it stays exact.

    Where a wait is the last bit of a sum, the clock does not move and the wait is never over.
    """
    return round(asyncio.get_running_loop().time() * 1024) / 1024
