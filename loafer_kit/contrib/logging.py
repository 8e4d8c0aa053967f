"""Log lines of a service: fields of its own, by middleware and by its logger."""

import logging
import os
from collections.abc import Callable, Mapping
from logging.config import DictConfigurator
from typing import Any, ClassVar

from loafer_kit import logs
from loafer_kit.engine.callables import is_async
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.extensions import Extension
from loafer_kit.middleware import CallNext, Middleware

try:
    import structlog
except ModuleNotFoundError:
    _structlog: Any = None
else:
    _structlog = structlog

#: `fields(content, metadata)` returns the fields by name.
Fields = Callable[[Any, Any], Mapping[str, object]]


def bind_log_context(fields: Fields) -> Middleware:
    """Return middleware that adds `fields(content, metadata)` to the lines logged meanwhile.

    `fields` is a plain function; what it raises is the failure of the message. The route, the queue
    and the message's id are on these lines anyway.
    """
    if is_async(fields) or not callable(fields):
        raise ConfigurationError(
            "bind_log_context takes a plain function of content and metadata that returns fields, "
            f"not {fields!r}."
        )

    async def bind(content: Any, metadata: Any, call_next: CallNext) -> Any:
        with logs.bound_fields(fields(content, metadata)):
            return await call_next(content, metadata)

    return bind


#: The keywords of a logger's methods that are no fields.
_KEYWORDS = ("exc_info", "stack_info", "stacklevel")

_HANDLER = "logging.StreamHandler"


def _passed_on(name: str) -> Any:
    def method(self: "Logging", *arguments: Any, **fields: Any) -> Any:
        log = getattr(self.logger, name)
        return log(*arguments, **(_as_keywords(fields) if _structlog is None else fields))

    method.__name__ = name
    return method


class Logging(Extension):
    """Gives a service a logger that takes fields: `app.logger.info("order.placed", order=7)`.

    It configures the logs as `logs.configure` does, unless the LOG_… settings, which are those of
    Henson-Logging, say otherwise. With structlog installed, the logger is structlog's.
    """

    DEFAULT_SETTINGS: ClassVar[Mapping[str, Any]] = {
        "LOG_CONTEXT_CLASS": dict,
        "LOG_DATE_FORMAT": None,
        "LOG_FACTORY": None if _structlog is None else _structlog.stdlib.LoggerFactory(),
        "LOG_FORMAT": None,
        "LOG_FORMATTER": "henson",
        "LOG_HANDLER": _HANDLER,
        "LOG_HANDLER_KWARGS": {},
        "LOG_LEVEL": "DEBUG",
        "LOG_PROCESSORS": (),
        "LOG_VERSION": 1,
        "LOG_WRAPPER_CLASS": None if _structlog is None else _structlog.stdlib.BoundLogger,
    }

    def init_app(self, app: Any) -> None:
        """Configure the logs and replace the logger of `app`; raise `ConfigurationError`."""
        super().init_app(app)
        for name in ("LOG_FORMATTER", "LOG_VERSION"):
            if app.settings[name] != self.DEFAULT_SETTINGS[name]:
                raise ConfigurationError(
                    f"{name} can only be {self.DEFAULT_SETTINGS[name]!r}, not {app.settings[name]!r}."
                )
        own = logging.getLogger(app.name)
        try:
            logs.configure(handler=_handler(app.settings))
            if not os.environ.get("LOAFER_LOG_LEVEL"):
                own.setLevel(app.settings["LOG_LEVEL"])
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"The LOG_… settings cannot work: {error}.") from error
        #: What logs: of structlog, or of Python.
        self.logger: Any = own
        if _structlog is not None:
            _structlog.configure(
                processors=app.settings["LOG_PROCESSORS"] or _PROCESSORS,
                context_class=app.settings["LOG_CONTEXT_CLASS"],
                logger_factory=app.settings["LOG_FACTORY"],
                wrapper_class=app.settings["LOG_WRAPPER_CLASS"],
            )
            self.logger = _structlog.get_logger(app.name).bind()
        app.logger = self

    critical = fatal = _passed_on("critical")
    debug = _passed_on("debug")
    error = _passed_on("error")
    exception = _passed_on("exception")
    info = _passed_on("info")
    log = _passed_on("log")
    warning = _passed_on("warning")

    def get_effective_level(self) -> int:
        """Return the level from which on lines are logged."""
        return logging.getLogger(self.app.name).getEffectiveLevel()

    def set_level(self, level: int | str) -> None:
        """Log lines of this level and above."""
        logging.getLogger(self.app.name).setLevel(level)

    getEffectiveLevel = get_effective_level  # noqa: N815 - the name that Python's logger uses
    setLevel = set_level  # noqa: N815


def _handler(settings: Mapping[str, Any]) -> logging.Handler | None:
    """Return the handler that the settings ask for; None for that of `logs.configure`."""
    given = {**settings["LOG_HANDLER_KWARGS"], "class": settings["LOG_HANDLER"]}
    if given == {"class": _HANDLER} and settings["LOG_FORMAT"] is None:
        return None
    configurator = DictConfigurator({"version": 1, "handler": given})
    handler: logging.Handler = configurator.configure_handler(configurator.config["handler"])
    if settings["LOG_FORMAT"] is not None:
        handler.setFormatter(logging.Formatter(settings["LOG_FORMAT"], settings["LOG_DATE_FORMAT"]))
    return handler


def _as_record(_logger: Any, _method: str, event: Any) -> Any:
    """Make a line of Python's logging of structlog's event: its fields stay fields."""
    text, arguments = event.pop("event", None), event.pop("positional_args", ())
    return (text, *arguments), _as_keywords(event)


def _as_keywords(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of a logger's method; a field that every record has gets a "_" behind."""
    extra = {
        f"{name}_" if name in logs.OF_EVERY_RECORD else name: value
        for name, value in {**fields, **(fields.get("extra") or {})}.items()
        if name not in (*_KEYWORDS, "extra")
    }
    return {"extra": extra, **{name: fields[name] for name in _KEYWORDS if name in fields}}


#: LOG_PROCESSORS, unless they are set.
_PROCESSORS = (
    ()
    if _structlog is None
    else (_structlog.stdlib.filter_by_level, _structlog.contextvars.merge_contextvars, _as_record)
)
