"""`loafer-kit dev`: real server, real service, real signals."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import urllib.request

import pytest
from console.sessions import log_in
from kept_projects import replace, run
from programs import Program
from terminals import Person

from loafer_kit.cli import main
from loafer_kit.local import servers

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
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "project"
    package = folder / "foobar"
    package.mkdir(parents=True)
    (folder / "loafer.toml").write_text(LOAFER_TOML)
    (package / "__init__.py").write_text(textwrap.dedent(SERVICE))
    (package / "__main__.py").write_text("from foobar import manager\n\nmanager.run()\n")
    return folder


@pytest.fixture
def dev(capfd, monkeypatch, local_queues, python_copies):
    """Runs `dev` in this process, beside an empty server; the service has a process of its own."""

    def dev(*arguments):
        monkeypatch.setattr(sys, "argv", ["loafer-kit", "dev", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return subprocess.CompletedProcess(sys.argv, code, *capfd.readouterr())

    return dev


class Dev:
    """A running `dev`, read line by line."""

    def __init__(self, *arguments):
        self.process = Program(
            *("-m", "loafer_kit", "dev", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
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


def test_once_ends_when_every_message_is_dealt_with(project, dev):
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
    assert result.stdout.endswith("""\
dev: the queues are empty
dev: ended
dev: queue  handled  failed  dead letters
dev: jobs         1       2  1 in jobs-dead: the handler returned False
dev: inbox        1       0
""")
    assert "outcome='acknowledged'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_filter_policy_that_may_drop_a_message_is_said(project, dev):
    """The message is published, and may match no attribute."""
    spec = project / "loafer.toml"
    spec.write_text(spec.read_text() + 'filter_policy = { kind = ["x"] }\n')

    result = dev(project, "--once", "--send", "inbox=[2]")

    told = 'dev: sent to inbox, if its filter policy {"kind": ["x"]} matches: [2]\n'
    assert told in result.stdout
    assert "handled [2]" not in result.stdout


def test_once_ends_after_the_last_attempt_of_a_message_that_keeps_failing(project, dev):
    """Without a dead-letter queue that is the fifth; no lease is waited for; exit code 1."""
    spec, package = project / "loafer.toml", project / "foobar" / "__init__.py"
    queue = 'dead_letter_queue = "jobs-dead"\nmax_receive_count = 2\nvisibility_timeout = 3\n'
    replace(spec, queue, "visibility_timeout = 3600\n")
    replace(package, '"VisibilityTimeout": 3', '"VisibilityTimeout": 3600')
    result = dev(project, "--once", "--send", 'jobs="bad"', "--send", "jobs=1")
    assert result.returncode == 1
    assert result.stdout.count("handled bad") == 5
    assert result.stdout.endswith("dev: jobs         1       5\ndev: inbox        0       0\n")
    assert result.stderr.endswith(
        "error: Failed 5 times: 1 in jobs, which has no dead-letter queue\n"
    )


def test_once_counts_what_the_service_does_not_log(project, dev):
    """A service may log errors only, and the message is given up as well."""
    spec, package = project / "loafer.toml", project / "foobar" / "__init__.py"
    replace(spec, 'dead_letter_queue = "jobs-dead"\nmax_receive_count = 2\n', "")
    package.write_text(
        f"import logging\nlogging.getLogger().setLevel(logging.ERROR)\n{package.read_text()}"
    )
    result = dev(project, "--once", "--send", 'jobs="bad"')
    assert result.stdout.count("handled bad") == 5
    assert "message.handled" not in result.stderr


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
    """Its record and the service's socket are found; a topic reaches a subscribed queue."""
    with Dev(project) as running:
        url = running.until("SQS and SNS run on").split()[-1]
        running.until("started")
        [record] = servers.running()
        assert record.queues == ["jobs", "jobs-dead", "inbox"]
        assert record.topics == ["news"]
        for name, body in (("jobs", '"one"'), ("inbox", '"two"'), ("news", '"three"')):
            result = run("send", name, body)
            assert f"on the local server of foobar ({url})" in result.stdout
            running.until(f"handled {body.strip(chr(34))}")
        status = json.loads(run("ctl", "status", "--json").stdout)
        assert [route["name"] for route in status["routes"]] == ["jobs", "inbox"]
        running.process.send_signal(signal.SIGTERM)
        running.until("dev: ended")


# Reloading


def test_a_change_restarts_the_service_once_its_messages_are_done(project):
    """The message in hand is finished by the old code, the next one is handled by the new code."""
    package = project / "foobar" / "__init__.py"
    with Dev(project, "--send", 'jobs="slow"') as running:
        running.until("handled slow")
        replace(package, '"handled"', '"done"')
        line = running.until("changed: restarting foobar")
        assert "foobar/__init__.py" in line
        running.until("finished")
        running.until("dev: started")
        assert run("send", "jobs", "1").returncode == 0
        running.until("done 1")
        running.process.send_signal(signal.SIGINT)
        running.until("dev: jobs         2       0")
        assert running.process.wait(timeout=60) == 0


