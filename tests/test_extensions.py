"""Extension: settings, registry, and the service that it needs."""

import collections
import json
import sqlite3
import threading
from http import HTTPStatus
from types import SimpleNamespace

import pytest

from loafer_kit.extensions import Extension


@pytest.fixture
def app():
    """A stand-in such as the tests of published extensions pass."""
    return SimpleNamespace(settings={}, extensions={})


class SQLite(Extension):
    """The documentation's example."""

    DEFAULT_SETTINGS = {"SQLITE_CONNECTION_STRING": ":memory:"}

    def __init__(self, app=None):
        self._connection = None
        super().__init__(app)

    @property
    def connection(self):
        if not self._connection:
            conn_string = self.app.settings["SQLITE_CONNECTION_STRING"]
            self._connection = sqlite3.connect(conn_string)
        return self._connection


class Mail(Extension):
    DEFAULT_SETTINGS = {"MAIL_HEADERS": {"From": ["a"]}, "MAIL_PORT": 25}
    REQUIRED_SETTINGS = ("MAIL_USER", "MAIL_HOST")


def test_the_documentations_extension_works(app):
    """A private field set before `super().__init__` is kept; the resource is lazy."""
    database = SQLite(app)
    assert database.connection.execute("SELECT 1;").fetchone() == (1,)
    database.connection.close()
    database.connection.close()


def test_defaults_fill_what_the_service_left_open(app):
    """A setting of the service wins over the default."""
    app.settings.update(MAIL_USER="u", MAIL_HOST="h", MAIL_PORT=2525)
    Mail(app)
    assert app.settings["MAIL_PORT"] == 2525
    assert app.settings["MAIL_HEADERS"] == {"From": ["a"]}


class Uncopyable(list):
    def __copy__(self):
        raise TypeError("there is one of it")


class Settings(Extension):
    SENTINEL = object()
    LOCK = threading.Lock()
    REGISTRY = Uncopyable([1])
    DEFAULT_SETTINGS = {
        "CODEC": json,
        "LOCK": LOCK,
        "MISSING": SENTINEL,
        "REGISTRY": REGISTRY,
        "NESTED": {"locks": [LOCK], "codecs": (json, {"missing": SENTINEL})},
        "ORDERED": collections.OrderedDict(names=["a"]),
        "GROUPED": collections.defaultdict(list, names=["a"]),
        "RECENT": collections.deque(["a"]),
        "NAMES": {"a"},
        "EMPTY": (),
    }


def test_defaults_may_hold_what_cannot_be_copied(app):
    """Modules, locks and sentinels stay what they are, also within containers."""
    Settings(app)
    assert app.settings == Settings.DEFAULT_SETTINGS
    assert app.settings["LOCK"] is Settings.LOCK
    assert app.settings["MISSING"] is Settings.SENTINEL
    assert app.settings["REGISTRY"] is Settings.REGISTRY
    assert app.settings["NESTED"]["locks"][0] is Settings.LOCK
    assert app.settings["NESTED"]["codecs"][1]["missing"] is Settings.SENTINEL


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: settings["NESTED"]["locks"].clear(),
        lambda settings: settings["NESTED"]["codecs"][1].clear(),
        lambda settings: settings["ORDERED"]["names"].append("b"),
        lambda settings: settings["GROUPED"]["names"].append("b"),
        lambda settings: settings["RECENT"].append("b"),
        lambda settings: settings["NAMES"].add("b"),
    ],
)
def test_containers_of_every_kind_are_not_shared(app, change):
    """A change by one service does not reach the defaults."""
    Settings(app)
    change(app.settings)
    other = SimpleNamespace(settings={}, extensions={})
    Settings(other)
    assert other.settings["NESTED"]["locks"] == [Settings.LOCK]
    assert other.settings["NESTED"]["codecs"][1] == {"missing": Settings.SENTINEL}
    assert other.settings["ORDERED"]["names"] == other.settings["GROUPED"]["names"] == ["a"]
    assert list(other.settings["RECENT"]) == ["a"]
    assert other.settings["NAMES"] == {"a"}
    assert type(other.settings["GROUPED"]) is collections.defaultdict


