"""Database: the inbox on a real PostgreSQL, whose transactions run beside each other."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import text

from loafer_kit import LoaferManager
from loafer_kit.contrib.database import Database, current_session
from loafer_kit.engine.deliveries import Deliveries
from loafer_kit.outcomes import ACKNOWLEDGE, LEAVE
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider, deliver

pytestmark = pytest.mark.slow


@pytest.fixture
def uri():
    """The URI of a server of its own, which listens on a socket in its folder."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        pytest.skip("no PostgreSQL: install it, and put initdb and postgres on PATH")
    user = "nobody" if os.getuid() == 0 else os.getuid()  # PostgreSQL refuses to run as root
    # Not in the tests' own folder: that user may not enter it, and the path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp") as name:
        folder = Path(name)
        shutil.chown(folder, user)
        initdb = ["initdb", "--auth=trust", "--no-sync", "--username=test", "-D", folder / "data"]
        subprocess.run(initdb, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
        options = [
            "-c",
            "fsync=off",
            "-c",
            "listen_addresses=",
            "-k",
            folder,
            "-D",
            folder / "data",
        ]
        with subprocess.Popen(
            ["postgres", *options], user=user, cwd=folder, stderr=subprocess.PIPE, text=True
        ) as server:
            for line in server.stderr:
                if "ready to accept connections" in line:
                    break
            yield f"postgresql+asyncpg://test@/postgres?host={folder}"
            server.send_signal(signal.SIGINT)  # it does not wait for its clients


async def test_duplicates_at_the_same_time_wait_for_each_other(uri):
    """The second is handled if the first is rolled back, and not if it is committed."""
    manager = LoaferManager([], settings={"DATABASE_URI": uri})
    database = Database(manager)
    inbox = database.inbox
    async with database.engine.begin() as connection:
        await connection.run_sync(database.metadata.create_all)
        await connection.execute(text("CREATE TABLE effects (name TEXT)"))
    answers, running, go_on = [False, True], asyncio.Semaphore(0), asyncio.Event()

    async def handle(content, metadata):
        await current_session().execute(text("INSERT INTO effects VALUES ('a')"))
        running.release()
        await go_on.wait()
        return answers.pop(0)

    middleware = database.once("billing", lambda content, metadata: content)
    route = Route(InMemoryProvider(), handle, middleware=[middleware])
    deliveries = [asyncio.create_task(deliver(route, "a")) for _ in range(3)]
    await running.acquire()
    async with database.engine.connect() as connection:
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while await connection.scalar(waiting) < 2:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.01)
    assert running.locked()
    go_on.set()

    outcomes = await asyncio.gather(*deliveries)
    assert sorted(map(str, outcomes)) == sorted(map(str, [LEAVE, ACKNOWLEDGE, ACKNOWLEDGE]))
    async with database.session() as session:
        assert await session.scalar(text("SELECT count(*) FROM effects")) == 1
        (row,) = (await session.execute(inbox.select())).all()
    assert (row.consumer, len(row.key)) == ("billing", 64)
    assert row.handled_at.tzinfo is not None

    async def handle_batch(contents, metadata):
        return contents == ["b", "c"]

    route = Route(InMemoryProvider(), handle_batch, middleware=[middleware], batch_handler_size=3)
    handled = await Deliveries(route).deliver_batch(["b", "a", "c"])
    assert [delivery.outcome for delivery in handled] == [ACKNOWLEDGE] * 3
    await database.dispose()
