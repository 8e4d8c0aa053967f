"""The health file of a service, and what `loafer-kit health` makes of it."""

import asyncio
import json
import threading
import time

import pytest
from operations.running import accept, serving, until

from loafer_kit import LoaferManager
from loafer_kit.__main__ import main as command_line
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.operations import health, probe
from loafer_kit.operations.health import States
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    """The health file of this test."""
    monkeypatch.setenv("LOAFER_HEALTH_FILE", str(tmp_path / "health"))
    return tmp_path / "health"


def endless(**keywords):
    return InMemoryProvider(endless=True, wait_time=0.01, **keywords)


async def test_a_service_is_live_then_ready_and_leaves_no_file(path):
    """The environment names the file; the file is there before the startup callbacks run."""
    manager = LoaferManager([Route(endless(), accept)])
    assert "no service runs" in probe.problem_of(path, ready=False)

    @manager.startup
    async def look(service):
        assert probe.problem_of(path, ready=False) is None
        assert probe.problem_of(path, ready=True) == "the service is starting"

    async with serving(manager):
        await until(lambda: path.exists() and probe.problem_of(path, ready=True) is None)

    assert list(path.parent.iterdir()) == []


async def test_a_service_is_ready_when_nothing_that_it_waits_for_is_missing(path):
    """`readiness` names what is missing; the service stays live, and becomes unready again."""
    manager = LoaferManager([Route(endless(), accept)])
    missing = "the database does not answer"
    manager.readiness += [lambda: missing, lambda: None]

    async with serving(manager):
        await until(lambda: path.exists() and manager.statuses())
        assert probe.problem_of(path, ready=False) is None
        assert probe.problem_of(path, ready=True) == "the database does not answer"
        missing = None
        await until(lambda: probe.problem_of(path, ready=True) is None)
        missing = "it is gone again"
        await until(lambda: probe.problem_of(path, ready=True) == missing)


async def test_what_a_restart_does_not_cure_keeps_a_service_live():
    """Failures of the source, a pause, an open breaker, failing handlers and full slots."""
    release = asyncio.Event()

    class Away(InMemoryProvider):
        async def fetch(self, limit):
            raise TransientProviderError("throttled")

    async def fail(content, metadata):
        raise ValueError

    async def hang(content, metadata):
        await release.wait()

    routes = [
        Route(Away(), accept, "away"),
        Route(endless(messages=["a"]), fail, "open", breaker_threshold=1),
        Route(endless(messages=["a"]), hang, "full", concurrency=1),
        Route(endless(), accept, "paused"),
    ]
    manager = LoaferManager(routes)
    states = States(manager)

    async with serving(manager):
        routes[3].flow.pause()
        await until(lambda: routes[1].flow.breaker.is_open)
        assert states.problems() == []
        release.set()


async def test_stuck_threads_are_a_problem():
    release = threading.Event()

    def hang(content, metadata):
        release.wait(20)

    manager = LoaferManager(
        [Route(endless(messages=["a"]), hang, "orders", concurrency=1, handler_timeout=0.01)]
    )
    states = States(manager)

    async with serving(manager):
        await until(states.problems)
        problems = states.problems()
        release.set()

    assert problems == ["threads that cannot be stopped use every slot of route 'orders'"]


async def test_a_dead_route_is_a_problem_while_the_others_drain():
    release = asyncio.Event()

    class Dying(InMemoryProvider):
        async def fetch(self, limit):
            raise ProviderError("no such queue")

    async def hang(content, metadata):
        await release.wait()
        return True

    manager = LoaferManager(
        [Route(endless(messages=["a"]), hang, "slow"), Route(Dying(), accept, "dead")]
    )
    states = States(manager)

    async with serving(manager):
        await until(states.problems)
        problems = states.problems()
        release.set()

    assert problems == ["route 'dead' has failed: no such queue"]


async def test_a_drain_past_its_deadline_is_a_problem():
    release, now = asyncio.Event(), [0.0]

    async def hang(content, metadata):
        await release.wait()
        return True

    provider = endless(messages=["a"])
    manager = LoaferManager([Route(provider, hang)], grace_time=25)
    states = States(manager, lambda: now[0])

    async with serving(manager) as task:
        await until(lambda: manager.dispatcher.statuses()[0].calls)
        task.cancel()
        await until(lambda: states.state == "stopping")
        assert states.problems() == []
        now[0] = 55.0
        assert states.problems() == []
        now[0] = 56.0
        problems = states.problems()
        release.set()

    assert problems == ["the service has not stopped within 55 s"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/health", "No such file or directory"),
        ("folder", "Is a directory"),
        ("file/health", "Not a directory"),
        ("n" * 300, "File name too long"),
    ],
)
async def test_a_path_that_cannot_be_written_is_one_line_and_the_service_goes_on(
    monkeypatch, tmp_path, caplog, name, reason
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(health, "_LOOK_EVERY", 0.001)
    monkeypatch.setenv("LOAFER_HEALTH_FILE", str(tmp_path / name))

    async def handler(content, metadata):
        await asyncio.sleep(0.05)  # the file is tried many times
        return True

    provider = InMemoryProvider(["a"])
    await LoaferManager([Route(provider, handler)]).serve()

    (record,) = [r for r in caplog.records if r.event == "health.unwritable"]
    assert f"{reason}; set LOAFER_HEALTH_FILE" in record.getMessage()
    assert provider.acknowledged == ["a"]
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}


