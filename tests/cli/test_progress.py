"""What a person sees while something takes its time, on a real terminal."""

import json
import os
import pty
import select
import signal
import threading
import urllib.request
from contextlib import redirect_stderr
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError

import programs
import pytest
from terminals import Person

from loafer_kit.cli.terminal.output import waiting

pytestmark = pytest.mark.slow

CLEARED = "\r\x1b[K"
HIDDEN_CURSOR = "\x1b[?25l"


class SlowServer(ThreadingHTTPServer):
    """In front of the local server: its answers wait until `go_on` is set."""

    daemon_threads = True

    def __init__(self, upstream):
        self.upstream = upstream
        self.go_on = threading.Event()
        super().__init__(("127.0.0.1", 0), _Slow)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Slow(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.go_on.wait(60)
        url = self.server.upstream + self.path
        request = urllib.request.Request(url, body or None, dict(self.headers), method=self.command)
        try:
            answer = urllib.request.urlopen(request)
        except HTTPError as error:  # of another service than SQS and SNS
            answer = error
        with answer:
            content, headers = answer.read(), answer.headers
        self.send_response(answer.status)
        self.send_header("content-type", headers["content-type"])
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 - the name that http.server looks for

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(local_server, local_queues, tmp_path, monkeypatch):
    """A slow server, and a service in the current folder whose queue it has."""
    local_queues.create("shop-orders")
    for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = tmp_path / "work"
    (folder / "shop").mkdir(parents=True)
    monkeypatch.chdir(folder)
    (folder / "loafer.toml").write_text('name = "shop"\n[[queues]]\nname = "shop-orders"\n')
    (folder / "shop/__main__.py").write_text("print('at work')\n")
    server = SlowServer(local_server.url)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


FROM_AWS = ["new", "service", "other", "--from-aws", "shop-"]


@pytest.mark.parametrize(
    ("command", "text", "then"),
    [
        (FROM_AWS, "reading the queues on AWS", "other/loafer.toml"),
        (["doctor"], "asking AWS", "queue shop-orders: "),
        (["dev"], "preparing the queues", "dev: using the server on"),
    ],
)
def test_it_is_said_on_a_terminal_and_taken_back(server, command, text, then):
    """What comes next begins on a clean line."""
    with Person(*command, "--endpoint-url", server.url) as person:
        person.wait_for(f"\r| {text} …\r/ {text} …")
        server.go_on.set()
        person.wait_for(CLEARED)
        person.wait_for(then)
        assert person.leave() == 0
        assert text not in person.shown


def test_sending_is_said(server, monkeypatch):
    """Looking for the queue, and each batch."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    with Person("send", "shop-orders", "x") as person:
        person.wait_for("\r| looking for shop-orders …")
        server.go_on.set()
        person.wait_for(CLEARED)
        person.wait_for("sent ")
        assert person.leave() == 0


def test_fetching_a_template_is_said(tmp_path, monkeypatch):
    """It may be far away."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("GIT_SSH_COMMAND", "sleep 60 #")
    arguments = ["new", "service", "x", "--queue", "a", "--template", "ssh://nowhere/x"]
    with Person(*arguments) as person:
        person.wait_for("\r| fetching the template ssh://nowhere/x …")
        person.interrupt()
        assert person.leave() != 0
        assert person.shown.rpartition(" …")[2].replace("^C", "").startswith(CLEARED)
    assert list(tmp_path.iterdir()) == []


def test_json_goes_elsewhere(server, tmp_path):
    """What waits for it is on stderr."""
    with (tmp_path / "findings.json").open("w+") as output:
        arguments = ["doctor", "--json", "--endpoint-url", server.url]
        with Person(*arguments, stdout=output) as person:
            person.wait_for("asking AWS …")
            server.go_on.set()
            assert person.leave() == 0
            assert person.shown.endswith(CLEARED)
        output.seek(0)
        assert json.load(output)["problems"] == 0


@pytest.mark.parametrize("command", [FROM_AWS, ["dev"]])
def test_ctrl_c_leaves_a_clean_terminal(server, command):
    """The line is empty, and the cursor was never hidden."""
    with Person(*command, "--endpoint-url", server.url) as person:
        person.wait_for("| ")
        everything = person.shown
        person.interrupt()
        assert person.leave() not in (None, 0, -signal.SIGKILL)
        everything += person.shown
    assert HIDDEN_CURSOR not in everything
    assert everything.rpartition(" …")[2].replace("^C", "").startswith(CLEARED)
    assert "Traceback" not in everything


def test_a_pipe_sees_nothing_of_it(server):
    """However long it takes."""
    threading.Timer(2.5, server.go_on.set).start()
    done = programs.run("-m", "loafer_kit", *FROM_AWS, "--endpoint-url", server.url)
    assert done.returncode == 0, done.stderr
    assert "reading the queues" not in done.stdout + done.stderr
    assert "\r" not in done.stderr


class Terminal:
    """One that is narrow, and what this process shows on it while it waits for a block."""

    def __init__(self, monkeypatch, name="xterm"):
        monkeypatch.setenv("TERM", name)
        monkeypatch.setenv("COLUMNS", "20")
        self.shown = ""

    def during(self, block):
        self._reader, writer = pty.openpty()
        try:
            with os.fdopen(writer, "w") as opened:
                with redirect_stderr(opened), waiting("a text that is longer than a line"):
                    block()
                opened.write("end")
                opened.flush()
                self.wait_for("end")
        finally:
            self._read_the_rest()
            os.close(self._reader)
        return self.shown.removesuffix("end")

    def wait_for(self, text):
        while text not in self.shown:
            assert self._read(30), self.shown

    def _read(self, timeout):
        if not select.select([self._reader], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._reader, 10_000)
        except OSError:  # Linux's way to say that the other end is closed
            return False
        self.shown += data.decode()
        return bool(data)

    def _read_the_rest(self):
        while self._read(0):
            pass


@pytest.fixture
def terminal(monkeypatch):
    return Terminal(monkeypatch)


def is_waiting():
    """Whether there is a thread that says so, sooner or later."""
    return any(thread.name == "loafer-kit-waiting" for thread in threading.enumerate())


def test_what_is_quick_is_not_shown(terminal):
    """Nothing flickers."""
    assert terminal.during(lambda: None) == ""
    assert not is_waiting()


def test_it_fits_into_one_line(terminal):
    """A longer one could not be taken back."""
    shown = terminal.during(lambda: terminal.wait_for("\r/ "))

    assert shown.startswith("\r| a text that is lo\r")
    assert shown.endswith(CLEARED)


@pytest.mark.parametrize(("name", "can_be_cleared"), [("xterm", True), ("dumb", False)])
def test_a_terminal_that_can_do_nothing_is_left_alone(monkeypatch, name, can_be_cleared):
    """It would show the control characters."""
    seen = []

    assert Terminal(monkeypatch, name).during(lambda: seen.append(is_waiting())) == ""

    assert seen == [can_be_cleared]


def test_an_error_in_the_block_comes_out(terminal):
    """The line is clean before it is told."""

    def in_vain():
        terminal.wait_for("\r| ")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        terminal.during(in_vain)
    assert terminal.shown.endswith(CLEARED)
    assert not is_waiting()
