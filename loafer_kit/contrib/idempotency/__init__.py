"""Idempotency: middleware that handles the messages of one key once.

`keys` says which messages are the same, `records` what a store must do; each store is a module:
`memory`, `sqlite`, `dynamodb`, `redis`. What a store connects to belongs there, what it means here.
"""

from loafer_kit.contrib.idempotency.keys import attribute, message_key
from loafer_kit.contrib.idempotency.middleware import Idempotency
from loafer_kit.contrib.idempotency.records import Record, Store

__all__ = ["Idempotency", "Record", "Store", "attribute", "message_key"]