async def test_without_the_variable_there_is_no_file(monkeypatch):
    """And nothing observes the service."""
    monkeypatch.delenv("LOAFER_HEALTH_FILE")
    monkeypatch.delenv("LOAFER_HTTP", raising=False)
    manager = LoaferManager([Route(InMemoryProvider(["a"]), accept)])

    await manager.serve()

    assert manager.monitor is None
    assert len(manager._observers) == 0


async def test_a_second_run_has_its_file_again_and_no_second_observer(path):
    provider = InMemoryProvider(["a"])
    manager = LoaferManager([Route(provider, accept)])
    await manager.serve()
    observers = len(manager._observers)
    seen = []

    @manager.startup
    async def look(service):
        seen.append(path.exists())

    await manager.serve()

    assert seen == [True]
    assert len(manager._observers) == observers


async def test_a_link_that_a_stranger_has_put_there_is_not_followed(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    manager = LoaferManager([Route(endless(), accept)])

    async with serving(manager):
        await until(lambda: not path.is_symlink())

    assert victim.read_text() == "precious"


def write(path, **changes):
    health = {"pid": 1, "state": "ready", "problems": [], "unready": [], "at": time.monotonic()}
    health |= changes
    path.write_text(json.dumps(health))


@pytest.mark.parametrize(
    ("changes", "live", "ready"),
    [
        ({}, None, None),
        ({"state": "stopping"}, None, "the service is stopping"),
        ({"problems": ["a", "b"]}, "a; b", "a; b"),
        ({"state": "starting", "unready": ["a", "b"]}, None, "a; b"),
    ],
)
def test_what_the_file_says_decides(path, changes, live, ready):
    write(path, **changes)
    assert (probe.problem_of(path, ready=False), probe.problem_of(path, ready=True)) == (
        live,
        ready,
    )


def test_a_file_that_is_not_replaced_tells_of_a_stalled_loop(path):
    """A loop that hangs, or a process that was killed."""
    write(path, at=time.monotonic() - 20)
    assert probe.problem_of(path, ready=True) is None
    write(path, at=time.monotonic() - 40)
    assert probe.problem_of(path, ready=False) == "the event loop has not run for 40 s"


def test_a_file_of_before_the_machine_started_is_no_sign_of_life(path):
    """The clock began anew."""
    write(path, at=time.monotonic() + 1_000)
    assert "older than this machine's start" in probe.problem_of(path, ready=False)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"at": "x"}', b"[" * 100_000])
def test_another_file_is_one_line(path, content):
    path.write_bytes(content)
    assert probe.problem_of(path, ready=False) == f"{path} is not the health file of a service"


def test_a_folder_is_one_line(path):
    path.mkdir()
    assert probe.problem_of(path, ready=False) == f"{path} cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("arguments", "state", "code", "printed"),
    [
        ([], "starting", 0, "live\n"),
        (["--live"], "stopping", 0, "live\n"),
        (["--ready"], "ready", 0, "ready\n"),
        (["--ready"], "stopping", 1, "the service is stopping\n"),
        (["--live", "--ready"], "ready", 2, "usage: loafer-kit health [--live | --ready]\n"),
    ],
)
def test_the_command_exits_with_what_the_file_says(asked, arguments, state, code, printed):
    assert asked(arguments, state) == (code, printed)


@pytest.fixture
def asked(path, capsys, monkeypatch):
    """Runs the command on a service in a state; returns its exit code and what it prints."""

    def ask(arguments, state):
        write(path, state=state)
        monkeypatch.setattr("sys.argv", ["loafer-kit", "health", *arguments])
        with pytest.raises(SystemExit) as exit_:
            command_line()
        return exit_.value.code, "".join(capsys.readouterr())

    return ask


def test_a_stranger_s_text_does_not_reach_the_terminal_raw(path, capsys):
    write(path, problems=["\x1b[2J\nforged"])
    assert probe.main([]) == 1
    assert capsys.readouterr().err == "\\x1b[2J\\nforged\n"


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_the_command_says_what_to_set(monkeypatch, capsys, value):
    if value is None:
        monkeypatch.delenv("LOAFER_HEALTH_FILE")
    else:
        monkeypatch.setenv("LOAFER_HEALTH_FILE", value)
    assert probe.main([]) == 1
    assert "LOAFER_HEALTH_FILE names no file: set it" in capsys.readouterr().err
