"""`loafer-kit console`: where it listens, what it prints, and what `dev` does with it."""

import json
import re
import signal
import tempfile
import urllib.request

import pytest
from console.sessions import log_in
from typer.testing import CliRunner

from loafer_kit.cli import app
from loafer_kit.cli.dev import services_of
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local import servers

SPEC = """
name = "shop"

[[queues]]
name = "${STAGE}-orders"
dead_letter_queue = "orders-dead"
payload = "Order"

[[queues]]
name = "mails"

[[parameters]]
name = "STAGE"
default = "test"

[payloads.Order]
number = "int"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a spec, and a temporary folder of its own for records."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("LOAFER_CONTROL", raising=False)
    (tmp_path / "loafer.toml").write_text(SPEC)
    return tmp_path


def test_a_service_is_shown_as_its_spec_has_it(folder, monkeypatch):
    """With its parameters resolved, and the schema and an example of each payload."""
    [shop] = services_of([folder])
    orders, mails = shop.queues
    assert (orders.name, orders.dead_letter_queue) == ("test-orders", "orders-dead")
    assert orders.schema["$defs"]["Order"]["required"] == ["number"]
    assert (json.loads(orders.example), mails.schema, mails.example) == ({"number": 1}, None, "")
    assert shop.control == servers.control_path("shop")
    monkeypatch.setenv("LOAFER_CONTROL", "/run/shop.control")
    assert str(services_of([folder])[0].control) == "/run/shop.control"
    assert str(services_of([folder, folder])[0].control) != "/run/shop.control"


def test_queues_of_rabbitmq_are_shown_with_their_dead_letter_queues(folder):
    """Those that a spec does not name are the route's own."""
    (folder / "loafer.toml").write_text(
        'name = "shop"\n[[queues]]\nname = "orders"\nkind = "amqp"\nexchange = "shop"\n'
        '[[queues]]\nname = "mails"\nkind = "amqp"\ndead_letter_queue = "lost"\n'
    )
    [shop] = services_of([folder])
    assert [(item.name, item.dead_letter_queue, item.rabbitmq) for item in shop.queues] == [
        ("orders", "orders.dead", {"exchange": "shop"}),
        ("mails", "lost", {"dead_letter_queue": "lost", "max_deliveries": 5}),
    ]


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "10.0.0.1:80", "shop.example:80"])
def test_another_address_needs_consent(folder, listen):
    """The line says why not, and what to do instead."""
    result = CliRunner().invoke(app, ["console", str(folder), "--listen", listen])
    assert isinstance(result.exception, ConfigurationError)
    for part in ("not encrypted", "ssh -L 8320:127.0.0.1:8320"):
        assert part in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--listen", "8320"], r"--listen must be \[host\]:port"),
        (["--listen", "example.invalid:80", "--allow-remote"], "The console cannot listen on"),
        (["missing"], "There is no missing"),
    ],
)
def test_what_cannot_work_costs_one_line(folder, monkeypatch, arguments, error):
    """Before a browser is opened."""
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["console", *arguments])
    assert isinstance(result.exception, ConfigurationError), result.output
    assert re.match(error, str(result.exception))


@pytest.mark.slow
def test_a_console_prints_its_address_and_ends_with_a_signal(project, folder, local_queues):
    """The token in the address begins a session; the exit code is 0."""
    process = project.start("console", str(folder), "--listen", ":0")
    with process:
        line = process.stdout.readline()
        url = re.fullmatch(r"The console is on (http://127\.0\.0\.1:\d+/#token=[\w-]{43})\n", line)
        origin, headers = log_in(url[1])
        request = urllib.request.Request(f"{origin}/api/stream", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as stream:
            assert stream.readline() == b"event: services\n"
            state = json.loads(stream.readline().removeprefix(b"data: "))
            assert (state["write"], state["services"][0]["name"]) == (False, "shop")
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        assert process.stdout.read() == ""
