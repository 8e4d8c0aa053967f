"""The contract that the middleware relies on, for every store."""

import asyncio
import importlib
import sys
import time
import uuid

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from redis.exceptions import RedisError

from loafer_kit.contrib.idempotency.dynamodb import DynamoDBStore
from loafer_kit.contrib.idempotency.redis import RedisStore
from loafer_kit.contrib.idempotency.stores import MemoryStore, SQLiteStore
from loafer_kit.exceptions import ConfigurationError, MissingExtraError, ProviderError

#: Seconds: records that must not expire within a test, and those that must.
LONG, SHORT = 60, 0.05


@pytest.fixture
def key():
    return f"orders/{uuid.uuid4().hex}/Bestellung \N{SNOWMAN} 'or' \"1\"\n"


async def claim_when_free(store, key, owner):
    """Claim a key as soon as its record expires."""
    async with asyncio.timeout(10):
        while (record := await store.claim(key, owner, LONG)) is not None:
            assert record.seconds <= SHORT + 1
            await asyncio.sleep(max(0.005, record.seconds))


async def test_one_owner_claims_a_key(store, key):
    assert await store.claim(key, "a", LONG) is None
    record = await store.claim(key, "b", LONG)
    assert not record.is_completed
    assert LONG - 5 < record.seconds <= LONG
    assert await store.claim(key, "a", LONG) is not None  # it has it already
    assert await store.claim(key + "2", "b", LONG) is None


async def test_of_many_claims_at_once_one_succeeds(open_store, key):
    stores = [open_store(), open_store()]
    found = await asyncio.gather(
        *(stores[number % 2].claim(key, str(number), LONG) for number in range(10))
    )
    assert found.count(None) == 1


async def test_a_claim_that_expires_is_free(store, key):
    assert await store.claim(key, "a", SHORT) is None
    await claim_when_free(store, key, "b")


async def test_a_late_owner_changes_nothing_of_its_successor(open_store, key):
    late, store = open_store(), open_store()
    assert await late.claim(key, "late", SHORT) is None
    await claim_when_free(store, key, "b")

    assert not await late.extend(key, "late", SHORT)
    assert not await late.complete(key, "late", "payload", "1", SHORT)
    await late.release(key, "late")

    record = await store.claim(key, "c", LONG)
    assert not record.is_completed
    assert record.seconds > SHORT + 5
    assert await store.extend(key, "b", LONG)


async def test_an_extended_claim_lasts_longer(store, key):
    assert await store.claim(key, "a", LONG) is None
    assert await store.extend(key, "a", 3 * LONG)
    record = await store.claim(key, "b", LONG)
    assert 2 * LONG < record.seconds <= 3 * LONG
    assert not record.is_completed
    assert not await store.extend(key, "b", LONG)


async def test_an_expired_or_absent_claim_is_not_extended(store, key):
    assert not await store.extend(key, "a", LONG)
    assert await store.claim(key, "a", SHORT) is None
    await asyncio.sleep(2 * SHORT)  # nothing tells of its end
    assert not await store.extend(key, "a", LONG)
    assert await store.claim(key, "b", LONG) is None


async def test_a_completed_record_tells_payload_and_result(store, key):
    result = '{"a": "' + "x" * 100_000 + '\\u2603 \N{SNOWMAN}"}'
    assert await store.claim(key, "a", LONG) is None
    assert await store.complete(key, "a", "payload", result, 2 * LONG)

    record = await store.claim(key, "a", LONG)
    assert (record.is_completed, record.payload, record.result) == (True, "payload", result)
    assert LONG < record.seconds <= 2 * LONG


async def test_a_completed_record_may_have_neither_payload_nor_result(store, key):
    assert await store.claim(key, "a", LONG) is None
    assert await store.complete(key, "a", "", None, LONG)
    record = await store.claim(key, "b", LONG)
    assert (record.is_completed, record.payload, record.result) == (True, "", None)


async def test_a_completed_record_stays_until_it_expires(store, key):
    """A late extension or release of its own owner does not touch it."""
    assert await store.claim(key, "a", LONG) is None
    assert await store.complete(key, "a", "payload", None, LONG)
    assert not await store.extend(key, "a", SHORT)
    await store.release(key, "a")
    assert not await store.complete(key, "a", "other", None, SHORT)
    assert (await store.claim(key, "b", LONG)).payload == "payload"


async def test_a_completed_record_that_expires_is_free(store, key):
    assert await store.claim(key, "a", LONG) is None
    assert await store.complete(key, "a", "payload", None, SHORT)
    await claim_when_free(store, key, "b")
    assert not (await store.claim(key, "c", LONG)).is_completed


async def test_success_after_the_claim_has_expired_is_recorded(store, key):
    """Nobody else has claimed the key: what happened counts."""
    assert await store.claim(key, "a", SHORT) is None
    await asyncio.sleep(2 * SHORT)  # nothing tells of its end
    assert await store.complete(key, "a", "payload", None, LONG)
    assert (await store.claim(key, "b", LONG)).is_completed


async def test_success_without_a_record_is_recorded(store, key):
    """The store may have deleted what had expired."""
    assert await store.complete(key, "a", "payload", None, LONG)
    assert (await store.claim(key, "b", LONG)).is_completed


async def test_a_released_key_is_free(store, key):
    assert await store.claim(key, "a", LONG) is None
    await store.release(key, "b")
    assert await store.claim(key, "b", LONG) is not None
    await store.release(key, "a")
    assert await store.claim(key, "b", LONG) is None


