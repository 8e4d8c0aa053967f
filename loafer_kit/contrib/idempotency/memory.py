"""MemoryStore: keeps records in the memory of this process."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from loafer_kit.contrib.idempotency.records import Record


@dataclass(frozen=True, slots=True)
class _Entry:
    owner: str
    expires: float
    payload: str | None = None
    result: str | None = None


class MemoryStore:
    """A store for tests and for services of one process: a restart forgets everything."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._clean_at = 1_000

    async def claim(self, key: str, owner: str, seconds: float) -> Record | None:
        now = self._clock()
        entry = self._find(key)
        if entry is not None:
            return Record(
                seconds=entry.expires - now,
                is_completed=entry.payload is not None,
                payload=entry.payload or "",
                result=entry.result,
            )
        self._entries[key] = _Entry(owner, now + seconds)
        self._clean()
        return None

    async def extend(self, key: str, owner: str, seconds: float) -> bool:
        if not self._is_in_progress(key, owner):
            return False
        self._entries[key] = _Entry(owner, self._clock() + seconds)
        return True

    async def complete(
        self, key: str, owner: str, payload: str, result: str | None, seconds: float
    ) -> bool:
        if self._find(key) is not None and not self._is_in_progress(key, owner):
            return False
        self._entries[key] = _Entry(owner, self._clock() + seconds, payload, result)
        return True

    async def release(self, key: str, owner: str) -> None:
        if self._is_in_progress(key, owner):
            del self._entries[key]

    def _find(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        return entry if entry is not None and entry.expires > self._clock() else None

    def _is_in_progress(self, key: str, owner: str) -> bool:
        entry = self._find(key)
        return entry is not None and entry.owner == owner and entry.payload is None

    def _clean(self) -> None:
        """Forget what has expired, whenever there are twice as many records as after the last time."""
        if len(self._entries) >= self._clean_at:
            self._entries = {key: entry for key, entry in self._entries.items() if self._find(key)}
            self._clean_at = max(1_000, 2 * len(self._entries))
