"""Settings for every test."""

import asyncio
import fcntl
import functools
import gc
import os
import zlib
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

from loafer_kit.local import rabbitmq as local_rabbitmq

# The same examples in each run, so that a red run is about the change. `make soak` draws new ones.
settings.register_profile("default", deadline=None, max_examples=25, derandomize=True)
settings.register_profile("fast", deadline=None, max_examples=5, derandomize=True)
settings.register_profile("soak", deadline=None, max_examples=5_000)
settings.load_profile("default")

gc.disable()  # until everything is collected

_FAULTS = Path(__file__).parent / "faults"
#: The tests of what runs in an event loop, by folder: they run on uvloop too.
_ON_BOTH_LOOPS = [Path(__file__).parent / "engine", _FAULTS]

#: The rooms that are tested before every commit. Tests of all others count as slow.
_QUICK_ROOMS = [
    Path(__file__).parent / room
    for room in ("engine", "contracts", "payloads", "scaffold/spec", "scaffold/rendering", "cli")
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark as slow whatever `make test-fast` leaves out; run each case of a fault on one loop."""
    for item in items:
        if not _is_in(item.path, *_QUICK_ROOMS):
            item.add_marker(pytest.mark.slow)
    elsewhere = [item for item in items if _is_on_the_other_loop(item)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        left_out = set(elsewhere)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish():
    """Leave what was collected out of garbage collections: there is much of it, and it stays."""
    gc.freeze()
    gc.enable()


@functools.cache
def _is_in(path, *folders):
    return any(path.is_relative_to(folder) for folder in folders)


def _is_on_the_other_loop(item):
    """Of the cases of a fault, half run on each loop; a fault that has one case runs on both."""
    if not _is_in(item.path, _FAULTS) or "[" not in item.name:
        return False
    loop, _, case = item.callspec.id.partition("-")
    case = case.partition("-")[2]  # the server stands before it
    is_for_uvloop = zlib.crc32(case.encode()) % 2
    return bool(case) and loop == ("asyncio" if is_for_uvloop else "uvloop")


def pytest_asyncio_loop_factories(config, item):
    """Run a test's coroutine on asyncio's event loop, and on uvloop's where that may differ."""
    factories = {"asyncio": asyncio.new_event_loop}
    if _is_in(item.path, *_ON_BOTH_LOOPS):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(scope="session", autouse=True)
def _botocore_computes_once():
    """Let sessions share what they have in common: to make a client takes half as long."""
    import botocore_caches

    botocore_caches.share()


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_elsewhere(tmp_path_factory):
    """Keep temporary files and caches, also those of killed processes, in the folder of the tests."""
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("BLACK_CACHE_DIR", str(folder / "black"))
        patch.setenv("CHECKPOINT_DISABLE", "1")  # Terraform writes into the home directory
        yield


@pytest.fixture(scope="session", autouse=True)
def _mypy_results_are_kept(pytestconfig):
    """Let all runs of mypy, in later sessions too, use what it found out about installed packages.

    Half of that was about moto, which generated projects do not name: stubs stand for it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPY_CACHE_DIR", str(pytestconfig.rootpath / ".mypy_cache/projects"))
        patch.setenv("MYPYPATH", str(Path(__file__).parent / "stubs"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _projects_load_the_plugins_they_use():
    """Keep the plugins of our own tests out of the pytest of generated projects: it starts faster."""
    plugins = ("anyio", "asyncio", "hypothesispytest", "timeout", "xdist")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{plugin}" for plugin in plugins))
        yield


@pytest.fixture
def python_copies(monkeypatch):
    """Have Python programs that `subprocess` and asyncio start be copies of this process."""
    import programs

    monkeypatch.setattr("subprocess.Popen", programs.Popen)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    """The URL of a RabbitMQ broker, one for all workers; skips the test if it is not installed.

    The broker ends when no worker holds its lifeline open any more.
    """
    if url := os.environ.get("LOAFER_AMQP_URL"):
        yield url
        return
    if local_rabbitmq.server_script() is None:
        pytest.skip("RabbitMQ is not installed: make rabbitmq")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    keeper = None
    lifeline, port = folder / "rabbitmq.lifeline", folder / "rabbitmq.port"
    with (folder / "rabbitmq.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not lifeline.exists():
            os.mkfifo(lifeline)
        try:
            writer = os.open(lifeline, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # no broker reads it
            reader = os.open(lifeline, os.O_RDONLY | os.O_NONBLOCK)
            writer = os.open(lifeline, os.O_WRONLY)
            os.set_blocking(reader, True)
            port.write_text(str(local_rabbitmq.free_port()))
            keeper = local_rabbitmq.start_keeper(reader, int(port.read_text()))
            os.close(reader)
            local_rabbitmq.wait_until_ready(keeper)
    yield local_rabbitmq.url_of(int(port.read_text()))
    os.close(writer)
    if keeper is not None:
        keeper.communicate()  # until the other workers have closed theirs