def test_a_service_that_a_change_breaks_waits_for_the_next_change(project):
    """A half-written line does not end the session; nor does a spec that cannot be read."""
    package, spec = project / "foobar" / "__init__.py", project / "loafer.toml"
    good = package.read_text()
    with Dev(project) as running:
        running.until("service.started")
        package.write_text("half written (")
        running.until("foobar ended with exit code 1: waiting for a change")
        package.write_text(good)
        running.until("service.started")
        spec.write_text("[[queues")
        running.until("waiting for a change")
        queue = '\n[[queues]]\nname = "bills"\n'
        spec.write_text(LOAFER_TOML + queue)
        running.until("service.started")
        assert run("send", "bills", "1").returncode == 0  # the new queue exists
        running.process.send_signal(signal.SIGINT)
        running.until("dev: ended")
        assert running.process.wait(timeout=60) == 0


def test_nothing_is_watched_with_no_reload(project):
    """The first code handles every message."""
    package = project / "foobar" / "__init__.py"
    with Dev(project, "--no-reload") as running:
        running.until("service.started")
        replace(package, '"handled"', '"done"')
        assert run("send", "jobs", "1").returncode == 0
        running.until("handled 1")
        assert not any("restarting" in line for line in running.lines)


def test_without_the_extra_the_way_out_is_named(project, monkeypatch):
    """Before anything is started."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    result = run("dev", project)
    assert result.stdout == ""
    assert "pip install 'loafer-kit[local]'" in result.stderr


# Several services

MAILER = """
    from loafer_kit.ext.aws.routes import SNSQueueRoute
    from loafer_kit.managers import LoaferManager

    async def handle(message, metadata):
        print("mailed", message, flush=True)
        return True

    manager = LoaferManager([SNSQueueRoute("mails", handler=handle)])
"""
SHOP = """
    from loafer_kit.ext.aws.handlers import SNSHandler
    from loafer_kit.ext.aws.routes import SQSRoute
    from loafer_kit.managers import LoaferManager

    manager = LoaferManager([SQSRoute("orders", handler=SNSHandler("order-placed"))])
"""


@pytest.fixture
def shop_and_mailer(tmp_path, monkeypatch):
    """The folder of two services; one publishes to the topic that the other reads."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    specs = {
        "shop": (SHOP, '[[queues]]\nname = "orders"\n'),
        "mailer": (MAILER, '[[queues]]\nname = "mails"\nkind = "sns"\ntopic = "order-placed"\n'),
    }
    for name, (code, queues) in specs.items():
        package = tmp_path / name / name
        package.mkdir(parents=True)
        (package.parent / "loafer.toml").write_text(f'name = "{name}"\n\n{queues}')
        (package / "__init__.py").write_text(textwrap.dedent(code))
        (package / "__main__.py").write_text(f"from {name} import manager\n\nmanager.run()\n")
    return tmp_path


def test_several_services_share_one_server(shop_and_mailer, monkeypatch, dev):
    """A message of one arrives at the other through their topic; log lines name their service."""
    monkeypatch.chdir(shop_and_mailer)
    result = dev("shop", "mailer", "--once", "--send", 'orders={"id": 1}')
    assert result.returncode == 0, result.stderr
    assert "mailed {'id': 1}" in result.stdout
    assert result.stdout.endswith("dev: orders        1       0\ndev: mails         1       0\n")
    handled = r"\S+ \S+ INFO loafer_kit\.engine\.deliveries message\.handled"
    assert re.search(rf"^shop {handled} .*queue=orders", result.stderr, re.MULTILINE)
    assert re.search(rf"^mailer {handled} .*queue=mails", result.stderr, re.MULTILINE)


def test_a_service_that_fails_ends_the_others(shop_and_mailer, monkeypatch):
    """They drain, no process is left behind, and the error names the service."""
    monkeypatch.chdir(shop_and_mailer)
    (shop_and_mailer / "mailer/mailer/__main__.py").write_text(
        "import pathlib, time\n"
        "while not pathlib.Path('../fail').exists():\n"
        "    time.sleep(0.05)\n"
        "raise SystemExit(3)\n"
    )
    with Dev("shop", "mailer") as running:
        pid = int(re.search(r"pid (\d+)", running.until("started python -m shop"))[1])
        running.until("service.started")
        (shop_and_mailer / "fail").touch()
        assert running.until("service.stopping").startswith("shop ")
        running.until("error: mailer ended with exit code 3")
        assert running.process.wait(timeout=60) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_queue_of_no_service_is_refused(shop_and_mailer, monkeypatch):
    """The line names every service and their queues."""
    monkeypatch.chdir(shop_and_mailer)
    result = run("dev", "shop", "mailer", "--send", "bills=1")
    line = "error: shop and mailer have no queue 'bills'; they have: orders, mails\n"
    assert (result.returncode, result.stderr) == (1, line)


