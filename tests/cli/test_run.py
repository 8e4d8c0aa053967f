"""`loafer-kit run`: real processes, their output and their exit codes."""

import os
import signal

import pytest

pytestmark = pytest.mark.slow

LINES = """
import asyncio, logging
from loafer_kit import Abort, Application

class Consumer:
    def __init__(self, *messages, end=Abort("consumer.empty", None)):
        self.messages, self.end = list(messages), end

    async def read(self):
        if not self.messages:
            raise self.end
        return self.messages.pop(0)

class Idle(Consumer):
    async def read(self):
        if not self.messages:
            await asyncio.Event().wait()
        return await super().read()

async def callback(app, message):
    app.logger.info("info %s", message)
    app.logger.debug("debug %s", message)
    print("handled", message, flush=True)
    return [message]

class Announced(Application):
    def run_forever(self, num_workers=1, loop=None, debug=False):
        print("running", self.name, flush=True)
        super().run_forever(num_workers=num_workers, loop=loop, debug=debug)

app = Application("lines", consumer=Consumer(1, 2), callback=callback)
failing = Announced("failing", consumer=Consumer(1, end=OSError("no such queue")), callback=callback)
crashing = Application("crashing", consumer=Idle(1), callback=callback)
bare = Application("bare")

@crashing.result_postprocessor
async def crash(app, result):
    raise ArithmeticError("cannot store")

@app.teardown
@failing.teardown
@crashing.teardown
async def tear_down(app):
    print("teardown", flush=True)
"""

MANAGER = """
import time
from loafer_kit import LoaferManager
from loafer_kit.exceptions import ProviderError, SourceExhausted
from loafer_kit.providers import AbstractProvider
from loafer_kit.routes import Route

class Numbers(AbstractProvider):
    def __init__(self, end=SourceExhausted()):
        self.left, self.end = [3, 2, 1], end

    async def fetch_messages(self):
        if not self.left:
            raise self.end
        return [self.left.pop()]

    async def confirm_message(self, message):
        print("confirmed", message, flush=True)

async def handler(message, metadata):
    return True

manager = LoaferManager([Route(Numbers(), handler)])
broken = LoaferManager([Route(Numbers(ProviderError("no such queue")), handler)])
"""


@pytest.fixture(autouse=True)
def modules(project):
    """An application and a manager."""
    project.write("lines.py", LINES)
    project.write("numbers_service/__init__.py", MANAGER)


def test_runs_an_application_to_its_end(project):
    """Messages, teardown, exit code 0."""
    done = project.command("run", "lines:app")
    assert (done.returncode, done.stdout) == (0, "handled 1\nhandled 2\nteardown\n")


def test_runs_a_manager_to_its_end(project):
    """The same command, the same word."""
    done = project.command("run", "numbers_service:manager", "-w", "1")
    assert (done.returncode, done.stdout) == (0, "confirmed 1\nconfirmed 2\nconfirmed 3\n")


def test_a_consumer_that_fails_exits_non_zero(project):
    """It says what failed and has run its teardown, also under a `run_forever` of its own."""
    done = project.command("run", "lines:failing")
    assert (done.returncode, done.stdout) == (1, "running failing\nhandled 1\nteardown\n")
    assert done.stderr.splitlines()[-1] == "error: The consumer failed: OSError: no such queue"


def test_a_postprocessor_that_crashes_exits_non_zero(project):
    """It says what failed and has run its teardown."""
    done = project.command("run", "lines:crashing")
    assert (done.returncode, done.stdout) == (1, "handled 1\nteardown\n")
    assert "ArithmeticError: cannot store" in done.stderr


def test_a_manager_that_fails_exits_non_zero(project):
    """A provider's fatal error is one line."""
    done = project.command("run", "numbers_service:broken")
    assert done.returncode == 1
    assert "no such queue" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nothing"], 1, "error: There is no module 'nothing'"),
        (["lines"], 1, "choose one: lines:app, lines:failing, lines:crashing, lines:bare"),
        (["lines:bare"], 1, "error: The Application's consumer cannot be None."),
        ([], 2, "Missing argument"),
        (["lines:app", "-v", "-q"], 2, "--quiet and --verbose exclude each other"),
        (["lines:app", "-w", "0"], 2, "--workers"),
    ],
)
def test_mistakes_are_one_line(project, arguments, code, says):
    """Exit code 1 for what was not found or cannot run, 2 for a wrong use of the command."""
    done = project.command("run", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "info", "debug"),
    [([], False, False), (["-v"], True, False), (["-vv"], True, True), (["-q"], False, False)],
)
def test_verbosity(project, option, info, debug):
    """WARNING less ten for each `-v`; errors alone with `-q`."""
    environment = {**os.environ, "LOAFER_LOG": "text"}
    stderr = project.command("run", "lines:app", *option, env=environment).stderr
    assert ("lines info 1" in stderr, "lines debug 1" in stderr) == (info, debug)


def test_verbosity_counts_more_than_the_services_own_levels(project):
    """What is asked for on the command line is shown."""
    project.write("loud.py", LINES + "\nlogging.basicConfig(level=logging.ERROR)\n")
    assert "info 1" in project.command("run", "loud:app", "-v").stderr


def test_sigterm_drains_four_workers_without_losing_a_read_message(project):
    """Every message that was read is acknowledged; the process ends with code 0."""
    project.write(
        "busy.py",
        """
        import asyncio, itertools
        from loafer_kit import Application

        class Consumer:
            numbers = itertools.count()

            async def read(self):
                number = next(self.numbers)
                print("read", number, flush=True)
                return number

        async def callback(app, message):
            await asyncio.sleep(0.01)

        app = Application("busy", consumer=Consumer(), callback=callback)

        @app.message_acknowledgement
        async def acknowledge(app, message):
            print("acknowledged", message, flush=True)

        @app.teardown
        async def tear_down(app):
            print("teardown", flush=True)
        """,
    )
    process = project.start("run", "busy", "--workers", "4")
    lines = []
    for line in process.stdout:
        lines.append(line.split())
        if line == "acknowledged 20\n":
            process.send_signal(signal.SIGTERM)
    process.stdout.close()
    assert process.wait(30) == 0
    assert lines.pop() == ["teardown"]
    read = {number for what, number in lines if what == "read"}
    acknowledged = {number for what, number in lines if what == "acknowledged"}
    assert read == acknowledged
    assert len(read) > 20


def test_a_service_runs_in_several_processes(project):
    """Each child has the command line of its parent; a signal ends all of them."""
    project.write(
        "several.py",
        """
        import asyncio, os
        from loafer_kit import Application

        class Consumer:
            async def read(self):
                await asyncio.Event().wait()

        async def callback(app, message): ...

        app = Application("several", consumer=Consumer(), callback=callback)

        @app.startup
        async def start(app):
            print("started", os.getpid(), flush=True)
        """,
    )
    process = project.start("run", "several", "--processes", "2", "--workers", "3")
    started = {process.stdout.readline().split()[1] for _ in range(2)}
    assert len(started) == 2
    assert str(process.pid) not in started
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (
            ["--processes", "none"],
            1,
            "LOAFER_PROCESSES must be a whole number of at least 1, or auto",
        ),
        (["--processes", "2", "--reloader"], 2, "--processes and the reloader exclude each other"),
    ],
)
def test_a_wrong_number_of_processes_is_refused(project, options, code, text):
    result = project.command("run", "lines:app", *options)
    assert result.returncode == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr
