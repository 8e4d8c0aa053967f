"""The logger of a service: its fields, Henson-Logging's settings, with structlog and without."""

import io
import json
import logging

import pytest
import structlog

from loafer_kit import LoaferManager, logs
from loafer_kit.applications import Application
from loafer_kit.contrib import logging as contrib
from loafer_kit.contrib.logging import Logging
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """The logs are configured as before after each test."""
    root, own = logging.getLogger(), logging.getLogger("shop")
    before = root.handlers[:], root.level
    for name in ("LOAFER_LOG", "LOAFER_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    yield
    for handler in set(root.handlers) - set(before[0]):
        if isinstance(handler, logging.FileHandler):
            handler.close()
    root.handlers[:], root.level = before
    own.setLevel(logging.NOTSET)
    structlog.reset_defaults()


@pytest.fixture(params=["structlog", "plain"])
def app(request, monkeypatch):
    """A service, where structlog is installed and where it is not."""
    if request.param == "plain":
        monkeypatch.setattr(contrib, "_structlog", None)
    return Application("shop")


def set_up(app, **settings):
    """Give `app` its logger, in a process without another configuration: pytest has one."""
    logging.getLogger().handlers[:] = []
    app.settings.update(settings)
    return Logging(app)


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_fields_are_keywords(app, capsys):
    """Names that every record has get a dash behind, and positional arguments are formatted."""
    set_up(app)
    app.logger.info("order.placed", order=7, name="Ann", extra={"shop": 3})
    app.logger.log(logging.WARNING, "%d %% of %s", 50, "it", part=1)

    placed, part = lines(capsys)
    assert placed.pop("timestamp")
    assert placed == {
        "level": "INFO",
        "logger": "shop",
        "message": "order.placed",
        "order": 7,
        "name_": "Ann",
        "shop": 3,
    }
    assert (part["level"], part["message"], part["part"]) == ("WARNING", "50 % of it", 1)


def test_an_exception_has_its_parts(app, capsys):
    set_up(app)
    try:
        int("no")
    except ValueError as error:
        app.logger.exception("order.failed", order=7)
        app.logger.warning("order.failed", exc_info=error)

    for line in lines(capsys):
        assert (line["message"], line["exception"]["type"]) == ("order.failed", "ValueError")


@pytest.mark.usefixtures("app")
async def test_the_runtime_s_events_keep_their_fields(capsys):
    """Those that it logs with the service's logger, too; a handler's lines name their message."""

    async def handle(content, metadata):
        manager.logger.info("order.placed", order=content)
        return True

    manager = LoaferManager([Route(InMemoryProvider([7]), handle, "orders")])
    manager.name = "shop"
    set_up(manager)
    await manager.serve()

    found = {line.get("event", line["message"]): line for line in lines(capsys)}
    assert found["application.started"]["event"] == "application.started"
    assert found["service.started"]["service"] == "shop"
    assert (found["order.placed"]["order"], found["order.placed"]["route"]) == (7, "orders")
    assert found["message.handled"]["outcome"] == "acknowledged"


def test_other_loggers_are_as_before(app, capsys):
    """Henson-Logging disabled them."""
    other = logging.getLogger("another.library")
    set_up(app)
    other.warning("still here")

    assert lines(capsys)[0]["logger"] == "another.library"


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, logging.INFO),
        ({"LOG_LEVEL": "ERROR"}, logging.ERROR),
        ({"LOAFER_LOG_LEVEL": "WARNING"}, logging.WARNING),
    ],
)
def test_the_level_is_that_of_the_settings(app, variables, level, monkeypatch):
    """A variable of the environment counts more; the level can be changed later."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    log = set_up(app, LOG_LEVEL="INFO")

    assert log.get_effective_level() == log.getEffectiveLevel() == level
    log.set_level("CRITICAL")
    assert log.logger.isEnabledFor(logging.CRITICAL)
    assert not log.logger.isEnabledFor(logging.ERROR)


def test_debug_is_the_default_level_of_the_service_alone(app):
    set_up(app)

    assert app.logger.get_effective_level() == logging.DEBUG
    assert logging.getLogger().level == logging.INFO


def test_a_handler_of_the_settings(app, tmp_path, capsys):
    """Its lines are ours, unless they have a format of their own."""
    app.settings.update(
        LOG_HANDLER="logging.FileHandler", LOG_HANDLER_KWARGS={"filename": str(tmp_path / "log")}
    )
    set_up(app)
    app.logger.info("order.placed", order=7)

    assert json.loads((tmp_path / "log").read_text())["order"] == 7
    assert capsys.readouterr().err == ""


def test_a_format_of_the_settings(app, capsys):
    """With a date's format, and a stream by its name, as in Python's configuration by a dict."""
    app.settings.update(
        LOG_HANDLER_KWARGS={"stream": "ext://sys.stdout"},
        LOG_FORMAT="%(asctime)s %(levelname)s %(message)s %(order)s",
        LOG_DATE_FORMAT="%Y",
    )
    set_up(app)
    app.logger.info("order.placed", order=7)

    assert capsys.readouterr().out.endswith(" INFO order.placed 7\n")


def test_an_application_s_own_configuration_is_respected(app):
    """As by `logs.configure`."""
    own = logging.NullHandler()
    logging.getLogger().handlers[:] = [own]
    Logging(app)

    assert logging.getLogger().handlers == [own]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"LOG_LEVEL": "LOUD"}, "LOG_… settings cannot work: Unknown level: 'LOUD'"),
        ({"LOG_HANDLER": "logging.Nothing"}, "LOG_… settings cannot work: .*Nothing"),
        ({"LOG_HANDLER_KWARGS": {"colour": 1}}, "LOG_… settings cannot work: .*colour"),
        ({"LOG_FORMAT": "%(bad"}, "LOG_… settings cannot work: .*format"),
        ({"LOG_VERSION": 2}, "LOG_VERSION can only be 1, not 2"),
        ({"LOG_FORMATTER": "json"}, "LOG_FORMATTER can only be 'henson', not 'json'"),
    ],
)
def test_settings_that_cannot_work_are_one_line(app, settings, problem):
    with pytest.raises(ConfigurationError, match=problem) as info:
        set_up(app, **settings)
    assert "\n" not in str(info.value)


def test_structlog_is_set_up_for_the_whole_service(capsys):
    """Its other loggers, values that are bound, and those of the context."""
    app = Application("shop")
    set_up(app)
    log = app.logger.logger.bind(order=7)
    with structlog.contextvars.bound_contextvars(customer="Ann"):
        log.info("order.placed")
    structlog.get_logger("shop.stock").info("stock.counted", left=3)

    placed, counted = lines(capsys)
    assert (placed["order"], placed["customer"]) == (7, "Ann")
    assert (counted["logger"], counted["left"]) == ("shop.stock", 3)


def test_processors_of_one_s_own_make_the_lines(capsys):
    """As Henson-Logging's: here with what it wrote by default."""

    def add_name(logger, method, event):
        return {**event, "app": logger.name}

    processors = (
        structlog.stdlib.filter_by_level,
        add_name,
        structlog.stdlib.add_log_level,
        structlog.processors.JSONRenderer(),
    )
    app = Application(
        "shop",
        {
            "LOG_PROCESSORS": processors,
            "LOG_FORMAT": "%(message)s",
            "LOG_HANDLER_KWARGS": {"stream": "ext://sys.stdout"},
            "LOG_CONTEXT_CLASS": dict,
        },
    )
    set_up(app)
    app.logger.info("order.placed", order=7)

    assert json.loads(capsys.readouterr().out) == {
        "event": "order.placed",
        "order": 7,
        "app": "shop",
        "level": "info",
    }


def test_text_shows_the_fields(capsys, monkeypatch):
    monkeypatch.setenv("LOAFER_LOG", "text")
    app = Application("shop")
    set_up(app)
    app.logger.info("order.placed", order=7)

    assert capsys.readouterr().err.endswith("INFO shop order.placed [order=7]\n")


def test_the_logs_can_go_to_another_handler(capsys):
    """A formatter of its own stays."""
    stream = io.StringIO()
    logging.getLogger().handlers[:] = []
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s!"))
    logs.configure(handler=handler)
    logging.getLogger("shop").warning("hello")

    assert (stream.getvalue(), capsys.readouterr().err) == ("hello!\n", "")
