"""`loafer-kit send` against the real local server."""

import json
import os
import subprocess
import sys
import tempfile

import pytest
from kept_projects import run

from loafer_kit.cli.specs import filled
from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.ext.aws.envelopes import ENVELOPES, EnvelopeTranslator
from loafer_kit.local import LocalQueue, sending
from loafer_kit.local.servers import ServerRecord, announce


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def queues(local_server, local_queues, monkeypatch):
    """The server as `dev` announces it, out of reach by AWS's variables."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with announce(ServerRecord(local_server.url, "orders")):
        local_queues.create("jobs", "steps.fifo")
        yield local_queues


def send(*arguments, stdin=""):
    return run("send", *arguments, stdin=stdin)


def bodies(queues, queue="jobs"):
    return [message["Body"] for message in queues.receive(queue)]


def test_a_body_is_sent_and_the_server_named(queues):
    """A line says where it goes before it goes there, and one what was sent."""
    result = send("jobs", '{"id": 1}')
    place = f"to jobs on the local server of orders ({queues.url})"
    assert (result.returncode, result.stderr) == (0, f"sending {place}\n")
    assert result.stdout.startswith("sent ")
    assert result.stdout.endswith(f" {place}\n")
    assert bodies(queues) == ['{"id": 1}']


def test_the_place_is_said_before_a_message_is_refused(queues):
    """The user sees where a message did not go."""
    result = send("jobs", "x" * (1024 * 1024 + 1))
    place, error = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert place == f"sending to jobs on the local server of orders ({queues.url})"
    assert error.startswith("error: jobs: ")


def test_a_topic_is_published_to(queues):
    """Its name is enough, and JSON names it too."""
    queues.create(LocalQueue("inbox", topic="news"))
    result = send("news", "hello")
    assert result.stderr == f"sending to topic news on the local server of orders ({queues.url})\n"
    assert json.loads(bodies(queues, "inbox")[0])["Message"] == "hello"
    described = json.loads(send("news", "again", "--json").stdout)["destination"]
    assert (described["queue"], described["topic"]) == (None, "news")


def test_standard_input_is_one_body(queues):
    """The line break that the shell adds is not part of it."""
    assert send("jobs", "-", stdin='{"text":\n"x"}\n').returncode == 0
    assert bodies(queues) == ['{"text":\n"x"}']


def test_a_file_is_one_body(queues, temporary_folder):
    """A file's text is sent as it stands."""
    (temporary_folder / "body.json").write_text('{"id": "é"}')
    assert send("jobs", "--file", "body.json").returncode == 0
    assert bodies(queues) == ['{"id": "é"}']


@pytest.mark.parametrize("source", [["-"], ["--file", "bodies.txt"]])
def test_each_line_is_a_message(queues, temporary_folder, source):
    """Blank lines are none; one line reports the number."""
    text = "".join(f"{number}\n\n" for number in range(12))
    (temporary_folder / "bodies.txt").write_text(text)
    result = send("jobs", *source, "--lines", stdin=text)
    assert result.stdout.startswith("sent 12 messages to jobs on ")
    assert sorted(bodies(queues) + bodies(queues), key=int) == [str(n) for n in range(12)]


def test_attributes_and_delay_are_set(queues):
    """Attributes are strings; a delayed message is hidden."""
    assert send("jobs", "now", "--attribute", "a=1", "--attribute", "b=x=y").returncode == 0
    assert send("jobs", "later", "--delay", "60").returncode == 0
    (message,) = queues.receive("jobs")
    values = {name: a["StringValue"] for name, a in message["MessageAttributes"].items()}
    assert values == {"a": "1", "b": "x=y"}
    assert queues.counts("jobs").delayed == 1


