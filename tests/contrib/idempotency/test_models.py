"""Any order of requests: the file and the memory give the same answers."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from loafer_kit.contrib.idempotency import MemoryStore, SQLiteStore

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
    run_state_machine_as_test(Stores, settings=settings(stateful_step_count=20))
