"""Config: the settings that a service shares with its extensions."""

from collections.abc import Mapping
from typing import Any, Self


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
