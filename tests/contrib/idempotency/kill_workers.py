"""Two workers share keys in a file; one of them is killed at random moments, and replaced.

Started as `kill_workers.py FOLDER KILLS SEED`. Appends what happens to `FOLDER/events`.
"""

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

from loafer_kit.contrib.idempotency import Idempotency, SQLiteStore, middleware
from loafer_kit.exceptions import RetryMessage

KEYS = 12
#: Seconds: what a killed worker held is free after that.
LEASE = 3.0

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(int(sys.argv[3]))
middleware._WITHOUT_LEASE = LEASE
events = os.open(folder / "events", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def tell(*words):
    os.write(events, (" ".join(map(str, words)) + "\n").encode())


async def handle(content, metadata):
    tell("began", content["key"], os.getpid())
    await asyncio.sleep(random.uniform(0, 0.01))
    tell("ended", content["key"], os.getpid())
    return True


async def work(key, once):
    while True:
        try:
            return await once({"key": key}, {}, handle)
        except RetryMessage as held:
            await asyncio.sleep(held.delay or random.uniform(0, 0.1))


async def work_all():
    store = SQLiteStore(folder / "records")
    once = Idempotency(store, name="test", key="key")
    keys = random.sample(range(KEYS), KEYS)
    await asyncio.gather(*(work(key, once) for key in keys))
    await store.close()


def start():
    worker = os.fork()
    if worker == 0:
        random.seed()
        try:
            asyncio.run(work_all())
            os._exit(0)
        finally:
            os._exit(1)
    return worker


workers = [start(), start()]
for _ in range(kills):
    time.sleep(chance.uniform(0, 0.15))
    victim = workers.pop(chance.randrange(2))
    os.kill(victim, signal.SIGKILL)
    if os.WIFSIGNALED(os.waitpid(victim, 0)[1]):
        tell("killed", "-", victim)
    workers.append(start())
codes = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
sys.exit(max(codes))
