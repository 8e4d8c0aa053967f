"""`loafer-kit ctl` and `top`: a service that runs in this process, asked by its socket."""

import asyncio
import json
import os
import threading
import time

import pytest
from terminals import Person
from typer.testing import CliRunner

from loafer_kit import LoaferManager
from loafer_kit.cli import app
from loafer_kit.cli.top import Screen, _Top, as_text
from loafer_kit.exceptions import LoaferKitError
from loafer_kit.local import servers
from loafer_kit.operations.control import ControlSocket
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


class Counted(InMemoryProvider):
    """A source that knows its depth."""

    name = "orders-queue"

    async def depth(self):
        return {"visible": 12, "in_flight": 3, "dead_letters": 2}


@pytest.fixture
def service(tmp_path, monkeypatch):
    """A manager that serves in a thread; its route `orders` has a handler that waits."""
    path = tmp_path / "socket"
    monkeypatch.setenv("LOAFER_CONTROL", str(path))
    release = threading.Event()

    async def wait_for_the_bank(content, metadata):
        while not release.is_set():  # noqa: ASYNC110 - the event is a thread's
            await asyncio.sleep(0.01)
        return True

    async def accept(content, metadata):
        return True

    endless = {"endless": True, "wait_time": 0.01}
    orders = Route(Counted(["a"], **endless), wait_for_the_bank, "orders")
    mails = Route(InMemoryProvider(**endless), accept, "mails")
    manager = LoaferManager([orders, mails], name="foobar", grace_time=10)
    thread = threading.Thread(target=lambda: asyncio.run(manager.serve()))
    thread.start()
    deadline = time.monotonic() + 20
    while not path.exists() or not manager.statuses()[0].calls:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield manager
    release.set()
    while thread.is_alive() and path.exists():
        ctl("drain")
        thread.join(1)
    thread.join(10)


def ctl(*arguments, exit_code=0, command="ctl"):
    result = CliRunner().invoke(app, [command, *arguments])
    if isinstance(result.exception, LoaferKitError):
        return f"error: {result.exception}"
    assert result.exit_code == exit_code, result.output
    return result.output


def test_a_service_is_steered_by_commands(service):
    orders, mails = (route.flow for route in service.routes)
    assert ctl("pause", "mails") == "paused: mails\n"
    assert (orders.paused, mails.paused) == (False, True)
    assert ctl("resume") == "resumed: orders, mails\n"
    assert not mails.paused
    assert ctl("rate", "orders", "2.5") == "limited: orders\n"
    assert orders.rate_limit == 2.5
    assert ctl("rate", "orders", "none") == "not limited: orders\n"
    assert orders.rate_limit is None
    assert ctl("concurrency", "orders", "25") == "changed: orders\n"
    assert orders.concurrency == 25


def test_status_and_dump_show_what_runs(service):
    shown = ctl("status")
    assert shown.startswith("foobar  ready  for ")
    assert " orders running 1/10" in shown
    assert json.loads(ctl("status", "--json"))["service"] == "foobar"
    assert "in wait_for_the_bank" in ctl("dump", "orders")
    assert ctl("dump", "mails") == "no handler runs\n"
    [handler] = json.loads(ctl("dump", "--json"))
    assert handler["route"] == "orders"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["pause", "order"], "There is no route 'order'. Did you mean 'orders'?"),
        (["resume", "x"], "There is no route 'x'. It has: mails, orders."),
        (["rate", "orders", "0"], "per_second must be a number greater than 0, not 0"),
        (["rate", "orders", "nan"], "per_second must be a number greater than 0, not nan"),
        (["concurrency", "orders", "0"], "value must be a whole number of at least 1, not 0."),
        (["pause", "orders", "--pid", "1"], "got an unexpected keyword argument 'pid'"),
        (["status", "--socket", "nowhere"], "No service listens on nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(service, arguments, text):
    answer = ctl(*arguments)
    assert text in answer
    assert answer.count("\n") <= 1
    assert [route.flow.paused for route in service.routes] == [False, False]


def test_a_rate_that_is_no_number_is_a_wrong_argument():
    assert "a rate is a number or none, not 'fast'" in ctl("rate", "orders", "fast", exit_code=2)


def test_the_service_of_dev_is_found_by_itself(tmp_path, monkeypatch):
    """Sockets of processes that have ended do not count; of several, one has to be named."""
    monkeypatch.delenv("LOAFER_CONTROL", raising=False)
    monkeypatch.setattr(servers.tempfile, "gettempdir", lambda: str(tmp_path))

    async def run():
        async def command():
            return await asyncio.to_thread(ctl, "drain")

        answers = [await command()]
        async with ControlSocket(
            servers.control_path("foobar"), {"drain": lambda: None}
        ).listening():
            servers.control_path("killed").touch()
            answers.append(await command())
            other = ControlSocket(servers.control_path("other"), {})
            async with other.listening():
                answers.append(await command())
        return answers

    none, one, several = asyncio.run(run())
    assert none.startswith("error: No service is known: name its control socket by --socket or")
    assert one == "draining\n"
    assert several.startswith("error: `dev` runs several services; choose one: --socket ")
    assert "killed" not in several


# The picture


def route(name, **members):
    return {
        "name": name,
        "running": [{"message_ids": ["m"], "age": 75.2}],
        "slots": 10,
        "backlog": 12,
        "rate_1m": 123.4,
        "durations": {"p50": 0.0123, "p95": 1.5, "p99": None},
        "outcomes": {"acknowledged": 1_234_567, "left": 2, "retried": 1},
        "paused": False,
        "rate_limit": None,
        "breaker_open": False,
        "stuck": False,
        **members,
    }


def status(*routes, **members):
    return {
        "service": "foobar",
        "versions": {"service": "1.2"},
        "uptime": 4000.0,
        "state": "ready",
        "loop_lag": 0.002,
        "routes": routes,
        **members,
    }


QUEUE = {"queue": "orders", "route": "orders", "visible": 12, "in_flight": 3, "delayed": 0}


def test_the_picture_in_eighty_columns():
    """Everything has its place; what is unknown is a dash."""
    idle = route(
        "mails", running=[], durations=dict.fromkeys(("p50", "p95")), rate_1m=0, outcomes={}
    )
    assert as_text(status(route("orders"), idle), [{**QUEUE, "dead_letters": 7}], 80) == (
        "foobar 1.2  ready  for 1h06m  loop lag 2ms\n"
        "route   state   busy held  /s  p50  p95 oldest  done failed\n"
        " orders running 1/10   12 123 12ms 1.5s  1m15s 1235k      3\n"
        " mails  running 0/10   12 0.0    -    -      -     0      0\n"
        "\n"
        "queue   visible in flight delayed dead\n"
        " orders      12         3       0    7\n"
    )


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_line_is_longer_than_the_terminal(width):
    """Names give way first, then columns; what is shown of numbers is whole."""
    processes = [
        {"pid": 4194304, "state": "starting", "uptime": 1e6, "loop_lag": 9, "memory": 2**34}
    ]
    long = "a-route-with-a-name-that-no-terminal-of-forty-columns-can-show"
    queues = [
        {**QUEUE, "queue": long},
        {"queue": None, "route": "b", "error": "Access denied: " * 9},
    ]
    found = as_text(status(route(long, slots=99_999), processes=processes * 2), queues, width)
    assert max(map(len, found.splitlines())) <= width
    if width >= 40:
        assert "1/99999" in found
        assert "1m15s" in found


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"paused": True}, "paused"),
        ({"breaker_open": True}, "breaker"),
        ({"stuck": True, "paused": True}, "stuck"),
        ({"rate_limit": 2.5}, "<=2.5/s"),
    ],
)
def test_the_state_of_a_route_is_a_word(members, word):
    """It needs no colour."""
    assert f" orders {word} " in as_text(status(route("orders", **members)), [], 80)


