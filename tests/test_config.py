"""Config: upper-case names only, extended and overwritten."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.config import Config, from_environment, parameter, route_variable
from loafer_kit.exceptions import ConfigurationError


class Settings:
    """Settings as a class, one of them inherited by `Production`."""

    DEBUG = True
    SQS_WAIT_TIME = 20
    lower = "ignored"
    Mixed = "ignored"
    _PRIVATE = "kept: its name is upper-case"


class Production(Settings):
    DEBUG = False


def test_from_mapping_takes_upper_case_keys_only():
    """Lower-case and mixed-case keys are not settings."""
    config = Config()
    config.from_mapping({"DEBUG": True, "debug": False, "Debug": None, 1: 2})
    assert config == {"DEBUG": True}


def test_from_object_takes_upper_case_attributes_only():
    """A class, with what it inherits, is a source of settings."""
    config = Config()
    config.from_object(Production)
    assert config == {"DEBUG": False, "SQS_WAIT_TIME": 20, "_PRIVATE": Settings._PRIVATE}


def test_from_object_takes_instances():
    """An instance's own attributes count like those of its class."""
    config = Config()
    config.from_object(SimpleNamespace(A=1, b=2))
    assert config == {"A": 1}


@pytest.mark.parametrize(
    ("method", "source"),
    [("from_mapping", {"A": 2, "B": 3}), ("from_object", SimpleNamespace(A=2, B=3))],
)
def test_both_extend_and_overwrite(method, source):
    """What was there stays unless the new source names it."""
    config = Config(A=1, Z=0)
    getattr(config, method)(source)
    assert config == {"A": 2, "B": 3, "Z": 0}


def test_values_stay_as_they_are():
    """Nothing is converted or copied."""
    value = ["1", {"a": None}]
    config = Config()
    config.from_mapping({"VALUE": value})
    assert config["VALUE"] is value


def test_settings_are_no_attributes():
    """A setting is read by its key."""
    with pytest.raises(AttributeError):
        _ = Config(DEBUG=True).DEBUG


@pytest.mark.parametrize("settings", [{"A": 1, "b": 2}, SimpleNamespace(A=1, b=2)])
def test_of_takes_a_mapping_or_an_object(settings):
    """A service accepts either as its `settings`."""
    assert Config.of(settings) == {"A": 1}


def test_of_nothing_is_empty():
    """Settings are optional."""
    assert Config.of(None) == {}


@given(st.dictionaries(st.text(), st.integers()))
def test_mapping_and_object_agree(settings):
    """The same names are settings, whichever way they come."""
    from_mapping, from_object = Config(), Config()
    from_mapping.from_mapping(settings)
    from_object.from_object(SimpleNamespace(**settings))
    assert from_mapping == from_object


@pytest.mark.parametrize(("value", "expected"), [(None, "dev"), ("", "dev"), ("prod", "prod")])
def test_a_parameter_comes_from_the_environment_or_is_its_default(monkeypatch, value, expected):
    """An empty variable counts as unset."""
    monkeypatch.delenv("STAGE", raising=False)
    if value is not None:
        monkeypatch.setenv("STAGE", value)

    assert parameter("STAGE", default="dev") == expected


@pytest.mark.parametrize("kind", [ConfigurationError, KeyError, SystemExit])
def test_a_missing_parameter_ends_the_process_with_one_line(monkeypatch, kind):
    """Where code can catch it, it is an error of the configuration."""
    monkeypatch.delenv("STAGE", raising=False)

    with pytest.raises(kind) as raised:
        parameter("STAGE")

    assert (
        str(raised.value)
        == raised.value.code
        == "The environment variable STAGE is missing: set it."
    )


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (int, "20", 20),
        (int | None, "20", 20),
        (float | None, "1.5", 1.5),
        (bool, "false", False),
        (bool, "yes", True),
        (str, " 20 ", " 20 "),
        (list, '["a"]', ["a"]),
        (dict, '{"a": 1}', {"a": 1}),
        (int, "", None),
    ],
)
def test_a_variable_is_read_as_its_type(monkeypatch, kind, text, expected):
    """An empty one counts as unset."""
    monkeypatch.setenv("X_Y", text)

    assert from_environment("X_Y", kind) == expected


@pytest.mark.parametrize(("kind", "text"), [(int, "many"), (bool, "2"), (list, "a"), (int, "1.5")])
def test_a_variable_of_another_type_ends_the_process_with_one_line(monkeypatch, kind, text):
    """The line names the variable."""
    monkeypatch.setenv("X_Y", text)

    with pytest.raises(SystemExit, match=r"\AThe environment variable X_Y is invalid: [^\n]+\Z"):
        from_environment("X_Y", kind)


@pytest.mark.parametrize(
    ("route", "variable"),
    [
        ("orders", "LOAFER_ORDERS_WAIT_TIME"),
        ("orders.fifo", "LOAFER_ORDERS_FIFO_WAIT_TIME"),
        ("-a--b_", "LOAFER_A_B_WAIT_TIME"),
    ],
)
def test_the_variable_of_an_option(route, variable):
    """Capitals, digits and single underscores."""
    assert route_variable(route, "wait_time") == variable
