"""RedisStore: keeps records in Redis or Valkey, whose clock counts."""

import json
from typing import Any

from loafer_kit.contrib.idempotency.stores import Record
from loafer_kit.exceptions import MissingExtraError

try:
    from redis.asyncio import Redis
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "redis":
        raise
    raise MissingExtraError("loafer_kit.contrib.idempotency.redis", "redis") from None

# A record in progress is its owner, a completed one a JSON object. Each script is atomic.
_CLAIM = """
local found = redis.call('GET', KEYS[1])
if found then return {found, redis.call('PTTL', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""
_EXTEND = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_COMPLETE = """
local found = redis.call('GET', KEYS[1])
if found and found ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisStore:
    """A store in the Redis at `url`, such as "redis://cache:6379/0" or "rediss://…" for TLS.

    `options` are those of `redis.asyncio.Redis.from_url`. Have `close` called when the service ends:
    `manager.teardown(store.close)`. A Redis that loses its last writes, as one that fails over may,
    loses records.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._redis = Redis.from_url(url, **{**options, "decode_responses": True})
        self._claim = self._redis.register_script(_CLAIM)
        self._extend = self._redis.register_script(_EXTEND)
        self._complete = self._redis.register_script(_COMPLETE)
        self._release = self._redis.register_script(_RELEASE)

    async def claim(self, key: str, owner: str, seconds: float) -> Record | None:
        found = await self._claim([_name(key)], [owner, _milliseconds(seconds)])
        if found is None:
            return None
        value, left = found
        if not value.startswith("{"):
            return Record(seconds=left / 1000)
        return Record(seconds=left / 1000, is_completed=True, **json.loads(value))

    async def extend(self, key: str, owner: str, seconds: float) -> bool:
        return bool(await self._extend([_name(key)], [owner, _milliseconds(seconds)]))

    async def complete(
        self, key: str, owner: str, payload: str, result: str | None, seconds: float
    ) -> bool:
        value = json.dumps({"payload": payload, "result": result})
        return bool(await self._complete([_name(key)], [owner, _milliseconds(seconds), value]))

    async def release(self, key: str, owner: str) -> None:
        await self._release([_name(key)], [owner])

    async def close(self, _service: object = None) -> None:
        """Close the connections; they are opened again at the next use."""
        await self._redis.aclose()


def _name(key: str) -> str:
    return f"idempotency:{key}"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
