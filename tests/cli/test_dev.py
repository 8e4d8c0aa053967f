"""`loafer-kit dev` as a process of its own: real server, real service, real signals."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap

import pytest

from loafer_kit.local import records

pytestmark = pytest.mark.slow

LOAFER_TOML = """
name = "foobar"

[[queues]]
name = "jobs"
dead_letter_queue = "jobs-dead"
max_receive_count = 2
visibility_timeout = 3

[[queues]]
name = "inbox"
kind = "sns"
topic = "news"
"""
SERVICE = """
    import asyncio
    from loafer_kit.ext.aws.routes import SNSQueueRoute, SQSRoute
    from loafer_kit.managers import LoaferManager

    async def handle(message, metadata):
        print("handled", message, flush=True)
        if message == "slow":
            await asyncio.sleep(1)
            print("finished", flush=True)
        return message != "bad"

    manager = LoaferManager(
        [
            SQSRoute("jobs", {"options": {"VisibilityTimeout": 3}}, handler=handle),
            SNSQueueRoute("inbox", handler=handle),
        ]
    )
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A service in a folder, and a temporary folder of its own for the server's record."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = tmp_path / "project"
    package = folder / "foobar"
    package.mkdir(parents=True)
    (folder / "loafer.toml").write_text(LOAFER_TOML)
    (package / "__init__.py").write_text(textwrap.dedent(SERVICE))
    (package / "__main__.py").write_text("from foobar import manager\n\nmanager.run()\n")
    return folder


def command(*arguments):
    return [sys.executable, "-m", "loafer_kit", *map(str, arguments)]


def dev(*arguments):
    return subprocess.run(
        command("dev", *arguments), capture_output=True, text=True, check=False, timeout=90
    )


class Dev:
    """A running `dev`, read line by line."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            command("dev", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def until(self, text):
        """Return the line that contains `text`."""
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in:\n{''.join(self.lines)}")


def test_once_ends_when_every_message_is_dealt_with(project):
    """Good messages are handled, a bad one ends in the dead-letter queue; the exit code is 0."""
    result = dev(
        project, "--once", "--send", 'jobs={"id": 1}', "--send", 'jobs="bad"', "--send", "inbox=[2]"
    )
    assert result.returncode == 0, result.stderr
    assert "handled {'id': 1}" in result.stdout
    assert result.stdout.count("handled bad") == 2
    assert "handled [2]" in result.stdout
    assert "dev: queue jobs, after 2 attempts to jobs-dead" in result.stdout
    assert "dev: queue inbox, subscribed to topic news" in result.stdout
    assert result.stdout.endswith("dev: the queues are empty\ndev: ended\n")
    assert "outcome='acknowledged'" in result.stderr
    assert "Traceback" not in result.stderr


def test_once_does_not_wait_for_ever_for_a_message_that_keeps_failing(project):
    """Without a dead-letter queue it is named after five failures; exit code 1."""
    spec = project / "loafer.toml"
    spec.write_text(
        spec.read_text().replace('dead_letter_queue = "jobs-dead"\nmax_receive_count = 2\n', "")
    )
    result = dev(project, "--once", "--send", 'jobs="bad"', "--send", "jobs=1")
    assert result.returncode == 1
    assert result.stdout.count("handled bad") >= 5
    assert result.stderr.endswith(
        "error: Failed 5 times: 1 in jobs, which has no dead-letter queue\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_service_after_what_is_in_hand(project, number):
    """The message that is being handled is finished, and both processes are gone."""
    with Dev(project, "--send", 'jobs="slow"') as running:
        pid = int(running.until("started").split("pid ")[1].split(")")[0])
        running.until("handled slow")
        running.process.send_signal(number)
        running.until("finished")
        running.until("outcome='acknowledged'")
        running.until("dev: ended")
        assert running.process.wait(timeout=30) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_idle_service_ends_without_waiting_for_its_long_polls(project):
    """Two signals are not needed, nor is a poll's wait time spent."""
    with Dev(project, "--send", "jobs=1") as running:
        running.until("outcome='acknowledged'")
        running.process.send_signal(signal.SIGINT)
        running.until("dev: ended")
        assert not any("fetch.cancelled" in line for line in running.lines)


def test_the_service_ends_with_a_dev_that_is_killed(project):
    """Nothing goes on polling a server that is gone."""
    with Dev(project, "--send", "jobs=1") as running:
        running.until("outcome='acknowledged'")
        running.process.kill()
        running.until("service.stopping")
        for _ in running.process.stdout:  # until the service has closed it too
            pass


