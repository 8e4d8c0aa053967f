"""The runner, with real signals sent to real processes."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import programs
import pytest
from terminals import Person

from loafer_kit.runners import LoaferRunner


def start(code, *command):
    process = programs.Popen(
        [*command, sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert process.stdout.readline() == "ready\n"
    return process


SERVICE = """
    import asyncio, sys, time
    from loafer_kit.managers import LoaferManager
    from loafer_kit.providers import AbstractProvider
    from loafer_kit.routes import Route

    class Source(AbstractProvider):
        poll_grace = 0.1
        sent = False
        async def fetch_messages(self):
            if self.sent:
                await asyncio.sleep(60)
            self.sent = True
            return ["m"]
        async def confirm_message(self, message):
            print("confirmed", message, flush=True)

    {handler}

    manager = LoaferManager([Route(Source(), handler)], grace_time=20)

    @manager.teardown
    async def teardown(manager):
        print("torn down", flush=True)

    manager.run()
    print("returned", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_is_in_hand(number):
    """The handler ends, its message is confirmed, teardown runs, the exit code is 0."""
    process = start(SERVICE.format(handler="""
    async def handler(message, metadata):
        print("ready", flush=True)
        await asyncio.sleep(0.5)
        return True
    """))
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert output.split("\n") == ["confirmed m", "torn down", "returned", ""]
    assert process.returncode == 0, errors


def test_a_second_signal_ends_at_once():
    """The handler is cancelled; nothing is confirmed; teardown runs."""
    process = start(SERVICE.format(handler="""
    async def handler(message, metadata):
        print("ready", flush=True)
        await asyncio.sleep(60)
        return True
    """))
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert output.split("\n") == ["torn down", "returned", ""]
    assert process.returncode == 0, errors


def test_a_thread_that_hangs_does_not_keep_the_process_alive():
    """A plain handler that never returns cannot be stopped, but the process ends."""
    process = start(SERVICE.format(handler="""
    def handler(message, metadata):
        print("ready", flush=True)
        time.sleep(600)
    """))
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert output.split("\n") == ["torn down", "returned", ""]
    assert "handler.runs_on" in errors


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_sigusr1_tells_where_every_handler_stands(kind):
    """With its message, its age and its stack; the service goes on."""
    wait = "await asyncio.sleep(60)" if kind == "async def" else "time.sleep(60)"
    process = start(SERVICE.format(handler=f"""
    {kind} stand_here():
        print("ready", flush=True)
        {wait}

    {kind} handler(message, metadata):
        {"await " if kind == "async def" else ""}stand_here()
    """))
    process.send_signal(signal.SIGUSR1)
    line = process.stderr.readline()
    while "in stand_here" not in line:
        line += process.stderr.readline()
    assert line.startswith("handler.running route=default message_ids=")
    assert process.poll() is None
    process.kill()
    process.communicate()


STARTING = SERVICE.format(handler="handler = print").replace(
    "manager.run()",
    """
    @manager.startup
    async def wait(manager):
        print("ready", flush=True)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if not hang:
                    raise

    manager.run()
    """,
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_a_startup_callback_that_waits(number):
    """Nothing is fetched, teardown runs, the exit code is 0."""
    process = start("    hang = False" + STARTING)
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert output.split("\n") == ["torn down", "returned", ""]
    assert process.returncode == 0, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_kills_a_process_that_hangs_at_its_start(number):
    """A startup callback that ignores its cancellation; the system ends the process."""
    process = start("    hang = True" + STARTING)
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == -number


HANGING = SERVICE.format(handler="""
    async def handler(message, metadata):
        print("ready", flush=True)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
    """)


def test_a_third_signal_kills_a_process_that_hangs():
    """A handler that ignores its cancellation keeps the second one from ending it at once."""
    process = start(HANGING)
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(("code", "signals"), [("    hang = True" + STARTING, 2), (HANGING, 3)])
def test_signals_kill_the_first_process_of_a_container_too(code, signals):
    """Linux ignores the default effect of signals on PID 1."""
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no PID namespace may be made here: {error}")
    process = start(code, *unshare)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    (first,) = map(int, children.read_text().split())
    try:
        for _ in range(signals - 1):
            os.kill(first, signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
        os.kill(first, signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            os.kill(first, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 128 + signal.SIGTERM


def test_start_runs_the_loop_until_prepare_stop():
    """`start`, `prepare_stop` and the callback work without a manager, more than once."""
    stops = []
    runner = LoaferRunner(on_stop_callback=lambda: stops.append("stop"))
    for _ in range(2):
        runner.loop.call_later(0.01, runner.prepare_stop)
        runner.start()
    assert stops == ["stop", "stop"]


def test_debug_reaches_the_loop():
    """`start(debug=True)` turns on the event loop's debug mode."""
    seen = []
    runner = LoaferRunner()
    runner.loop.call_soon(lambda: (seen.append(runner.loop.get_debug()), runner.prepare_stop()))
    runner.start(debug=True)
    assert seen == [True]


def test_tasks_left_behind_are_cancelled():
    """Nothing pending survives the loop."""
    cancelled = []

    async def forever():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    runner = LoaferRunner()
    task = runner.loop.create_task(forever())
    runner.loop.call_later(0.01, runner.prepare_stop)
    runner.start()
    assert cancelled == [True]
    assert task.cancelled()


STEERED = """
    import asyncio, signal, sys
    from loafer_kit.managers import LoaferManager
    from loafer_kit.events import Observer
    from loafer_kit.routes import Route
    from loafer_kit.testing import InMemoryProvider

    async def handler(message, metadata):
        return True

    class Flow(Observer):
        def flow_changed(self, route, change):
            print(route.name, change, flush=True)

    routes = [Route(InMemoryProvider(endless=True), handler, name) for name in "ab"]
    routes[1].flow.pause()
    manager = LoaferManager(routes, grace_time=1)
    manager.observe(Flow())

    @manager.startup
    async def startup(manager):
        asyncio.get_running_loop().call_later(0.2, print, "ready")

    sys.stdout.reconfigure(line_buffering=True)
    manager.run()
"""


def test_tstp_pauses_and_cont_resumes_what_it_paused():
    """A route that was paused otherwise stays paused, also after a stop and CONT alone."""
    process = start(STEERED)
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTSTP)
    assert process.stdout.readline() == "a paused\n"
    process.send_signal(signal.SIGCONT)
    assert process.stdout.readline() == "a resumed\n"
    process.terminate()
    assert process.communicate()[0] == ""
    assert process.returncode == 0


LEFT_ALONE = 'lambda: print("left alone:", signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL)'


def test_a_terminal_keeps_its_ctrl_z():
    """The service leaves the signal to the system, which stops what a shell can continue."""
    code = STEERED.replace('print, "ready"', LEFT_ALONE)
    with Person(python=["-c", textwrap.dedent(code)]) as person:
        person.wait_for("left alone: True")
        person.process.terminate()
        assert person.leave() == 0