def test_a_terminal_gets_colours(project, monkeypatch):
    """Unless the user wants none."""
    arguments = ("dev", str(project), "--once", "--send", 'jobs="bad"')
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with Person(*arguments) as person:
        person.wait_for("\x1b[36mdev: started")
        person.wait_for("\x1b[31m")  # message.exhausted
        person.wait_for("\x1b[36mdev: ended")
    monkeypatch.setenv("NO_COLOR", "1")
    with Person("dev", "nowhere") as person:
        person.wait_for("error: There is no nowhere")


def test_a_server_that_runs_already_is_used(project, local_server, local_queues, dev):
    """The queues are made there, and the server stays."""
    result = dev(project, "--once", "--send", 'jobs={"id": 1}', "--endpoint-url", local_server.url)
    assert result.returncode == 0, result.stderr
    assert f"dev: using the server on {local_server.url}" in result.stdout
    assert set(local_queues.names()) == {"jobs", "jobs-dead", "inbox"}


def test_json_is_all_that_stdout_holds(project, dev):
    """One object in a line; what the service prints goes to stderr."""
    result = dev(
        project, "--json", "--once", "--send", "jobs=1", "--send", 'jobs="bad"', "--send", "inbox=2"
    )
    assert result.returncode == 0, result.stderr
    events = map(json.loads, result.stdout.splitlines())
    server, *queues, first, _, third, started, done, ended, summary = [
        event for event in events if event["event"] != "waiting"  # on a slow machine
    ]
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
    assert summary["event"] == "summary"
    assert summary["queues"][0] == {
        "queue": "jobs",
        "handled": 1,
        "failed": 2,
        "dead_letter_queue": "jobs-dead",
        "dead_letters": {"the handler returned False": 1},
    }
    assert "handled 1" in result.stderr


def test_json_ends_before_the_error(project, dev):
    """The error is on stderr, as ever."""
    (project / "foobar" / "__main__.py").write_text("print('hello')\nraise SystemExit(3)\n")
    result = dev(project, "--json")
    assert result.returncode == 1
    events = [json.loads(line)["event"] for line in result.stdout.splitlines()]
    assert events == ["server", "queue", "queue", "console", "started"]
    assert result.stderr == "hello\nerror: foobar ended with exit code 3\n"


def test_a_service_that_fails_is_reported(project, dev):
    """Its own words are shown, then one line; exit code 1."""
    (project / "foobar" / "__main__.py").write_text("import nothing_like_it\n")
    result = dev(project)
    assert result.returncode == 1
    assert "No module named 'nothing_like_it'" in result.stderr
    assert result.stderr.endswith("error: foobar ended with exit code 1\n")


def test_a_service_without_main_is_one_line(project, dev):
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
def test_an_error_is_one_line(project, monkeypatch, arguments, line, dev):
    """No traceback, exit code 1, and nothing was started."""
    monkeypatch.chdir(project.parent)
    result = dev(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


def test_a_spec_that_cannot_work_is_refused_with_its_place(project, dev):
    """loafer.toml is checked as `loafer-kit new` checks a spec."""
    (project / "loafer.toml").write_text('name = "foobar"\n\n[[queues]]\nnmae = "jobs"\n')
    result = dev(project)
    assert result.returncode == 1
    assert "nmae" in result.stderr
    assert "line 4" in result.stderr


def test_a_console_shows_what_runs_and_may_steer_it(project):
    """It asks the server of this `dev`, whatever the environment names, and the service's socket."""
    with Dev(project, "--send", "jobs=1") as running:
        line = running.until("the console is on")
        origin, headers = log_in(line.split()[-1])
        running.until("handled 1")
        with urllib.request.urlopen(
            urllib.request.Request(f"{origin}/api/stream", headers=headers), timeout=20
        ) as stream:
            states = {}
            while not (
                "processes" in states and states["processes"][0]["status"] and "queues" in states
            ):
                topic = stream.readline().decode().strip().removeprefix("event: ")
                states[topic] = json.loads(stream.readline().decode().removeprefix("data: ") or "0")
                stream.readline()
        assert states["services"]["write"] is True
        assert [row["error"] for row in states["queues"]] == [None] * 3
        routes = states["processes"][0]["status"]["routes"]
        assert sum(route["received"] for route in routes) == 1
