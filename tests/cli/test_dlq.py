"""`loafer-kit dlq` against the embedded server: what it shows, asks, does and ends with."""

import json
import os
import stat
import sys

import programs
import pytest
from dead_letters.moves import MoveTasks
from kept_projects import run
from moto.sqs.responses import SQSResponse
from terminals import Person

from loafer_kit.dead_letters import moves
from loafer_kit.local import LocalQueue

DEAD = ["orders-dead", "steps-dead.fifo"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("LOAFER_AMQP_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def queues(local_server, local_queues):
    local_queues.create(LocalQueue("orders", dead_letter_queue="orders-dead"))
    local_server.polls.release(DEAD)  # an empty queue answers at once
    yield local_queues
    local_server.polls.hold(DEAD)


@pytest.fixture
def reject(queues):
    """Sends a letter as a service does; returns its id."""

    def send(body, reason="ValueError: no", **attributes):
        added = {"DeadLetterReason": reason, "DeadLetterSourceQueue": "orders"}
        return queues.send("orders-dead", body, attributes=added | attributes)

    return send


def dlq(*arguments):
    return run("dlq", *arguments)


def bodies(queues, queue="orders"):
    return sorted(message["Body"] for message in queues.receive(queue))


def test_list_sums_a_queue_up(queues, reject):
    """Count, age, sources, reasons; a line says that receive counts rise."""
    reject("1", "ValueError: order 1")
    reject("2", "ValueError: order 2")
    done = dlq("list", "orders-dead")
    first, second = done.stdout.splitlines()
    assert first.startswith("orders-dead: 2 letters, oldest sent 20")
    assert first.endswith(" UTC, from orders")
    assert second == "      2  ValueError: order 1"
    assert "receive count" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["list", "show"])
def test_a_reason_of_several_lines_is_one_line(queues, reject, command):
    """As of an error of pydantic: its further lines could pass for those of other letters."""
    reject("1", "ValueError: 1 error\n  id\n      9  not an error")
    shown = dlq(command, "orders-dead").stdout.splitlines()
    assert shown[1].endswith("  ValueError: 1 error id 9 not an error")


def test_list_shows_the_queues_of_the_service_around_the_folder(queues, folder, monkeypatch):
    """Those that its spec names, and those that redrive policies on the server name."""
    queues.create(LocalQueue("refunds", dead_letter_queue="refunds-dead"))
    (folder / "loafer.toml").write_text(
        'name = "shop"\n[[queues]]\nname = "orders"\ndead_letter_queue = "orders-dead"\n'
        'max_receive_count = 3\n[[queues]]\nname = "refunds"\n'
    )
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    listed = json.loads(dlq("list", "--json").stdout)
    assert [summary["queue"] for summary in listed] == ["refunds-dead", "orders-dead"]


def test_a_name_with_parameters_is_filled_from_the_environment(queues, reject, folder, monkeypatch):
    """It can be copied from a loafer.toml, and TAB completes it."""
    (folder / "loafer.toml").write_text(
        'name = "shop"\n[[parameters]]\nname = "STAGE"\n[[queues]]\nname = "${STAGE}rs"\n'
        'dead_letter_queue = "${STAGE}rs-dead"\n'
    )
    monkeypatch.setenv("STAGE", "orde")
    reject("1")
    assert dlq("show", "${STAGE}rs-dead").stdout.startswith(dlq("show", "orders-dead").stdout[:36])
    done = dlq("replay", "${STAGE}rs-dead", "--to", "${STAGE}rs", "--yes")
    assert done.stdout.endswith(" to orders\nsent 1 letter\n")
    assert dlq("list").stdout == "orders-dead: 0 letters, from orders\n"


def test_list_by_prefix(queues):
    """And what to do where there is no service."""
    assert dlq("list", "--prefix", "ord").stdout == "orders-dead: 0 letters, from orders\n"
    assert dlq("list", "--prefix", "x").stdout == "no dead-letter queue\n"
    done = dlq("list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no service here: name a QUEUE or a --prefix" in done.stderr


def test_list_ends_with_1_where_a_queue_is_missing(queues):
    """The others are shown."""
    done = dlq("list", "nowhere")
    assert done.returncode == 1
    assert "does not exist" in done.stdout


def test_show_says_why_each_letter_is_dead(queues, reject):
    """A long body is cut unless all of it is asked for."""
    name = reject('{"text": "' + "x" * 900 + '"}', origin="web")
    done = dlq("show", "orders-dead")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{name}: received 1 times, sent 20")
    assert lines[0].endswith(", from orders")
    assert lines[1:3] == ["  ValueError: no", "  origin=web"]
    assert lines[3].endswith("… (912 bytes)")
    assert len(lines[3]) < 250
    assert "x" * 900 in dlq("show", "orders-dead", "--bodies").stdout


def test_show_prints_json(queues, reject):
    """Also the body."""
    reject('{"id": 7}')
    queues.send("orders-dead", "moved")
    found = json.loads(dlq("show", "orders-dead", "--where", "body.id == `7`", "--json").stdout)
    (letter,) = found["letters"]
    assert (letter["body"], letter["exception"], letter["source"]) == (
        {"id": 7},
        "ValueError",
        "orders",
    )


def test_show_says_what_it_leaves_out(queues, reject):
    """By its limit, and because others have it."""
    reject("1")
    reject("2")
    assert "--limit shows more" in dlq("show", "orders-dead", "--limit", "1").stderr
    queues.receive("orders-dead")
    done = dlq("show", "orders-dead")
    assert (done.returncode, done.stdout) == (0, "")
    assert "orders-dead: about 2 are in flight" in done.stderr


@pytest.mark.parametrize("body", ["\x1b[2J", "not JSON", "\u202e", "[" * 100_000, "\\ud800"])
def test_show_escapes_a_body_that_cannot_be_decoded(queues, reject, body):
    """A letter may be a stranger's."""
    reject(body)
    done = dlq("show", "orders-dead", "--bodies")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert dlq("show", "orders-dead", "--json").returncode == 0


def test_a_narrow_terminal_shows_everything(queues, reject, monkeypatch):
    """Lines are left to the terminal to wrap."""
    monkeypatch.setenv("COLUMNS", "40")
    reject("1", "ValueError: " + "x" * 100)
    assert "x" * 100 in dlq("show", "orders-dead").stdout
    assert dlq("list", "orders-dead").returncode == 0


def test_an_export_is_imported(queues, reject, folder):
    """Into the queue that they came from, or any other; the file is for its owner alone."""
    reject("1", origin="web")
    done = dlq("export", "orders-dead", "letters.jsonl")
    assert (done.returncode, done.stdout) == (0, "")
    assert "1 letter of orders-dead exported to letters.jsonl" in done.stderr
    assert stat.S_IMODE((folder / "letters.jsonl").stat().st_mode) == 0o600
    assert dlq("export", "orders-dead").stdout.count("\n") == 1

    shown = dlq("import", "letters.jsonl", "orders")
    assert (shown.returncode, queues.counts("orders").total) == (0, 0)
    assert "nothing was changed: --yes would send 1 letter to orders" in shown.stderr
    assert dlq("import", "letters.jsonl", "orders", "--yes").returncode == 0
    (message,) = queues.receive("orders")
    assert (message["Body"], list(message["MessageAttributes"])) == ("1", ["origin"])
    assert run("send", "orders", "--from-export", "letters.jsonl").returncode == 0
    assert bodies(queues) == ["1"]
    assert run("send", "orders", "2", "--from-export", "letters.jsonl").returncode == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "letters.jsonl: No such file or directory"),
        (b"{}\n", "letters.jsonl:1: not a line of `dlq export`: it lacks what"),
        (b"\n[" + b"[" * 100_000, "letters.jsonl:2: not a line of `dlq export`: "),
        (b"\xff\n", "letters.jsonl:1: not a line of `dlq export`: "),
    ],
)
def test_a_file_that_is_no_export_is_refused_whole(queues, folder, content, why):
    """Before anything is sent; one line names the place."""
    if content is not None:
        (folder / "letters.jsonl").write_bytes(content)
    done = dlq("import", "letters.jsonl", "orders", "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert queues.counts("orders").total == 0


def test_an_export_overwrites_nothing(queues, folder):
    """One line."""
    (folder / "mine").write_text("mine")
    done = dlq("export", "orders-dead", "mine")
    assert (done.returncode, done.stderr) == (1, "error: mine: File exists\n")
    assert (folder / "mine").read_text() == "mine"


def test_replay_shows_what_it_would_do(queues, reject):
    """Nothing is sent without --yes; all letters are visible again."""
    name = reject("1")
    done = dlq("replay", "orders-dead")
    assert (done.returncode, done.stdout) == (0, f"would send {name} to orders: ValueError: no\n")
    assert "nothing was changed: --yes would send 1 letter of orders-dead" in done.stderr
    assert (queues.counts("orders").total, queues.counts("orders-dead").visible) == (0, 1)


def test_replay_does_it_with_yes(queues, reject):
    """A line for each letter, and their number."""
    name = reject("1")
    done = dlq("replay", "orders-dead", "--yes")
    assert (done.returncode, done.stdout) == (0, f"sent {name} to orders\nsent 1 letter\n")
    assert bodies(queues) == ["1"]
    assert dlq("replay", "orders-dead", "--yes").stdout == "no letter\n"


def test_partial_failures_are_listed_and_end_with_1(queues, reject):
    """Also as JSON."""
    name = reject("1", DeadLetterSourceQueue="gone")
    reject("2")
    for option in ([], ["--json"]):
        done = dlq("replay", "orders-dead", "--yes", *option)
        assert done.returncode == 1
    (kept,) = json.loads(done.stdout)["outcomes"]
    assert (kept["letter"], kept["status"]) == (name, "kept")
    assert "does not exist" in kept["problem"]
    assert bodies(queues) == ["2"]


def test_the_name_of_the_queue_is_typed_on_a_terminal(queues, reject):
    """Anything else changes nothing; letters that arrive meanwhile are not part of it."""
    reject("1")
    for typed, text in (("\r", "nothing was changed"), ("orders-dead\r", "sent 1 letter")):
        with Person("dlq", "replay", "orders-dead") as person:
            person.wait_for("Type its name to do it [no, leave it]:")
            late = reject("late")
            person.type(typed)
            person.wait_for(text)
            assert person.leave() == 0
        for letter in queues.receive("orders-dead"):
            if letter["MessageId"] == late:
                queues.delete_messages("orders-dead", [letter])
            else:
                queues.make_visible("orders-dead", letter["ReceiptHandle"])
    assert bodies(queues) == ["1"]


def test_each_letter_is_edited_before_it_is_sent(queues, reject, folder, monkeypatch):
    """One whose editor fails, or leaves nothing, is kept."""
    script = folder / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "body = file.read_text()\n"
        "file.write_text({'1': 'new\\n', '2': '', '3': 'x'}[body])\n"
        "sys.exit(body == '3')\n"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
    for body in "123":
        reject(body)
    done = dlq("replay", "orders-dead", "--edit", "--yes")
    assert done.returncode == 0
    assert "sent 1 letter, kept 2 letters" in done.stdout
    assert bodies(queues) == ["new"]
    assert bodies(queues, "orders-dead") == ["2", "3"]


def test_an_edited_letter_that_is_not_sent_is_not_lost(queues, reject, folder, monkeypatch):
    """The command says where the text is."""
    monkeypatch.setenv("VISUAL", "true")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    reject("precious")
    denied = (403, {"status": 403}, json.dumps({"__type": "AccessDenied"}))
    monkeypatch.setattr(SQSResponse, "send_message", lambda self: denied)
    done = dlq("replay", "orders-dead", "--edit", "--yes")
    assert done.returncode == 1
    place = done.stderr.partition("that were not sent are in ")[2].split()[0]
    (file,) = (folder / place).iterdir()
    assert file.read_text() == "precious"


def test_a_missing_editor_is_one_line(queues, reject, monkeypatch):
    """It says which variable to set."""
    monkeypatch.setenv("VISUAL", "/nowhere/ed")
    reject("1")
    done = dlq("replay", "orders-dead", "--edit", "--yes")
    assert done.returncode == 1
    assert "error: /nowhere/ed: No such file or directory; set EDITOR" in done.stderr


def test_purge_deletes_chosen_letters_or_all(queues, reject):
    """After --yes."""
    for body in "123":
        reject(body)
    done = dlq("purge", "orders-dead", "--where", "body == `1`")
    assert "--yes would delete 1 letter of orders-dead" in done.stderr
    assert dlq("purge", "orders-dead", "--where", "body == `1`", "--yes").returncode == 0
    assert queues.counts("orders-dead").visible == 2
    done = dlq("purge", "orders-dead")
    assert "--yes would delete all, about 2 letters, of orders-dead" in done.stderr
    done = dlq("purge", "orders-dead", "--yes")
    assert done.stdout == "deleted all, about 2 letters, of orders-dead\n"
    assert queues.counts("orders-dead").total == 0


@pytest.mark.parametrize("command", ["show", "export", "replay", "purge"])
def test_a_source_queue_is_not_touched(queues, command):
    """It would move its messages; a slip of the hand must not delete them."""
    queues.send("orders", "1")
    options = ["--yes"] if command in ("replay", "purge") else []
    done = dlq(command, "orders", *options)
    assert done.returncode == 1
    assert "error: orders moves its messages to orders-dead" in done.stderr
    assert queues.counts("orders").visible == 1


def test_an_error_halfway_is_told_after_what_was_done(queues, reject, monkeypatch):
    """Expired credentials, for example."""
    for number in range(12):
        reject(str(number))
    receive, turns = SQSResponse.receive_message, []

    def expiring(self):
        turns.append(1)
        if len(turns) > 1:
            return 400, {"status": 400}, json.dumps({"__type": "ExpiredToken"})
        return receive(self)

    with monkeypatch.context() as patch:
        patch.setattr(SQSResponse, "receive_message", expiring)
        done = dlq("replay", "orders-dead", "--yes")
    assert done.returncode == 1
    assert done.stdout.endswith("\nsent 10 letters\n")
    assert "credentials" in done.stderr.splitlines()[-1]
    assert (queues.counts("orders").total, queues.counts("orders-dead").visible) == (10, 2)


def test_move_follows_a_task(queues, reject, monkeypatch):
    """It names the destination, and shows nothing but the end where there is no terminal."""
    monkeypatch.setattr(moves, "_PAUSE", 0.01)
    tasks = MoveTasks(queues)
    tasks.install(monkeypatch)
    for number in range(4):
        reject(str(number))
    done = dlq("move", "orders-dead")
    assert "--yes would move all letters to orders of orders-dead" in done.stderr
    assert (done.returncode, tasks.tasks) == (0, [])
    done = dlq("move", "orders-dead", "--yes")
    assert (done.returncode, done.stdout) == (0, "completed: moved 4 letters to orders\n")
    assert "No move of orders-dead is running" in dlq("move", "orders-dead", "--cancel").stderr


def test_move_cancels_a_task(queues, reject, monkeypatch):
    """What it has moved stays where it is."""
    tasks = MoveTasks(queues)
    tasks.install(monkeypatch)
    for number in range(4):
        reject(str(number))
    arns = {
        "SourceArn": queues.queue_arn("orders-dead"),
        "DestinationArn": queues.queue_arn("orders"),
    }
    tasks._start(arns)
    done = dlq("move", "orders-dead", "--cancel", "--yes")
    assert (done.returncode, done.stdout) == (0, "cancelled: moved 3 letters to orders\n")


def test_move_replays_where_there_are_no_tasks(queues, reject):
    """And says so."""
    name = reject("1")
    done = dlq("move", "orders-dead", "--yes")
    assert "this server has no move tasks: its letters are replayed instead" in done.stderr
    assert done.stdout == f"sent {name} to orders\nsent 1 letter\n"
    assert dlq("move", "orders-dead", "--cancel").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["show", "nowhere"], "Queue 'nowhere' does not exist in this region and account"),
        (["show", "orders-dead", "--where", "a b"], "'a b' is not a JMESPath expression: "),
        (["replay", "orders-dead", "--to", "nowhere", "--yes"], None),
        (["show", "orders-dead", "--limit", "0"], None),
        (["move", "orders-dead", "--rate", "501"], None),
    ],
)
def test_bad_input_is_one_line(queues, reject, arguments, line):
    """It says what is wrong."""
    reject("1")
    done = dlq(*arguments)
    assert done.returncode in (1, 2)
    assert line is None or f"error: {line}" in done.stderr.splitlines()[-1]
    assert queues.counts("orders-dead").visible == 1


def test_dead_letter_queues_are_completed_from_the_spec(folder):
    """Without the network."""
    (folder / "loafer.toml").write_text(
        'name = "shop"\n[[queues]]\nname = "orders"\ndead_letter_queue = "orders-dead"\n'
    )
    environment = os.environ | {
        "_LOAFER_KIT_COMPLETE": "complete_bash",
        "COMP_WORDS": "loafer-kit dlq show or".replace(" ", "\n"),
        "COMP_CWORD": "3",
    }
    done = programs.run("-m", "loafer_kit", env=environment)
    assert done.stdout.split() == ["orders-dead"]
