"""The control socket: who reaches it, what it answers, and what cannot harm the service."""

import asyncio
import contextlib
import json
import logging
import socket
import stat
import threading

import pytest
from operations.running import accept, serving, until

from loafer_kit import LoaferManager
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.operations import control
from loafer_kit.operations.control import ControlError, ControlSocket, ask
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


def source(*messages):
    return InMemoryProvider(messages, endless=True, wait_time=0.01)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where services listen."""
    monkeypatch.setenv("LOAFER_CONTROL", str(tmp_path / "socket"))
    return tmp_path / "socket"


@contextlib.asynccontextmanager
async def controlled(path, *routes, **keywords):
    manager = LoaferManager(list(routes), **keywords)
    async with serving(manager) as task:
        await until(path.exists)
        await until(lambda: all(status.receivers for status in manager.statuses()))
        yield task


async def lines(path, *requests):
    """Send raw lines by one connection; return the answers."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"".join(request + b"\n" for request in requests))
    answers = [json.loads(await reader.readline()) for _ in requests]
    writer.close()
    return answers


async def test_status_is_the_snapshot_and_the_file_goes_with_the_service(path):
    async with controlled(path, Route(source("a"), accept, "orders")):
        await until(lambda: not path.is_file())
        status = await ask(path, "status")
        assert [route["name"] for route in status["routes"]] == ["orders"]
        assert (status["state"], status["routes"][0]["slots"]) == ("ready", 10)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_there_is_no_socket_unless_the_environment_names_one(monkeypatch, tmp_path):
    monkeypatch.setenv("LOAFER_CONTROL", "")
    monkeypatch.chdir(tmp_path)
    manager = LoaferManager([Route(source(), accept)])
    async with serving(manager):
        await until(lambda: any(status.receivers for status in manager.statuses()))
        assert list(tmp_path.iterdir()) == []
        assert len(manager._observers) == 0


async def test_a_route_is_paused_and_resumed(path):
    """Only the route that is named; without a name all are resumed."""
    handled = []

    async def handle(content, metadata):
        handled.append(content)
        return True

    orders, mails = source(), source()
    async with controlled(path, Route(orders, handle, "orders"), Route(mails, handle, "mails")):
        assert await ask(path, "pause", route="orders") == ["orders"]
        assert [r["paused"] for r in (await ask(path, "status"))["routes"]] == [True, False]
        orders.put("order")
        mails.put("mail")
        await until(lambda: handled)
        assert handled == ["mail"]
        assert await ask(path, "resume") == ["orders", "mails"]
        await until(lambda: len(handled) > 1)
        assert handled == ["mail", "order"]


async def test_recent_lists_what_became_of_the_last_messages(path):
    """With outcome and error; the newest is last, and only so many are kept."""

    async def handle(content, metadata):
        if content == "bad":
            raise ValueError(content)
        return True

    messages = [*"x" * 199, "bad", "good"]
    async with controlled(path, Route(source(*messages), handle, "orders", concurrency=1)):
        found = []
        async with asyncio.timeout(10):
            while not any(message["outcome"] == "left" for message in found[-2:-1]):
                found = await ask(path, "recent")
                await asyncio.sleep(0.01)
    assert len(found) == 200
    left, good = found[-2:]
    assert (left["route"], left["outcome"], left["error"]) == (
        "orders",
        "left",
        "ValueError('bad')",
    )
    assert (good["outcome"], good["error"]) == ("acknowledged", None)
    assert left["time"] <= good["time"]
    assert set(left) == {"time", "route", "message_id", "outcome", "error", "duration"}


async def test_rate_and_concurrency_change_while_the_route_runs(path):
    """For the named route; null removes the rate limit."""
    route, other = Route(source(), accept, "orders"), Route(source(), accept, "mails")
    async with controlled(path, route, other):
        assert await ask(path, "rate", route="orders", per_second=2.5) == ["orders"]
        assert await ask(path, "concurrency", route="orders", value=25) == ["orders"]
        first, second = (await ask(path, "status"))["routes"]
        assert (first["rate_limit"], first["slots"]) == (2.5, 25)
        assert (second["rate_limit"], second["slots"]) == (None, 10)
        await ask(path, "rate", route="orders", per_second=None)
        assert route.flow.rate_limit is None


