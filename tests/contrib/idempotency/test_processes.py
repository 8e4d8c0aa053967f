"""Real processes that share keys, killed at random moments."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import defaultdict
from pathlib import Path

from hypothesis import settings

WORKERS = Path(__file__).with_name("kill_workers.py")


def rounds():
    """Yield the number of kills and a seed: once, or a hundred times in a soak."""
    yield 4, 7
    if settings.get_current_profile_name() == "soak":
        yield from ((random.randint(1, 12), random.randrange(10**6)) for _ in range(99))


def test_no_two_workers_handle_a_key_at_once_and_none_again_unless_one_was_killed(tmp_path):
    """Each key is handled; again only by the successor of a worker that was killed with it."""
    for kills, seed in rounds():
        folder = tmp_path / str(seed)
        folder.mkdir()
        arguments = [sys.executable, WORKERS, folder, str(kills), str(seed)]
        subprocess.run(arguments, check=True, timeout=100)
        holders, done, killed = {}, defaultdict(list), set()
        for line in (folder / "events").read_text().splitlines():
            event, key, process = line.split()
            match event:
                case "killed":
                    killed.add(process)
                case "began":
                    assert holders.get(key) is None or holders[key] in killed, (seed, line)
                    assert set(done[key]) <= killed, (seed, line)
                    holders[key] = process
                case "ended":
                    assert holders[key] == process, (seed, line)
                    holders[key] = None
                    done[key].append(process)
        assert len(done) == 12, seed
        assert all(done.values()), seed


SERVICE = """
    import asyncio, sys
    from loafer_kit.contrib.idempotency import Idempotency, SQLiteStore
    from loafer_kit.ext.aws.routes import SQSRoute
    from loafer_kit.managers import LoaferManager

    queue, file, hang = sys.argv[1:]
    store = SQLiteStore(file)

    async def handler(order, metadata):
        print("began", order, flush=True)
        if hang == "yes":
            await asyncio.sleep(60)
        return True

    route = SQSRoute(queue, {"options": {"WaitTimeSeconds": 1}}, handler=handler, name="orders")
    manager = LoaferManager([route], middleware=[Idempotency(store, name="billing", key="@")])
    manager.teardown(store.close)
    manager.run()
"""


def test_a_service_takes_over_from_one_that_was_killed(
    local_server, local_queues, tmp_path, python_copies
):
    """Orders that were sent twice are handled once; those of the dead, once more when its leases end."""
    name = local_queues.fresh(visibility_timeout=2)
    processes = []

    def start(hang):
        script = ["-c", textwrap.dedent(SERVICE), name, str(tmp_path / "records"), hang]
        environment = local_server.child_environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
        processes.append(
            subprocess.Popen(
                [sys.executable, *script], env=environment, stdout=subprocess.PIPE, text=True
            )
        )
        return processes[-1]

    try:
        for order in (1, 2, 3, 1, 2, 3):
            local_queues.send(name, order)
        first = start("yes")
        begun = {first.stdout.readline() for _ in range(3)}
        first.kill()
        assert first.stdout.read() == ""
        second = start("no")
        deadline = time.monotonic() + 60
        while local_queues.counts(name).total:
            assert time.monotonic() < deadline, local_queues.counts(name)
            time.sleep(0.3)
        second.send_signal(signal.SIGTERM)
        lines = second.communicate(timeout=60)[0].splitlines(keepends=True)
        assert second.returncode == 0
        assert begun == set(lines) == {f"began {order}\n" for order in (1, 2, 3)}
        assert len(lines) == 3
    finally:
        for process in processes:
            process.kill()
            process.communicate()