def test_send_reaches_the_server_from_another_terminal(project):
    """`send` finds the server by itself; a subscribed queue is reached through its topic."""
    with Dev(project) as running:
        url = running.until("SQS and SNS run on").split()[-1]
        running.until("started")
        for queue, body in (("jobs", '"one"'), ("inbox", '"two"')):
            result = subprocess.run(
                command("send", queue, body), capture_output=True, text=True, check=True
            )
            assert f"on the local server of foobar ({url})" in result.stdout
        running.until("handled")
        running.until("handled")
        running.process.send_signal(signal.SIGTERM)
        running.until("dev: ended")


def test_the_record_of_the_server_names_the_queues(project, tmp_path, monkeypatch):
    """For the shell of another terminal, which offers them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Dev(project) as running:
        running.until("started")
        [record] = records.running()
        assert record.queues == ["jobs", "jobs-dead", "inbox"]


def test_a_server_that_runs_already_is_used(project, local_server, local_queues):
    """The queues are made there, and the server stays."""
    result = dev(project, "--once", "--send", 'jobs={"id": 1}', "--endpoint-url", local_server.url)
    assert result.returncode == 0, result.stderr
    assert f"dev: using the server on {local_server.url}" in result.stdout
    assert set(local_queues.names()) == {"jobs", "jobs-dead", "inbox"}


def test_json_is_all_that_stdout_holds(project):
    """One object in a line; what the service prints goes to stderr."""
    result = dev(
        project, "--json", "--once", "--send", "jobs=1", "--send", 'jobs="bad"', "--send", "inbox=2"
    )
    assert result.returncode == 0, result.stderr
    server, *queues, first, _, third, started, done, ended = map(
        json.loads, result.stdout.splitlines()
    )
    assert (server["event"], server["embedded"]) == ("server", True)
    assert server["url"].startswith("http://127.0.0.1:")
    assert queues[0] == {
        "event": "queue",
        "name": "jobs",
        "topic": None,
        "dead_letter_queue": "jobs-dead",
        "max_receive_count": 2,
        "visibility_timeout": 3,
    }
    assert queues[1]["topic"] == "news"
    assert (first["event"], first["queue"], third["queue"]) == ("sent", "jobs", "inbox")
    assert first["message_id"] in result.stderr  # the service logs it
    assert (started["event"], started["package"]) == ("started", "foobar")
    assert done == {"event": "done", "failed": []}
    assert ended == {"event": "ended", "by_itself": False}
    assert "handled 1" in result.stderr


def test_json_ends_before_the_error(project):
    """The error is on stderr, as ever."""
    (project / "foobar" / "__main__.py").write_text("print('hello')\nraise SystemExit(3)\n")
    result = dev(project, "--json")
    assert result.returncode == 1
    events = [json.loads(line)["event"] for line in result.stdout.splitlines()]
    assert events == ["server", "queue", "queue", "started"]
    assert result.stderr == "hello\nerror: foobar ended with exit code 3\n"


def test_a_service_that_fails_is_reported(project):
    """Its own words are shown, then one line; exit code 1."""
    (project / "foobar" / "__main__.py").write_text("import nothing_like_it\n")
    result = dev(project)
    assert result.returncode == 1
    assert "No module named 'nothing_like_it'" in result.stderr
    assert result.stderr.endswith("error: foobar ended with exit code 1\n")


def test_a_service_without_main_is_one_line(project):
    """What `python -m` needs is named."""
    (project / "foobar" / "__main__.py").unlink()
    result = dev(project)
    assert result.returncode == 1
    assert "error: 'foobar' has no __main__.py" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "error: There is no nowhere: go to a service's folder or name it"),
        (
            ["project", "--send", "jbos=x"],
            "error: foobar has no queue 'jbos'; it has: jobs, inbox",
        ),
        (
            ["project", "--endpoint-url", "nonsense"],
            "error: Invalid endpoint: nonsense: name a server by its URL",
        ),
        (
            ["project", "--endpoint-url", "http://127.0.0.1:1"],
            "error: Nothing answers on http://127.0.0.1:1: start a server there, or name another",
        ),
    ],
)
def test_an_error_is_one_line(project, monkeypatch, arguments, line):
    """No traceback, exit code 1, and nothing was started."""
    monkeypatch.chdir(project.parent)
    result = dev(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


def test_a_spec_that_cannot_work_is_refused_with_its_place(project):
    """loafer.toml is checked as `loafer-kit new` checks a spec."""
    (project / "loafer.toml").write_text('name = "foobar"\n\n[[queues]]\nnmae = "jobs"\n')
    result = dev(project)
    assert result.returncode == 1
    assert "nmae" in result.stderr
    assert "line 4" in result.stderr