async def test_dump_shows_where_handlers_stand(path):
    """Coroutines and threads, of all routes or of one."""
    release = threading.Event()

    async def wait_for_the_bank(content, metadata):
        while not release.is_set():  # noqa: ASYNC110 - the event is a thread's
            await asyncio.sleep(0.01)
        return True

    def wait_for_the_printer(content, metadata):
        return release.wait(10)

    bank = Route(source("a"), wait_for_the_bank, "bank")
    async with controlled(path, bank, Route(source("b"), wait_for_the_printer, "printer")):
        async with asyncio.timeout(10):
            while len(found := await ask(path, "dump")) < 2:
                pass
        assert [handler["route"] for handler in found] == ["bank", "printer"]
        assert "in wait_for_the_bank" in found[0]["stack"]
        assert "in wait_for_the_printer" in found[1]["stack"]
        assert all(handler["message_ids"] and handler["age"] >= 0 for handler in found)
        assert [h["route"] for h in await ask(path, "dump", route="printer")] == ["printer"]
        # A parent of several processes, which asks every second, only gets their number.
        for shown in (await ask(path, "vitals"))["snapshot"]["routes"]:
            assert (shown["slots_used"], shown["running"]) == (1, [])
        release.set()


async def test_drain_finishes_what_is_in_hand_and_ends_the_service(path):
    """As SIGTERM does; the answer comes at once."""
    release, provider = asyncio.Event(), source("a", "b")

    async def handle(content, metadata):
        return await release.wait()

    async with controlled(path, Route(provider, handle, "orders", concurrency=1)) as task:
        await until(lambda: provider._in_flight)
        assert await ask(path, "drain") is None
        assert (await ask(path, "status"))["state"] == "stopping"
        release.set()
        await task
    assert (len(provider.acknowledged), provider.remaining) == (1, 1)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"", "an object in one line of JSON"),
        (b"status", "an object in one line of JSON"),
        (b"[1]", "an object in one line of JSON"),
        (b"\xff\xfe", "an object in one line of JSON"),
        (b"[" * 50_000, "an object in one line of JSON"),
        (b"{}", "There is no action None"),
        (b'{"action": ["status"]}', "There is no action ['status']"),
        (b'{"action": "stauts"}', "There is no action 'stauts'. Did you mean 'status'?"),
        (b'{"action": "__init__"}', "There is no action '__init__'"),
        (b'{"action": "pause"}', "pause: missing a required argument: 'route'."),
        (b'{"action": "status", "a": 1}', "got an unexpected keyword argument 'a'"),
        (b'{"action": "pause", "route": "order"}', "There is no route 'order'. Did you mean"),
        (b'{"action": "pause", "route": null}', "There is no route 'None'"),
        (b'{"action": "pause", "route": {}}', "There is no route '{}'"),
        (b'{"action": "rate", "route": "orders"}', "a required argument: 'per_second'"),
        (b'{"action": "rate", "route": "orders", "per_second": 0}', "greater than 0, not 0"),
        (b'{"action": "rate", "route": "orders", "per_second": "9"}', "greater than 0, not '9'"),
        (b'{"action": "rate", "route": "orders", "per_second": true}', "not True"),
        (b'{"action": "rate", "route": "orders", "per_second": NaN}', "not nan"),
        (b'{"action": "rate", "route": "orders", "per_second": Infinity}', "less than 1e+09"),
        (b'{"action": "rate", "route": "order", "per_second": 1}', "There is no route 'order'"),
        (b'{"action": "concurrency", "route": "orders", "value": 0}', "at least 1, not 0"),
        (b'{"action": "concurrency", "route": "orders", "value": 1.5}', "at least 1, not 1.5"),
        (b'{"action": "concurrency", "route": "orders", "value": null}', "at least 1, not None"),
        (b'{"action": "dump", "route": "x"}', "There is no route 'x'"),
        (b'{"action": "drain", "now": true}', "got an unexpected keyword argument 'now'"),
        (b'{"action": "resume", "route": "a\\nb"}', "There is no route 'a\\nb'"),
    ],
)
async def test_a_bad_line_gets_one_line_and_the_next_one_is_answered(path, line, error):
    """The service goes on, and so does the connection."""
    async with controlled(path, Route(source(), accept, "orders")):
        bad, good = await lines(path, line, b'{"action": "status"}')
        assert bad["ok"] is False
        assert error in bad["error"]
        assert "\n" not in bad["error"]
        assert good["ok"]
        [route] = good["result"]["routes"]
        assert (route["paused"], route["rate_limit"], route["slots"]) == (False, None, 10)


