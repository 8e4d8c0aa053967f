"""Config: the settings that a service shares with its extensions."""

import copy
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from loafer_kit.exceptions import ConfigurationError, SettingError

#: The environment variables of a process as a whole.
PROCESS_VARIABLES = (
    "LOAFER_AMQP_URL",
    "LOAFER_CONTROL",
    "LOAFER_HEALTH_FILE",
    "LOAFER_HTTP",
    "LOAFER_LOG",
    "LOAFER_LOG_LEVEL",
    "LOAFER_MAX_RSS",
    "LOAFER_PROCESSES",
)


def parameter(name: str, default: str | None = None) -> str:
    """Return an environment variable; the default if it is unset or empty.

    `SettingError` if there is no default either: it ends the process with one line.
    """
    value = os.environ.get(name) or default
    if value is None:
        raise SettingError(f"The environment variable {name} is missing: set it.")
    return value


def route_variable(route: str, option: str) -> str:
    """Return the environment variable that sets an option of a route: LOAFER_ORDERS_CONCURRENCY."""
    return "_".join(
        re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_").upper() for word in ("loafer", route, option)
    )


def route_options(route: str, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a route that the environment sets; `kinds` are their types.

    They override what the code says. `SettingError` if a value does not have its type.
    """
    found = {
        option: from_environment(route_variable(route, option), kind)
        for option, kind in kinds.items()
    }
    return {option: value for option, value in found.items() if value is not None}


@contextmanager
def naming_variables(route: str, overrides: Iterable[str]) -> Iterator[None]:
    """Have the error of an invalid option end the process with one line, if the environment sets any."""
    try:
        yield
    except ConfigurationError as error:
        if names := ", ".join(route_variable(route, option) for option in overrides):
            raise SettingError(f"{error} The environment sets {names}.") from None
        raise


def from_environment(name: str, kind: Any) -> Any:
    """Return an environment variable as a value of type `kind`; None if it is unset or empty.

    Lists, dicts and the like are JSON; a text is taken as it is.
    """
    text = os.environ.get(name)
    if not text or kind is str:
        return text or None
    import pydantic  # most services set nothing, and start faster

    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(kind)
    read = adapter.validate_json if kind in (dict, list) else adapter.validate_python
    try:
        return read(text)
    except pydantic.ValidationError as error:
        raise SettingError(
            f"The environment variable {name} is invalid: {error.errors()[0]['msg']}."
        ) from None


def copied(value: Any) -> Any:
    """Return `value` with the dicts, lists, sets and other containers in it copied.

    The rest stays as it is, unlike with `copy.deepcopy`: modules and locks cannot be copied, and
    sentinels are known by their identity. So does a container that refuses to be copied.
    """
    kind = type(value)
    if kind is dict:
        return {key: copied(item) for key, item in value.items()}
    if kind in (list, tuple):
        return kind(map(copied, value))
    if not isinstance(value, dict | list | set | bytearray | deque):
        return value
    try:
        copy_of_it: Any = copy.copy(value)
        if isinstance(value, dict):
            copy_of_it.update({key: copied(item) for key, item in value.items()})
        elif isinstance(value, list):
            copy_of_it[:] = map(copied, value)
    except Exception:  # noqa: BLE001 - a class may raise anything
        return value
    return copy_of_it


class Config(dict[str, Any]):
    """A dict of settings that can be filled from mappings, modules, classes and instances."""

    @classmethod
    def of(cls, settings: object | None) -> Self:
        """Make a config from a mapping, an object, or None."""
        config = cls()
        if isinstance(settings, Mapping):
            config.from_mapping(settings)
        elif settings is not None:
            config.from_object(settings)
        return config

    def from_mapping(self, mapping: Mapping[Any, Any]) -> None:
        """Add the upper-case keys of `mapping`, overwriting existing ones."""
        self.update({key: mapping[key] for key in mapping if _is_setting_name(key)})

    def from_object(self, obj: object) -> None:
        """Add the upper-case attributes of `obj`, overwriting existing ones."""
        self.update({key: getattr(obj, key) for key in dir(obj) if _is_setting_name(key)})


def _is_setting_name(key: object) -> bool:
    return isinstance(key, str) and key.isupper()
