"""Logs without code: formats, fields, the message of a handler's own lines, bad settings."""

import ast
import asyncio
import io
import json
import logging
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

import loafer_kit
from loafer_kit import LoaferManager, logs
from loafer_kit.contrib.logging import bind_log_context
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider, deliver


class Stream(io.StringIO):
    def __init__(self, *, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal

    @property
    def lines(self):
        return self.getvalue().splitlines()

    @property
    def records(self):
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def configured(monkeypatch):
    """Configures the logs of a process that has no configuration; returns what it writes."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def configure(*arguments, terminal=False, **environment):
        root.handlers[:] = []
        for name in ("LOAFER_LOG", "LOAFER_LOG_LEVEL", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", "xterm")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        stream = Stream(terminal=terminal)
        monkeypatch.setattr(sys, "stderr", stream)
        logs.configure(*arguments)
        return stream

    yield configure
    root.handlers[:], root.level = before


logger = logging.getLogger("shop")


def test_a_line_is_json_with_its_fields(configured):
    written = configured()

    logger.info("sold %d", 3, extra={"event": "order.sold", "order": 7})

    (line,) = written.records
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert line == {
        "level": "INFO",
        "logger": "shop",
        "event": "order.sold",
        "message": "sold 3",
        "order": 7,
    }
    assert list(written.records[0])[:5] == ["timestamp", "level", "logger", "event", "message"]


def test_an_exception_has_a_type_a_message_and_a_stacktrace_on_one_line(configured):
    written = configured()

    try:
        json.loads("no\njson")
    except ValueError:
        logger.exception("failed")

    (line,) = written.records
    assert line["exception"]["type"] == "json.decoder.JSONDecodeError"
    assert line["exception"]["message"].startswith("Expecting value")
    assert line["exception"]["stacktrace"].startswith("Traceback")


circle = []
circle.append(circle)


class Unprintable:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        {(1, 2): 3},
        float("nan"),
        circle,
        Unprintable(),
        ValueError("x"),
        b"\xff",
        "\ud800\n",
    ],
)
def test_any_value_gives_one_valid_line(configured, value):
    written = configured()

    logger.info("line", extra={"value": value, "other": 1})

    (line,) = written.lines
    fields = json.loads(line, parse_constant=pytest.fail)
    assert fields["other"] == 1
    assert "value" in fields


def test_a_field_does_not_replace_one_of_the_line(configured):
    written = configured()

    logger.info("text", extra={"level": "x", "timestamp": 0, "logger": "y", "order": 1})

    (line,) = written.records
    assert (line["level"], line["logger"], line["order"]) == ("INFO", "shop", 1)


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured", "is_json"),
    [
        (True, {}, True, False),
        (False, {}, False, True),
        (True, {"NO_COLOR": "1"}, False, False),
        (True, {"TERM": "dumb"}, False, False),
        (True, {"LOAFER_LOG": "json"}, False, True),
        (False, {"LOAFER_LOG": "Text "}, False, False),
        (False, {"LOAFER_LOG": ""}, False, True),
    ],
)
def test_the_format_follows_the_terminal_and_the_setting(
    configured, terminal, environment, coloured, is_json
):
    written = configured(terminal=terminal, **environment)

    logger.info("hello")

    (line,) = written.lines
    assert line.startswith("{") == is_json
    assert ("\x1b[" in line) == coloured


@pytest.mark.parametrize(
    ("level", "environment", "shown"),
    [
        (logging.INFO, {}, ["INFO", "ERROR"]),
        (logging.ERROR, {}, ["ERROR"]),
        (logging.INFO, {"LOAFER_LOG_LEVEL": "debug"}, ["DEBUG", "INFO", "ERROR"]),
        (logging.INFO, {"LOAFER_LOG_LEVEL": "ERROR"}, ["ERROR"]),
    ],
)
def test_the_level_follows_the_setting(configured, level, environment, shown):
    written = configured(level, **environment)

    for number in (logging.DEBUG, logging.INFO, logging.ERROR):
        logger.log(number, "line")

    assert [line["level"] for line in written.records] == shown


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"LOAFER_LOG": "xml"}, "LOAFER_LOG is 'xml': set it to json or text"),
        ({"LOAFER_LOG_LEVEL": "loud"}, "LOAFER_LOG_LEVEL is 'LOUD': set it to one of"),
        ({"LOAFER_LOG_LEVEL": "10"}, "LOAFER_LOG_LEVEL is '10': set it to one of"),
    ],
)
def test_a_bad_setting_is_one_line_and_the_service_goes_on(configured, environment, said):
    written = configured(**environment)

    (line,) = written.records
    assert said in line["message"]
    assert (line["level"], line["event"]) == ("ERROR", "logs.misconfigured")


def test_an_existing_configuration_is_respected(configured, monkeypatch):
    configured()
    (handler,) = logging.getLogger().handlers
    monkeypatch.setenv("LOAFER_LOG_LEVEL", "DEBUG")

    logs.configure()

    assert logging.getLogger().handlers == [handler]
    assert logging.getLogger().level == logging.INFO


def test_text_does_not_move_the_cursor(configured):
    """What a stranger wrote into a message is not a command to the terminal."""
    written = configured(terminal=True, NO_COLOR="1")

    logger.info("a\x1b[2J\x07b", extra={"order": "\x9b2J"})

    (line,) = written.lines
    assert line.endswith(r"INFO shop a\x1b[2J\x07b [order=\x9b2J]")


def plain(content, metadata):
    assert threading.current_thread() is not threading.main_thread()
    logger.info("mine")
    return True


async def coroutine(content, metadata):
    logger.info("mine")
    return True


async def deep(content, metadata):
    await asyncio.create_task(coroutine(content, metadata))
    return True


def lines_of(written):
    return [line for line in written.records if line["message"] == "mine"]


@pytest.mark.parametrize("handler", [plain, coroutine, deep])
async def test_a_handler_s_own_line_carries_its_message(configured, handler):
    written = configured()

    await LoaferManager([Route(InMemoryProvider(["a"]), handler, "orders")]).serve()

    (line,) = lines_of(written)
    assert (line["route"], line["queue"], line["message_id"], line["receive_count"]) == (
        "orders",
        "memory",
        1,
        1,
    )


async def test_a_line_of_a_batch_handler_carries_all_its_messages(configured):
    written = configured()
    route = Route(InMemoryProvider(["a", "b"]), coroutine, "orders", batch_handler_size=2)

    await LoaferManager([route]).serve()

    (line,) = lines_of(written)
    assert (line["route"], line["message_ids"]) == ("orders", [1, 2])


async def test_the_text_of_a_handler_s_own_line_ends_with_its_message(configured):
    written = configured(LOAFER_LOG="text")

    await LoaferManager([Route(InMemoryProvider(["a"]), coroutine, "orders")]).serve()

    (line,) = [line for line in written.lines if "mine" in line]
    assert line.endswith("INFO shop mine [route=orders queue=memory message_id=1 receive_count=1]")


async def test_the_line_of_a_message_has_its_outcome_and_duration(configured):
    written = configured()

    await LoaferManager([Route(InMemoryProvider(["a"]), coroutine, "orders")]).serve()

    (line,) = [line for line in written.records if line.get("event") == "message.handled"]
    assert line["outcome"] == "acknowledged"
    assert line["duration"] >= 0
    assert (line["route"], line["message_id"]) == ("orders", 1)


def test_a_line_outside_a_handler_has_no_message(configured):
    written = configured()

    logger.info("mine")

    assert set(written.records[0]) == {"timestamp", "level", "logger", "message"}


async def test_bound_fields_are_on_a_handler_s_lines_and_on_no_others(configured):
    written = configured()
    bind = bind_log_context(lambda content, metadata: {"order": content, "message": "reserved"})

    route = Route(InMemoryProvider(), plain, "orders", middleware=[bind])
    await deliver(route, "a")
    logger.info("after")

    mine, after = written.records
    assert (mine["order"], mine["message"]) == ("a", "mine")
    assert "order" not in after


@pytest.mark.parametrize("fields", [coroutine, None, {"order": 1}])
def test_what_gives_no_fields_is_refused_in_one_line(fields):
    with pytest.raises(ConfigurationError, match=r"^bind_log_context takes [^\n]+$"):
        bind_log_context(fields)


async def test_the_ids_of_a_span_are_on_the_lines_within_it(configured):
    """Those of OpenTelemetry, if the service uses it; in lower-case hex."""
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    written = configured()

    with trace.TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        logger.info("within")
    logger.info("after")

    within, after = written.records
    context = span.get_span_context()
    assert within["trace_id"] == f"{context.trace_id:032x}"
    assert within["span_id"] == f"{context.span_id:016x}"
    assert "trace_id" not in after


def test_a_line_of_the_runtime_shows_its_facts_and_has_them_as_fields(caplog):
    logger, facts = logging.getLogger("t"), {"route": "r", "message_ids": [1, "b"], "age": 1.25}
    with caplog.at_level(logging.INFO):
        logs.log_event(logger, logging.INFO, "handler.slow", facts | {"reason": "why"}, "it waits")
        logs.log_event(logger, logging.INFO, "breaker.closed", {"age": "of reason"})
        logs.log_event(logger, logging.DEBUG, "message.body", {}, "a body")

    slow, closed = caplog.records
    assert slow.getMessage() == "handler.slow route=r message_ids=1,b age=1.2s: it waits"
    assert (slow.event, slow.message_ids, slow.age, slow.reason) == (
        "handler.slow",
        [1, "b"],
        1.25,
        "why",
    )
    assert slow.msg.startswith("handler.slow")  # by this, collectors of errors tell lines apart
    assert closed.getMessage() == "breaker.closed age=of reason"


RUNTIME = sorted(
    path
    for path in Path(loafer_kit.__file__).parent.rglob("*.py")
    if not {"cli", "scaffold", "doctor"} & set(path.parts)
)
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def _logs(call):
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "log_event"
    return (
        isinstance(function, ast.Attribute)
        and function.attr in LEVELS
        and ast.unparse(function.value).lower().endswith("logger")
    )


def _names_its_event(call):
    if isinstance(call.func, ast.Name):
        return True  # it is an argument
    extra = next((keyword.value for keyword in call.keywords if keyword.arg == "extra"), None)
    text = ast.unparse(extra) if extra is not None else ""
    return "'event'" in text or "_fields(" in text or text == "extra"


def test_every_line_of_the_runtime_has_its_event_as_a_field():
    sources = [(path, path.read_text()) for path in RUNTIME]
    calls = [
        (path, node)
        for path, source in sources
        if "logger" in source.lower()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and _logs(node)
    ]

    assert len(calls) > 50
    assert [f"{path}:{call.lineno}" for path, call in calls if not _names_its_event(call)] == []
