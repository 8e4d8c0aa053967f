"""Extension: what gives a service a resource, settings, callbacks and commands."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class Extension:
    """The base of an extension; it works on an `Application` and on a `LoaferManager`.

    A subclass that has state sets it before it calls `super().__init__(app)`. If it has a method
    `register_cli`, that is called while the service is being initialised.
    """

    #: Given to a service that does not set them itself.
    DEFAULT_SETTINGS: ClassVar[Mapping[str, Any]] = {}

    #: The settings that a service must set, because no default can be right.
    REQUIRED_SETTINGS: ClassVar[Iterable[str]] = ()

    def __init__(self, app: Any = None) -> None:
        self._app: Any = None
        if app is not None:
            self.init_app(app)

    @property
    def app(self) -> Any:
        """The service that this extension was last initialised with."""
        if self._app is None:
            raise RuntimeError(
                "No application has been assigned to this instance. "
                "init_app must be called before referencing instance.app."
            )
        return self._app

    def init_app(self, app: Any) -> None:
        """Settle the settings of `app` and register with it.

        `app` is anything that has `settings` and `extensions`, both dicts. Raises `KeyError` that
        names every required setting which `app` lacks.
        """
        for name, value in self.DEFAULT_SETTINGS.items():
            if name not in app.settings:
                app.settings[name] = copy.deepcopy(value)
        self._check_required_settings(app.settings)
        self._app = app
        app.extensions[type(self).__name__.lower()] = self
        register_cli = getattr(self, "register_cli", None)
        if register_cli is not None:
            register_cli()

    def _check_required_settings(self, settings: Mapping[str, Any]) -> None:
        missing = sorted(name for name in self.REQUIRED_SETTINGS if name not in settings)
        if missing:
            raise KeyError(f"{type(self).__name__} requires the settings {', '.join(missing)}.")
