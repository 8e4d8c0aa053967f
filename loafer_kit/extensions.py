"""Extension: adds a resource, settings, callbacks and commands to a service."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from loafer_kit.config import copied, from_environment
from loafer_kit.exceptions import SettingError

# The types that a setting in the environment can have; the default None makes it a text.
_KINDS = (str, bool, int, float, list, dict)


class Extension:
    """The base of extensions, for an `Application` and for a `LoaferManager`.

    A subclass sets its own attributes before it calls `super().__init__(app)`, which calls
    `init_app`. A method `register_cli`, if it has one, is called at the end of `init_app`.
    """

    #: Defaults for settings that the service does not set.
    DEFAULT_SETTINGS: ClassVar[Mapping[str, Any]] = {}

    #: Settings that the service must set, because they have no sensible default.
    REQUIRED_SETTINGS: ClassVar[Iterable[str]] = ()

    def __init__(self, app: Any = None) -> None:
        self._app: Any = None
        if app is not None:
            self.init_app(app)

    @property
    def app(self) -> Any:
        """The service that was last passed to `init_app`."""
        if self._app is None:
            raise RuntimeError(
                "No application has been assigned to this instance. "
                "init_app must be called before referencing instance.app."
            )
        return self._app

    def init_app(self, app: Any) -> None:
        """Fill in the settings of `app` and register with it.

        An environment variable of a setting's name overrides the setting, in the type of its default.

        Dicts, lists and sets among the defaults are copied, so that services do not share them;
        other values are the same objects.

        `app` is any object with the dicts `settings` and `extensions`. Raises `SettingError` with
        the names of all missing required settings.
        """
        for name, value in self.DEFAULT_SETTINGS.items():
            kinds = [kind for kind in _KINDS if value is None or isinstance(value, kind)]
            found = from_environment(name, kinds[0]) if kinds else None
            if found is not None:
                app.settings[name] = found
            elif name not in app.settings:
                app.settings[name] = copied(value)
        for name in self.REQUIRED_SETTINGS:
            found = from_environment(name, str)
            if found is not None:
                app.settings[name] = found
        missing = sorted(name for name in self.REQUIRED_SETTINGS if name not in app.settings)
        if missing:
            raise SettingError(
                f"{type(self).__name__} requires the settings {', '.join(missing)}: "
                "set them in the service or in the environment."
            )
        self._app = app
        app.extensions[type(self).__name__.lower()] = self
        register_cli = getattr(self, "register_cli", None)
        if register_cli is not None:
            register_cli()