def test_mutable_defaults_are_not_shared():
    """What one service does to its settings does not reach another."""
    settings = {"MAIL_USER": "u", "MAIL_HOST": "h"}
    one, other = (SimpleNamespace(settings=dict(settings), extensions={}) for _ in range(2))
    Mail(one)
    Mail(other)
    one.settings["MAIL_HEADERS"]["From"].append("b")
    assert (
        other.settings["MAIL_HEADERS"] == Mail.DEFAULT_SETTINGS["MAIL_HEADERS"] == {"From": ["a"]}
    )


def test_every_missing_setting_is_named_sorted(app):
    """One error tells all that must be set, and which extension wants it."""
    with pytest.raises(KeyError, match="Mail requires the settings MAIL_HOST, MAIL_USER"):
        Mail(app)


def test_a_refused_service_is_not_registered(app):
    """After missing settings the extension has no application."""
    mail = Mail()
    with pytest.raises(KeyError):
        mail.init_app(app)
    assert app.extensions == {}
    with pytest.raises(RuntimeError):
        _ = mail.app


def test_a_required_setting_may_be_falsy(app):
    """Present is enough: the value is the service's business."""
    app.settings.update(MAIL_USER="", MAIL_HOST=None)
    assert Mail(app).app is app


def test_registers_under_its_lower_case_class_name(app):
    """Others find it in the service's registry."""
    database = SQLite(app)
    assert app.extensions == {"sqlite": database}


def test_app_before_init_app_is_an_error():
    """The message says what to call."""
    with pytest.raises(RuntimeError) as caught:
        _ = SQLite().app
    assert str(caught.value) == (
        "No application has been assigned to this instance. "
        "init_app must be called before referencing instance.app."
    )


def test_init_app_may_be_called_later(app):
    """The application-factory pattern."""
    database = SQLite()
    database.init_app(app)
    assert database.app is app


def test_register_cli_sees_the_application(app):
    """It is called last, when `app` and its settings can be used."""
    seen = []

    class Admin(Mail):
        def register_cli(self):
            seen.append((self.app, self.app.settings["MAIL_PORT"], self.app.extensions["admin"]))

    app.settings.update(MAIL_USER="u", MAIL_HOST="h")
    admin = Admin(app)
    assert seen == [(app, 25, admin)]


def test_a_falsy_application_counts():
    """Only None means that there is none yet."""

    class Empty(SimpleNamespace):
        def __bool__(self):
            return False

    app = Empty(settings={}, extensions={})
    assert SQLite(app).app is app


class Cache(Extension):
    """Settings of every type that the environment can set."""

    DEFAULT_SETTINGS = {  # noqa: RUF012 - the base declares it
        "CACHE_SIZE": 10,
        "CACHE_ON": True,
        "CACHE_HOSTS": ["a"],
        "CACHE_USER": None,
        "CACHE_CLASS": Extension,
        "CACHE_MODE": HTTPStatus.OK,
    }
    REQUIRED_SETTINGS = ("CACHE_PASSWORD",)


def test_the_environment_overrides_settings_in_the_type_of_their_defaults(app, monkeypatch):
    """Also those that the service sets; a default that is no plain value stays."""
    for name, text in {
        "SIZE": "20",
        "ON": "false",
        "HOSTS": '["b", "c"]',
        "USER": "5",
        "CLASS": "x",
        "MODE": "404",
        "PASSWORD": "secret",
    }.items():
        monkeypatch.setenv(f"CACHE_{name}", text)
    app.settings["CACHE_SIZE"] = 3

    Cache(app)

    assert app.settings == {
        "CACHE_SIZE": 20,
        "CACHE_ON": False,
        "CACHE_HOSTS": ["b", "c"],
        "CACHE_USER": "5",
        "CACHE_CLASS": Extension,
        "CACHE_MODE": 404,
        "CACHE_PASSWORD": "secret",
    }


def test_a_missing_setting_ends_the_process_with_one_line(app):
    """A service constructs its extensions while it is imported."""
    with pytest.raises(SystemExit) as raised:
        Cache(app)

    assert raised.value.code == (
        "Cache requires the settings CACHE_PASSWORD: set them in the service or in the environment."
    )
