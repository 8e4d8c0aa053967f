"""Idempotency: middleware that handles the messages of one key once.

`keys` says which messages are the same, `stores` what a store must do. A store that needs a server has
a module of its own, which imports the client of that server.
"""

from loafer_kit.contrib.idempotency.keys import attribute, message_key
from loafer_kit.contrib.idempotency.middleware import Idempotency
from loafer_kit.contrib.idempotency.stores import MemoryStore, Record, SQLiteStore, Store

__all__ = [
    "Idempotency",
    "MemoryStore",
    "Record",
    "SQLiteStore",
    "Store",
    "attribute",
    "message_key",
]
