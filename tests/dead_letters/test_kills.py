"""A replay that is killed at any point: no letter is lost, and none doubled that is not named."""

import contextlib
import os
import random
import signal
import subprocess
import threading
from collections import Counter

from hypothesis import settings
from moto.sqs.responses import SQSResponse
from programs import Program

from loafer_kit.dead_letters import replays
from loafer_kit.exceptions import ServiceError

LETTERS = 8
#: Requests of a replay: it receives, sends each letter, deletes them, and receives no more.
REQUESTS = ["receive_message", "send_message", "delete_message_batch"]
TURNS = LETTERS + 3


def points():
    """Yield a request and whether it is carried out: some of each kind, or a hundred in a soak."""
    yield from [(1, True), (2, False), (5, True), (7, False), (LETTERS + 1, True)]
    yield from [(LETTERS + 2, False), (LETTERS + 2, True), (TURNS, False)]
    if settings.get_current_profile_name() == "soak":
        chance = random.Random()
        yield from ((chance.randint(1, TURNS), chance.random() < 0.5) for _ in range(92))


class Killer:
    """Kills a replay at one of its requests, before or after the server carries it out."""

    def __init__(self, turn, *, after):
        self.left = turn
        self.after = after
        self.action = None
        self.process = Program(
            *("-m", "loafer_kit", "dlq", "replay", "orders-dead", "--yes"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wraps(self, method):
        def answer(response):
            self.left -= 1
            is_turn = self.left == 0
            if is_turn:
                self.action = method.__name__
            if is_turn and not self.after:
                self.kill()
                return 500, {"status": 500}, "{}"  # nobody reads it
            answer = method(response)
            if is_turn:
                self.kill()
            return answer

        return answer


def wait_for_requests(mail):
    """Let the server carry out what the killed process has asked for."""
    mail.queues.counts("orders")  # it is accepted after all those
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(30)


async def test_a_killed_replay_is_resumed_without_losing_or_doubling(
    visit, mail, local_server, monkeypatch
):
    """Afterwards each letter is in exactly one of both queues, or named as possibly doubled."""
    for turn, after in points():
        ids = {mail.reject(str(number)): str(number) for number in range(LETTERS)}
        with monkeypatch.context() as patch:
            killer = Killer(turn, after=after)
            for name in REQUESTS:
                patch.setattr(SQSResponse, name, killer.wraps(getattr(SQSResponse, name)))
            killer.process.wait(60)
            wait_for_requests(mail)
        for letter in ids:  # SQS does it when the hold is over
            if handle := local_server.polls.handles["orders-dead"].get(letter):
                with contextlib.suppress(ServiceError):  # it was deleted
                    mail.queues.make_visible("orders-dead", handle)

        async with visit() as opened:
            outcomes = [outcome async for outcome in replays.replay(opened)]

        assert [outcome.problem for outcome in outcomes if outcome.problem] == []
        named = {ids[outcome.letter] for outcome in outcomes if outcome.possibly_doubled}
        found = Counter(mail.bodies("orders"))
        assert set(found) == set(ids.values())
        assert {body for body, count in found.items() if count > 1} <= named
        assert mail.bodies("orders-dead") == []
        if killer.action == "delete_message_batch":  # every send was recorded
            assert named == set()