async def test_another_process_sees_the_records(open_store, key):
    assert await open_store().claim(key, "a", LONG) is None
    assert await open_store().claim(key, "b", LONG) is not None


async def test_a_closed_store_opens_again(store, key):
    assert await store.claim(key, "a", LONG) is None
    if hasattr(store, "close"):
        await store.close()
        await store.close()
    assert await store.claim(key, "b", LONG) is not None


@pytest.mark.parametrize("wrong_by", [-3600, 3600])
async def test_the_clock_of_dynamodb_counts(dynamodb, key, wrong_by):
    """A machine whose clock is wrong neither takes a key too early nor holds it too long."""
    right = DynamoDBStore("records", **dynamodb)
    wrong = DynamoDBStore("records", clock=lambda: time.time() + wrong_by, **dynamodb)
    try:
        assert await right.claim(key, "right", LONG) is None
        assert LONG - 5 < (await wrong.claim(key, "wrong", LONG)).seconds < LONG + 5
        await right.release(key, "right")
        assert await wrong.claim(key, "wrong", LONG) is None
        assert LONG - 5 < (await right.claim(key, "right", LONG)).seconds < LONG + 5
        assert await wrong.complete(key, "wrong", "", None, 2 * LONG)
        assert LONG < (await right.claim(key, "right", LONG)).seconds < 2 * LONG + 5
    finally:
        await right.close()
        await wrong.close()


async def test_dynamodb_deletes_records_after_they_have_expired(dynamodb, key):
    """The attribute for its time to live is a whole number of seconds, never too early."""
    store = DynamoDBStore("records", **dynamodb)
    found = []
    try:
        for change in (store.claim(key, "a", LONG), store.extend(key, "a", 2 * LONG)):
            await change
            answer = await store._clients.request(
                "dynamodb",
                "GetItem",
                "Table 'records'",
                {"TableName": "records", "Key": {"id": {"S": key}}},
            )
            expires = float(answer["Item"]["expires_at"]["N"])
            found.append(int(answer["Item"]["expiration"]["N"]))
            assert expires <= found[-1] <= expires + 1
        assert found[1] - found[0] >= LONG - 1
    finally:
        await store.close()


async def test_a_table_that_does_not_exist_is_named(dynamodb, key):
    store = DynamoDBStore("missing", **dynamodb)
    try:
        with pytest.raises(ProviderError, match=r"^Table 'missing': .*not found[^\n]*$"):
            await store.claim(key, "a", LONG)
    finally:
        await store.close()


def test_an_unknown_option_of_dynamodb_is_refused():
    with pytest.raises(ConfigurationError, match="no option 'endpoint'"):
        DynamoDBStore("records", endpoint="http://127.0.0.1")


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"There is no folder .*absent: create it"):
        SQLiteStore(tmp_path / "absent" / "records")


async def test_the_file_keeps_no_expired_records(tmp_path):
    store = SQLiteStore(tmp_path / "records")
    for number in range(10):
        await store.claim(str(number), "a", SHORT)
    await claim_when_free(store, "9", "b")
    await store.claim("0", "b", LONG)
    count = "SELECT count(*) FROM idempotency"
    assert await store._run(lambda connection: connection.execute(count).fetchone()) == (2,)
    await store.close()


async def test_the_memory_keeps_no_expired_records():
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    for number in range(10_000):
        now[0] = number
        await store.claim(str(number), "a", 100)
    assert len(store._entries) <= 1_000


async def test_a_redis_that_is_down_raises(tmp_path, key):
    store = RedisStore(f"unix://{tmp_path}/absent")
    with pytest.raises(RedisError, match="No such file"):
        await store.claim(key, "a", LONG)
    await store.close()


def test_without_its_client_redis_names_the_extra(monkeypatch):
    for name in ("redis", "redis.asyncio"):
        monkeypatch.setitem(sys.modules, name, None)  # `import` then finds no such module
    name = "loafer_kit.contrib.idempotency.redis"
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"pip install 'loafer-kit\[redis\]'$"):
        importlib.import_module(name)


KEYS = st.sampled_from(["a", "b"])
OWNERS = st.sampled_from(["one", "two"])
SECONDS = st.sampled_from([1.0, 5.0])


class Stores(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = 1_000.0
        self.runner = asyncio.Runner()
        self.stores = [
            MemoryStore(clock=lambda: self.now),
            SQLiteStore(":memory:", clock=lambda: self.now),
        ]

    def teardown(self):
        self.runner.run(self.stores[1].close())
        self.runner.close()

    def ask(self, action, *arguments):
        memory, file = (
            self.runner.run(getattr(store, action)(*arguments)) for store in self.stores
        )
        assert memory == file

    @rule(key=KEYS, owner=OWNERS, seconds=SECONDS)
    def claim(self, key, owner, seconds):
        self.ask("claim", key, owner, seconds)

    @rule(key=KEYS, owner=OWNERS, seconds=SECONDS)
    def extend(self, key, owner, seconds):
        self.ask("extend", key, owner, seconds)

    @rule(key=KEYS, owner=OWNERS, payload=st.sampled_from(["", "x"]), seconds=SECONDS)
    def complete(self, key, owner, payload, seconds):
        self.ask("complete", key, owner, payload, None, seconds)

    @rule(key=KEYS, owner=OWNERS)
    def release(self, key, owner):
        self.ask("release", key, owner)

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0]))
    def wait(self, seconds):
        self.now += seconds


def test_the_file_and_the_memory_give_the_same_answers():
    """Whatever the order of the requests."""
    run_state_machine_as_test(Stores, settings=settings(stateful_step_count=20))
