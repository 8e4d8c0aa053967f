"""How many fetches of a route are open at once: as many as it takes to keep its slots busy."""


class Receivers:
    """One when idle, more while full responses find idle slots, never more than `maximum`.

    Responses decide, and only those that had room for a full batch: how long handlers take never
    counts.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.wanted = 1

    def observe(self, received: int, limit: int, batch_size: int, *, slots_idle: bool) -> None:
        """Learn from a response of `received` messages to a fetch for up to `limit`."""
        if received == 0:
            self.wanted = 1
        elif limit < batch_size:
            return
        elif received < limit:
            self.wanted = max(1, self.wanted - 1)
        elif slots_idle:
            self.wanted = min(self.maximum, self.wanted + 1)

    def failed(self) -> None:
        """Learn that a fetch failed: one is enough to find out when the source is back."""
        self.wanted = 1
