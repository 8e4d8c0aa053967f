"""The reloader: driven by real changes of files, in real processes."""

import signal

import pytest

pytestmark = pytest.mark.slow

SERVICE = """
import asyncio, configparser
from loafer_kit import Application

class Consumer:
    read_one = False

    async def read(self):
        if self.read_one:
            await asyncio.Event().wait()
        self.read_one = True
        return "message"

async def callback(app, message):
    print("version 1", flush=True)
    await asyncio.sleep(0.3)
    print("handled", flush=True)

app = Application("watched", consumer=Consumer(), callback=callback)

@app.teardown
async def tear_down(app):
    print("teardown", flush=True)
"""


@pytest.fixture
def reloading(project):
    """A service that runs under the reloader, ended by SIGTERM if it has not ended by itself."""
    file = project.write("package/watched.py", SERVICE)
    process = project.start("run", "package.watched", "-r")
    try:
        yield process, file
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        process.stdout.close()


def lines_until(process, end):
    """Return the lines that the process prints, up to the one that contains `end`."""
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if end in line:
            return lines
    raise AssertionError(f"never printed {end!r}: {lines}")


def test_a_change_drains_and_restarts(reloading):
    """What the old one was handling is finished, its teardown has run, then the new one starts."""
    process, file = reloading
    lines_until(process, "version 1")
    # Of another size: Python may keep the compiled module of a file that changes within a second.
    file.write_text(SERVICE.replace("version 1", "version two"))
    assert lines_until(process, "version two") == [
        "reloader: package/watched.py changed: restarting",
        "handled",
        "teardown",
        "version two",
    ]


def test_a_syntax_error_is_survived(reloading):
    """It is shown in one line; the next change starts the service again."""
    process, file = reloading
    lines_until(process, "handled")
    file.write_text(SERVICE + "\ndef f(:\n")
    lines = lines_until(process, "waiting for a change")
    assert any(line.startswith("error: Importing 'package.watched' failed: ") for line in lines)
    assert not any("Traceback" in line for line in lines)
    file.write_text(SERVICE)
    assert "version 1" in lines_until(process, "version 1")


@pytest.mark.parametrize("name", ["settings.ini", "pyproject.toml"])
def test_configuration_files_are_watched(project, reloading, name):
    """The whole root of the application, not the module's folder alone."""
    process, _ = reloading
    lines_until(process, "handled")
    project.write("notes.txt", "ignored")
    project.write(name, "")
    assert lines_until(process, "version 1")[0] == f"reloader: {name} changed: restarting"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both(reloading, number):
    """The child is drained, and its exit code is the reloader's."""
    process, _ = reloading
    lines_until(process, "version 1")
    process.send_signal(number)
    assert process.stdout.read().splitlines() == ["handled", "teardown"]
    assert process.wait(30) == 0


def test_debug_turns_the_reloader_on(project):
    """As documented; `--no-reloader` turns it off again."""
    project.write("watched.py", SERVICE)
    process = project.start("run", "watched", "--debug")
    lines_until(process, "version 1")
    project.write("other.py", "")
    lines_until(process, "reloader: other.py changed: restarting")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_module_that_does_not_exist_is_an_error(project):
    """There is nothing to wait for."""
    done = project.command("run", "nothing", "--reloader")
    assert done.returncode == 1
    assert done.stderr.startswith("error: There is no module 'nothing' in ")
