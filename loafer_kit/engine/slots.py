"""The manager's limit: how many handlers of all routes together may run."""

from collections.abc import Callable


class Slots:
    """Counts handlers; whoever found no slot free is called, in turn, when one is."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._waiting: dict[Callable[[], None], None] = {}

    def ready_or_notify(self, wake: Callable[[], None]) -> bool:
        """Tell whether a slot is free; if not, `wake` is called once when one may be."""
        if self._used < self.limit:
            return True
        self._waiting[wake] = None
        return False

    def take(self) -> None:
        """Use a slot that `ready_or_notify` found free."""
        self._used += 1

    def give_back(self) -> None:
        """Free a slot; wake who waits, the longest first, until somebody has taken it."""
        self._used -= 1
        while self._waiting and self._used < self.limit:
            wake = next(iter(self._waiting))
            del self._waiting[wake]
            wake()
