"""Records: what a store keeps of each key, and what it must do."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a key that is taken. Its handler is running or has succeeded."""

    #: Seconds until the record expires and the key is free.
    seconds: float

    is_completed: bool = False

    #: Of a completed record: the fingerprint of the content, or "".
    payload: str = ""

    #: Of a completed record: the answer of the handler as JSON; None if it is not kept.
    result: str | None = None


class Store(Protocol):
    """Keeps records of keys. Its methods may raise anything: the store then counts as down.

    An `owner` is one call of a handler. A record that has expired counts as absent. Whatever two
    processes ask for at the same time, one of them is first.
    """

    async def claim(self, key: str, owner: str, seconds: float) -> Record | None:
        """Record that `owner` handles `key`, for `seconds`, and return None.

        If the key is taken, change nothing and return its record.
        """

    async def extend(self, key: str, owner: str, seconds: float) -> bool:
        """Have the record expire in `seconds`; return False if it is not in progress by `owner`."""

    async def complete(
        self, key: str, owner: str, payload: str, result: str | None, seconds: float
    ) -> bool:
        """Record that `owner` has succeeded, for `seconds`.

        Changes nothing and returns False if the record is completed or another owner's.
        """

    async def release(self, key: str, owner: str) -> None:
        """Delete the record if it is in progress by `owner`."""