def test_group_and_deduplication_id_are_set(queues):
    """What has the same deduplication id is one message."""
    for _ in range(2):
        send("steps.fifo", "one", "--group", "g", "--deduplication-id", "d")
    (message,) = queues.receive("steps.fifo")
    assert message["Attributes"]["MessageGroupId"] == "g"
    assert message["Attributes"]["MessageDeduplicationId"] == "d"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("sns", {"id": 1}),
        ("eventbridge", {"id": 1}),
        ("s3", [{"bucket": "photos", "key": "a b.jpg"}]),
        ("cloudevents", {"id": 1}),
        ("lambda_destination", {"id": 1}),
    ],
)
def test_a_body_is_sent_in_an_envelope(queues, kind, content):
    """As the service expects it that reads the queue."""
    facts = [] if kind == "s3" else ["--fact", "source=shop"]
    assert send("jobs", json.dumps(content), "--as", kind, *facts).returncode == 0
    (message,) = queues.receive("jobs")
    translated = EnvelopeTranslator(ENVELOPES[kind]).translate(message)
    if kind == "s3":
        assert translated["content"][0]["s3"]["object"]["key"] == "a b.jpg"
    else:
        assert translated["content"] == content
        assert translated["metadata"]["source"] == "shop"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["jobs", "{}", "--as", "letter"], "--as takes one of sns, eventbridge, s3"),
        (["jobs", "{}", "--fact", "a=b"], "--fact needs it"),
        (["jobs", "{}", "--as", "sns", "--fact", "a"], "--fact takes NAME=VALUE, not 'a'"),
        (["jobs", "text", "--as", "sns"], "With --as, the body is JSON"),
        (["jobs", "{}", "--as", "s3"], "S3 does not take that body"),
    ],
)
def test_what_cannot_be_put_in_an_envelope_is_refused(queues, arguments, line):
    """Exit code 2, and nothing was sent."""
    result = send(*arguments)
    assert (result.returncode, bodies(queues)) == (2, [])
    assert line in result.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "Give either a BODY"),
        (["body", "--file", "x"], "Give either a BODY"),
        (["body", "--attribute", "novalue"], "--attribute takes NAME=VALUE, not 'novalue'"),
        (["body", "--attribute", "bad name=1"], "'bad name' cannot name an attribute: letters,"),
        (["body", "--attribute", "ä=1"], "'ä' cannot name an attribute: letters, digits"),
        (["body", "--attribute", "a..b=1"], "'a..b' cannot name an attribute: letters,"),
        (["body", "--attribute", "AWS.x=1"], "'AWS.x' cannot name an attribute: letters"),
        (["body", "--attribute", f"{257 * 'a'}=1"], "256 characters at most"),
        (["body", "--delay", "901"], "less than or equal to 900"),
        (["-", "--lines", "--deduplication-id", "d"], "--deduplication-id"),
    ],
)
def test_a_usage_error_is_exit_code_2(queues, arguments, line):
    """The line says what to write instead, and nothing is sent."""
    result = send("jobs", *arguments, stdin="text")
    assert result.returncode == 2
    assert line in result.stderr
    assert queues.counts("jobs").total == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere", "body"], "error: No local server has a queue or a topic 'nowhere':"),
        (["jobs", "--file", "missing"], "error: missing: No such file or directory"),
        (["jobs", ""], "error: The body is empty: SQS requires one"),
        (["jobs", "--file", os.devnull], "error: The body is empty"),
        (["jobs", "--file", "."], "error: .: Is a directory"),
    ],
)
def test_an_error_is_one_line(queues, arguments, line):
    """No traceback, exit code 1."""
    result = send(*arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


def test_json_says_where_to_and_which_messages(queues):
    """One object, whether it is one message or many."""
    one = json.loads(send("jobs", "body", "--json").stdout)
    many = json.loads(send("steps.fifo", "-", "--lines", "--json", stdin="a\nb\n\nc\n").stdout)
    assert one["destination"] == {
        "queue": "jobs",
        "url": queues.queue_url("jobs"),
        "topic": None,
        "place": f"the local server of orders ({queues.url})",
    }
    assert one["message_ids"] == [message["MessageId"] for message in queues.receive("jobs")]
    assert many["message_ids"] == [item["MessageId"] for item in queues.receive("steps.fifo")]
    assert len(many["message_ids"]) == 3


def test_json_says_what_was_sent_before_an_error(queues, temporary_folder):
    """The error is on stderr."""
    (temporary_folder / "bodies").write_bytes(100 * (2000 * b"x" + b"\n") + b"\xff\n")
    result = send("jobs", "--file", "bodies", "--lines", "--json")
    assert result.returncode == 1
    assert len(json.loads(result.stdout)["message_ids"]) == queues.counts("jobs").total > 0
    assert result.stderr.startswith("error: bodies: not UTF-8")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[b"\xff"], ["-"], ["-", "--lines"]])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_an_argument_and_an_input_are_utf_8_too(queues, arguments, locale):
    """Whatever the locale says."""
    command = [sys.executable, "-m", "loafer_kit", "send", "jobs", *arguments]
    result = subprocess.run(
        command,
        input=b"\xff\n",
        capture_output=True,
        check=False,
        env=os.environ | {"LC_ALL": locale},
    )
    assert result.returncode == 1
    *said, error = result.stderr.splitlines()
    assert b"not UTF-8" in error
    # Lines are read once it is said where they go.
    assert [line[:11] for line in said] == ([b"sending to "] if "--lines" in arguments else [])
    assert queues.counts("jobs").total == 0


