"""How many fetches of a route are open at once: as many as it takes to keep its slots busy."""


class PollScaler:
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


def fetch_limit(*, in_hand: int, handled_at_once: int, prefetch: int, batch_size: int) -> int:
    """Return how many messages the next fetch may bring; 0 when there is to be none.

    A fetch starts when a full one fits, or when a slot would idle without it: asking for single
    messages whenever a handler ends would cost a request for each.
    """
    room = handled_at_once + prefetch - in_hand
    if room >= batch_size:
        return batch_size
    return max(0, room) if in_hand < handled_at_once else 0
