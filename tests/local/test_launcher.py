"""The logs of a service that `loafer-kit dev` runs: those of every service, with its label."""

import io
import json
import logging
import os

import pytest

from loafer_kit.local import launcher


@pytest.fixture
def logged(monkeypatch):
    """Configures logs as the launcher does; returns what a line of each level becomes."""
    root, handled = logging.getLogger(), logging.getLogger(launcher._HANDLED)
    before = root.handlers[:], root.level, handled.level, handled.filters[:]
    read, write = os.pipe()

    def logged(label="", terminal=False, **environment):
        for name in ("LOAFER_LOG", "LOAFER_LOG_LEVEL", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TERM", "xterm")
        stream = io.StringIO()
        stream.isatty = lambda: terminal
        monkeypatch.setattr("sys.stderr", stream)
        root.handlers = []
        launcher._configure_logs(label, write)
        facts = {"event": "message.handled", "message_id": "1", "outcome": "left"}
        handled.info("message.handled", extra=facts)
        logging.getLogger("shop").warning("careful")
        return stream.getvalue().splitlines()

    yield logged
    root.handlers, level, handled_level, handled.filters = before[0], *before[1:]
    root.setLevel(level)
    handled.setLevel(handled_level)
    os.close(write)
    assert os.read(read, 10_000).startswith(b'[null, "1", null, "left"]\n')
    os.close(read)


def test_lines_are_those_of_every_service(logged):
    """With the label of their service in front."""
    first, second = logged("shop", LOAFER_LOG="text")

    assert first.startswith("shop 2")
    assert first.endswith(f" INFO {launcher._HANDLED} message.handled")
    assert second.endswith(" WARNING shop careful")


def test_json_names_the_service_in_a_field(logged):
    """A prefix would make it something else than JSON."""
    first, second = map(json.loads, logged("shop", LOAFER_LOG="json"))

    assert (first["service"], first["event"]) == ("shop", "message.handled")
    assert (second["service"], second["message"]) == ("shop", "careful")


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_a_terminal_gets_colours_unless_the_user_wants_none(logged, environment):
    """One service has no label."""
    first, _ = logged(terminal=True, **environment)

    assert ("\x1b[32mINFO\x1b[0m" in first) == (not environment)
    assert not first.startswith(" ")


def test_the_level_is_the_users(logged):
    """What is not logged is reported nevertheless."""
    (line,) = logged(LOAFER_LOG="text", LOAFER_LOG_LEVEL="WARNING")

    assert line.endswith("careful")