async def test_a_request_without_end_is_refused(path):
    """Its connection ends: what follows is not taken for requests."""
    async with controlled(path, Route(source(), accept)):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"x" * 200_000)
        answer = json.loads(await reader.readline())
        assert answer["error"] == "a request has at most 65536 bytes"
        assert await reader.read() == b""
        writer.close()
        assert await ask(path, "status")


async def test_a_client_that_never_reads_is_dropped_and_holds_up_nobody(path, monkeypatch):
    monkeypatch.setattr(control, "_WRITE_TIME", 0.05)
    async with controlled(path, Route(source(), accept, "orders")):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.setblocking(False)
            with contextlib.suppress(OSError):
                while True:
                    await asyncio.get_running_loop().sock_sendall(
                        client, b'{"action": "status"}\n' * 100
                    )
            assert await ask(path, "status")  # meanwhile


async def test_too_many_clients_are_turned_away(path):
    """And there is room again when they leave."""
    async with controlled(path, Route(source(), accept)):
        clients = [await asyncio.open_unix_connection(str(path)) for _ in range(control._CLIENTS)]
        await until(lambda: len(asyncio.all_tasks()) > control._CLIENTS)
        with pytest.raises(ControlError):
            await ask(path, "status")
        for _, writer in clients:
            writer.close()
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(ControlError):
                    assert await ask(path, "status")
                    break


async def test_the_socket_of_a_dead_process_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with pytest.raises(ControlError, match="No service listens"):
        await ask(path, "status")
    manager = LoaferManager([Route(source(), accept)])
    async with serving(manager):
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(ControlError):
                    assert await ask(path, "status")
                    break
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["living", "file", "folder", "missing folder", "long"])
async def test_a_place_that_is_taken_is_left_alone_and_the_service_runs(
    path, kind, caplog, monkeypatch, tmp_path
):
    """One line says why."""
    stack = contextlib.ExitStack()
    if kind == "living":
        other = stack.enter_context(socket.socket(socket.AF_UNIX))
        other.bind(str(path))
        other.listen()
    elif kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        name = "missing/socket" if kind == "missing folder" else "s" * 120
        monkeypatch.setenv("LOAFER_CONTROL", str(tmp_path / name))
    before = path.lstat() if path.exists() else None
    manager = LoaferManager([Route(source(), accept)])
    with stack:
        async with serving(manager):
            await until(lambda: any(status.receivers for status in manager.statuses()))
    [record] = [r for r in caplog.records if getattr(r, "event", "") == "control.failed"]
    assert "the service goes on without its control socket" in record.getMessage()
    assert "\n" not in record.getMessage()
    if before is not None:
        assert path.lstat().st_ino == before.st_ino


async def test_a_socket_that_was_replaced_is_not_removed(path):
    """A later service has taken its place, as when a container's volume is shared."""
    async with controlled(path, Route(source(), accept)):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"hello\n", "is not the control socket of a service"),
        (b"", "is not the control socket of a service"),
        (b"[]\n", "is not the control socket of a service"),
        (b'{"ok": false, "error": "no"}\n', "no"),
    ],
)
async def test_ask_raises_one_line(tmp_path, answer, error):
    """Also for an answer that is none."""

    async def connected(reader, writer):
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(connected, tmp_path / "other")
    with pytest.raises(ConfigurationError, match=error) as caught:
        await ask(tmp_path / "other", "status")
    assert "\n" not in str(caught.value)
    server.close()


async def test_ask_does_not_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "_ANSWER_TIME", 0.05)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        deaf.listen()
        with pytest.raises(ControlError, match=r"has not answered within 0.05 s"):
            await ask(tmp_path / "deaf", "status")
    with pytest.raises(ControlError, match="No service listens on"):
        await ask(tmp_path / "missing", "status")


async def test_a_failing_action_is_logged_and_answered(tmp_path, caplog):
    """A bug in one answer ends neither the connection nor the service."""

    def fail():
        raise ArithmeticError("broken")

    caplog.set_level(logging.ERROR)
    async with ControlSocket(tmp_path / "s", {"fail": fail}).listening():
        with pytest.raises(ControlError, match="failed to answer: ArithmeticError"):
            await ask(tmp_path / "s", "fail")
    assert [r.event for r in caplog.records] == ["control.error"]
