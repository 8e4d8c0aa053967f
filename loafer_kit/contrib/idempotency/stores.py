"""Stores: what a store keeps of each key and must do, and the two that need no server."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from loafer_kit.exceptions import ConfigurationError

_T = TypeVar("_T")

_TABLE = """
    CREATE TABLE IF NOT EXISTS idempotency (
        key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL, payload TEXT, result TEXT
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS idempotency_expires ON idempotency (expires);
"""


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


class SQLiteStore:
    """A store in the file at `path`, which may be shared by processes of one machine.

    SQLite runs in a thread. Have `close` called when the service ends:
    `manager.teardown(store.close)`. Raises `ConfigurationError` if the folder does not exist.
    """

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._clock = clock
        if not self._path.parent.is_dir():
            raise ConfigurationError(f"There is no folder {self._path.parent}: create it.")
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def claim(self, key: str, owner: str, seconds: float) -> Record | None:
        return await self._run(_claim, key, owner, self._clock(), seconds)

    async def extend(self, key: str, owner: str, seconds: float) -> bool:
        now = self._clock()
        return await self._run(
            _changed,
            "UPDATE idempotency SET expires = ?"
            " WHERE key = ? AND owner = ? AND payload IS NULL AND expires > ?",
            (now + seconds, key, owner, now),
        )

    async def complete(
        self, key: str, owner: str, payload: str, result: str | None, seconds: float
    ) -> bool:
        now = self._clock()
        return await self._run(
            _changed,
            "INSERT INTO idempotency (key, owner, expires, payload, result) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, expires = excluded.expires,"
            " payload = excluded.payload, result = excluded.result"
            " WHERE owner = excluded.owner AND payload IS NULL OR expires <= ?",
            (key, owner, now + seconds, payload, result, now),
        )

    async def release(self, key: str, owner: str) -> None:
        await self._run(
            _changed,
            "DELETE FROM idempotency WHERE key = ? AND owner = ? AND payload IS NULL",
            (key, owner),
        )

    async def close(self, _service: object = None) -> None:
        """Close the file; it is opened again at the next use."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._disconnect)
            thread.shutdown()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def _run(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Call a function in the store's one thread, in a transaction."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "idempotency")

        def work() -> _T:
            with self._connect() as connection:  # commits, or rolls back
                return function(connection, *arguments)

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, isolation_level="IMMEDIATE")
            try:
                connection.executescript(_TABLE)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _claim(
    connection: sqlite3.Connection, key: str, owner: str, now: float, seconds: float
) -> Record | None:
    connection.execute("DELETE FROM idempotency WHERE expires <= ?", (now,))
    if _changed(
        connection,
        "INSERT OR IGNORE INTO idempotency (key, owner, expires) VALUES (?, ?, ?)",
        (key, owner, now + seconds),
    ):
        return None
    expires, payload, result = connection.execute(
        "SELECT expires, payload, result FROM idempotency WHERE key = ?", (key,)
    ).fetchone()
    return Record(
        seconds=expires - now,
        is_completed=payload is not None,
        payload=payload or "",
        result=result,
    )


def _changed(connection: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> bool:
    return connection.execute(statement, values).rowcount > 0
