"""Config: the settings that a service shares with its extensions."""

from collections.abc import Mapping
from typing import Any, Self


class Config(dict[str, Any]):
    """A dict of settings that can be filled from mappings, modules, classes and instances."""

    @classmethod
    def of(cls, settings: object | None) -> Self:
        """Make a config of what a service was given: a mapping, an object or nothing."""
        config = cls()
        if isinstance(settings, Mapping):
            config.from_mapping(settings)
        elif settings is not None:
            config.from_object(settings)
        return config

    def from_mapping(self, mapping: Mapping[Any, Any]) -> None:
        """Take over the upper-case keys of `mapping`; they extend and overwrite what is here."""
        self.update({key: mapping[key] for key in mapping if _is_name_of_setting(key)})

    def from_object(self, obj: object) -> None:
        """Take over the upper-case attributes of `obj`; they extend and overwrite what is here."""
        self.update({key: getattr(obj, key) for key in dir(obj) if _is_name_of_setting(key)})


def _is_name_of_setting(key: object) -> bool:
    return isinstance(key, str) and key.isupper()