def test_names_and_errors_cannot_move_the_cursor():
    hostile = "a\x1b[2Jb\u202e[red]c"
    found = as_text(
        status(route(hostile), service=hostile),
        [{**QUEUE, "queue": hostile, "error": hostile}],
        200,
    )
    assert "\x1b" not in found
    assert "\u202e" not in found
    assert found.count(r"a\x1b[2Jb\u202e[red]c") == 4


def test_no_route_is_selected_where_there_is_none():
    assert Screen(status()).route is None
    assert Screen().route is None
    assert Screen(status(route("a"), route("b")), selected=-1).route == "b"
    assert as_text(status(), [], 80).splitlines()[0].startswith("foobar")


# The live view


def test_top_prints_once_where_there_is_no_terminal(service):
    shown = ctl(command="top")
    assert " orders-queue      12         3       -    2" in shown
    found = json.loads(ctl("--once", "--json", command="top"))
    assert [queue["route"] for queue in found["queues"]] == ["orders", "mails"]
    assert found["status"]["routes"][0]["name"] == "orders"


def test_keys_steer_the_selected_route(service):
    """On a terminal without colour; the terminal is as before at the end."""
    orders, mails = (route.flow for route in service.routes)
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80", "LINES": "30"}
    with Person("top", "--interval", "0.1", env=environment) as person:
        person.wait_for(">orders")
        person.type("s")
        person.wait_for("in wait_for_the_bank")
        person.type("j")
        person.wait_for(">mails")
        person.type("p")
        person.wait_for("paused: mails")
        assert (orders.paused, mails.paused) == (False, True)
        person.type("r")
        person.wait_for("resumed: mails")
        person.type("q")
        assert person.leave() == 0
    assert not mails.paused


async def test_a_service_that_goes_away_and_comes_back_is_shown_again(tmp_path):
    """The last picture stays meanwhile, with a line that says why; keys do no harm."""
    path = tmp_path / "socket"
    actions = {"status": lambda: status(route("orders")), "queues": lambda: [QUEUE]}
    running = _Top(path)
    await running.look()
    assert running.screen.note.startswith("No service listens on")
    assert running.screen.status is None
    assert await running.press("p")
    async with ControlSocket(path, actions).listening():
        await running.look()
        assert running.screen.note == ""
        assert running.screen.route == "orders"
        assert await running.press("p")
        assert "There is no action 'pause'" in running.screen.note
    await running.look()
    assert running.screen.note.startswith("No service listens on")
    assert running.screen.route == "orders"
    assert await running.press("s")
    assert not await running.press("q")


def test_top_of_no_service_is_one_line(tmp_path):
    with Person("top", "--socket", str(tmp_path / "none")) as person:
        person.wait_for("error: No service listens on")
        assert person.leave() == 1
