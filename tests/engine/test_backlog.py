"""The backlog against a plain model of it."""

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from loafer_kit.engine.backlog import Backlog


class BacklogMachine(RuleBasedStateMachine):
    """Puts, takes, finishes and withdraws in any order."""

    def __init__(self):
        super().__init__()
        self.backlog = Backlog()
        self.number = 0
        self.waiting = []  # (number, key) in the order of arrival
        self.running = []  # keys being handled

    @rule(key=st.sampled_from([None, "a", "b", "c"]))
    def put(self, key):
        self.number += 1
        self.backlog.put(self.number, key)
        self.waiting.append((self.number, key))

    def startable(self):
        seen = set(self.running)
        for number, key in self.waiting:
            if key is None or key not in seen:
                yield number, key
                seen.add(key)

    @precondition(lambda self: self.backlog.ready)
    @rule()
    def take(self):
        taken = self.backlog.take()
        assert taken in list(self.startable())
        self.waiting.remove(taken)
        if taken[1] is not None:
            self.running.append(taken[1])

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data):
        key = data.draw(st.sampled_from(self.running))
        self.running.remove(key)
        self.backlog.finished(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def withdraw(self, data):
        key = data.draw(st.sampled_from(self.running))
        self.running.remove(key)
        behind = [entry for entry in self.waiting if entry[1] == key]
        assert self.backlog.withdraw(key) == [number for number, _ in reversed(behind)]
        self.waiting = [entry for entry in self.waiting if entry[1] != key]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data):
        entry = data.draw(st.sampled_from(self.waiting))
        after = self.waiting[self.waiting.index(entry) + 1 :]
        behind = [other for other in after if entry[1] is not None and other[1] == entry[1]]
        assert self.backlog.remove(entry[0]) == [number for number, _ in reversed(behind)]
        self.waiting = [other for other in self.waiting if other not in (entry, *behind)]

    @rule()
    def clear(self):
        released = self.backlog.clear()
        assert sorted(released) == [number for number, _ in self.waiting]
        for key in "abc":
            of_key = [number for number, k in self.waiting if k == key]
            assert [number for number in released if number in of_key] == of_key[::-1]
        self.waiting.clear()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def clear_but_some(self, data):
        kept = data.draw(st.sets(st.sampled_from([number for number, _ in self.waiting])))
        left = [
            (number, key)
            for position, (number, key) in enumerate(self.waiting)
            if number in kept
            or (key and any(n in kept and k == key for n, k in self.waiting[position:]))
        ]
        released = self.backlog.clear(kept.__contains__)
        assert sorted(released) == [n for n, k in self.waiting if (n, k) not in left]
        self.waiting = left

    @invariant()
    def counts_agree(self):
        """What waits is counted, and exactly what may start is ready."""
        assert len(self.backlog) == len(self.waiting)
        assert self.backlog.ready == len(list(self.startable()))


TestBacklog = BacklogMachine.TestCase