def test_bytes_that_are_no_text_are_refused(queues, temporary_folder):
    """SQS carries text only."""
    (temporary_folder / "image").write_bytes(b"\xff\xd8")
    result = send("jobs", "--file", "image")
    assert (result.returncode, result.stderr) == (1, "error: image: not UTF-8 (byte 0)\n")


SPEC = """
name = "shop"
[[parameters]]
name = "STAGE"
default = "dev"
[[queues]]
name = "${STAGE}-orders"
"""


def test_a_name_takes_its_parameters_from_the_service_here(queues, temporary_folder, monkeypatch):
    """As it stands in loafer.toml: by its default, or as the environment says."""
    (temporary_folder / "loafer.toml").write_text(SPEC)
    queues.create("dev-orders")

    result = send("${STAGE}-orders", "{}")

    assert result.stdout.count("to dev-orders on the local server") == 1
    assert bodies(queues, "dev-orders") == ["{}"]
    with pytest.raises(
        ConfigurationError, match="shop has no parameter STAG; did you mean 'STAGE'"
    ):
        filled("${STAG}-orders", [temporary_folder])
    monkeypatch.setenv("STAGE", "prod")
    assert filled("${STAGE}-orders", [temporary_folder]) == "prod-orders"


EVENT = {"source": "shop", "detail-type": "order.placed", "detail": {"order": 7}}


@pytest.mark.parametrize(
    ("body", "event"),
    [
        ('{"order": 7}', {"source": "local", "detail-type": "local", "detail": {"order": 7}}),
        (json.dumps(EVENT), EVENT),
    ],
)
def test_a_body_gets_the_envelope_of_its_queues_kind(queues, temporary_folder, body, event):
    """By the loafer.toml here, on a local server; a body that is an event stays as it is."""
    spec = 'name = "shop"\n[[queues]]\nname = "jobs"\nkind = "eventbridge"\n'
    (temporary_folder / "loafer.toml").write_text(spec)

    assert send("jobs", body).returncode == 0
    assert send("jobs", "no JSON").returncode == 0

    sent, other = bodies(queues)
    assert json.loads(sent).items() >= event.items()
    assert other == "no JSON"


def test_a_spec_with_problems_does_not_keep_a_message_from_being_sent(queues, temporary_folder):
    """The body is sent as it is."""
    (temporary_folder / "loafer.toml").write_text("name = 1\n")

    assert send("jobs", "{}").returncode == 0
    assert bodies(queues) == ["{}"]


def test_a_name_with_parameters_needs_its_service(temporary_folder):
    """One line says what to do."""
    with pytest.raises(LoaferKitError, match="has parameters: go to the folder of its service"):
        filled("${STAGE}-orders", [temporary_folder])


def test_a_filter_policy_that_may_drop_the_message_is_said(queues):
    """The message is published, and may match no attribute."""
    policy = {"FilterPolicy": '{"kind": ["x"]}'}
    queues.create(LocalQueue("inbox", topic="news", subscription=policy))

    destination = sending.find_destination("inbox")

    assert str(destination).endswith(
        f'({queues.url}), which delivers what the filter policy {{"kind": ["x"]}} matches'
    )
