"""Logs: the lines of a service as text or JSON, each with the message that it is about."""

import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from loafer_kit.engine.callables import current_call
from loafer_kit.outcomes import reason_text

logger = logging.getLogger(__name__)

_FORMATS = ("json", "text")

#: ANSI colours by level.
_COLOURS = {
    logging.DEBUG: "2",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "1;31",
}

#: Control characters but tab and newline: a message's text must not move the terminal's cursor.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

#: The attributes that every record has; all others are fields.
OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_bound: ContextVar[Mapping[str, object]] = ContextVar("bound_log_fields", default={})  # noqa: B039


def configure(level: int = logging.INFO, handler: logging.Handler | None = None) -> None:
    """Log to stderr: coloured text on a terminal, else one JSON object per line.

    With a `handler`, log there instead; a formatter that it has is kept.
    LOAFER_LOG (json or text) and LOAFER_LOG_LEVEL count more than that and `level`. Does nothing
    if the root logger has handlers: the service's own configuration is respected.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    stream = sys.stderr
    wrong = []
    wanted = os.environ.get("LOAFER_LOG", "").strip().lower()
    if wanted and wanted not in _FORMATS:
        wrong.append(f"LOAFER_LOG is {wanted!r}: set it to json or text")
    level_name = os.environ.get("LOAFER_LOG_LEVEL", "").strip().upper()
    levels = logging.getLevelNamesMapping()
    if level_name and level_name not in levels:
        wrong.append(f"LOAFER_LOG_LEVEL is {level_name!r}: set it to one of {', '.join(levels)}")
    on_terminal = handler is None and stream.isatty()
    is_text = on_terminal if wanted not in _FORMATS else wanted == "text"
    handler = handler or logging.StreamHandler(stream)
    handler.addFilter(MessageContext())
    if handler.formatter is None:
        colour = on_terminal and _has_colour(stream)
        handler.setFormatter(TextFormatter(colour=colour) if is_text else JSONFormatter())
    root.addHandler(handler)
    root.setLevel(levels.get(level_name, level))
    for problem in wrong:
        log_event(logger, logging.ERROR, "logs.misconfigured", {}, problem)


def _has_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


@contextmanager
def bound_fields(fields: Mapping[str, object]) -> Iterator[None]:
    """Add fields to every line that is logged in the block, in its tasks and threads too."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def as_pairs(facts: Mapping[str, object]) -> str:
    """Return facts as the text of a line has them: `queue=orders message_id=…`."""
    return " ".join(f"{name}={value}" for name, value in facts.items())


#: Facts that are seconds, and how the text of a line shows them.
_SECONDS = {
    "after": ".0f",
    "age": ".1f",
    "probe_in": "g",
    "retry_in": ".1f",
    "within": "g",
}


def log_event(
    logger: logging.Logger,
    level: int,
    event: str,
    facts: Mapping[str, object],
    text: str = "",
    *,
    exc_info: BaseException | None = None,
) -> None:
    """Log a line of the runtime: its event, its facts as pairs and as fields, and a text.

    `reason` is a field only: the text says it.
    """
    if not logger.isEnabledFor(level):
        return
    pairs = [f" {name}={_shown(name, value)}" for name, value in facts.items() if name != "reason"]
    # The event is in the template, by which collectors of errors tell lines apart.
    template, said = f"{event}%s", ["".join(pairs)]
    if text:
        template, said = f"{template}: %s", [*said, text]
    extra = {"event": event, **facts}
    logger.log(level, template, *said, exc_info=exc_info, extra=extra, stacklevel=2)


def _shown(name: str, value: Any) -> str:
    if name in _SECONDS and isinstance(value, int | float):
        return f"{value:{_SECONDS[name]}}s"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


class MessageContext(logging.Filter):
    """Adds fields to records: what `bound_fields` binds, the handler's message, and the trace.

    For the handlers of a logging configuration of one's own. A field that a record has is kept.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in {**_message(), **_trace(), **_bound.get()}.items():
            record.__dict__.setdefault(str(name), value)
        return True


def _message() -> Mapping[str, object]:
    """Return the route, queue and message of the handler that logs."""
    call = current_call.get()
    try:
        return {} if call is None else call.facts()
    except Exception:  # noqa: BLE001 - a line without its facts is better than none
        return {}


def _trace() -> Mapping[str, object]:
    """Return the ids of the current span, if the service uses OpenTelemetry."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in OF_EVERY_RECORD}


class JSONFormatter(logging.Formatter):
    """Formats a record as one line of JSON: its fields, and an exception in three parts."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        line = {
            "timestamp": _timestamp(record),
            "level": record.levelname,
            "logger": record.name,
            **({"event": fields.pop("event")} if "event" in fields else {}),
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = self._exception(record.exc_info[1], record)
        if record.stack_info:
            line["stack"] = record.stack_info
        return _as_json({**fields, **line}, first=line)

    def _exception(self, error: BaseException, record: logging.LogRecord) -> dict[str, str]:
        kind = type(error)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        return {
            "type": module + kind.__qualname__,
            "message": reason_text(error).partition(": ")[2],
            "stacktrace": record.exc_text or self.formatException(record.exc_info),  # type: ignore[arg-type]
        }


def _timestamp(record: logging.LogRecord) -> str:
    then = datetime.fromtimestamp(record.created, UTC)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_json(fields: Mapping[str, object], *, first: Mapping[str, object]) -> str:
    """Return JSON in ASCII, which any terminal and collector can read, whatever the values are."""
    ordered = {**first, **fields}
    try:
        return json.dumps(ordered, default=reason_text, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # keys that are no text, NaN, a circle
        return json.dumps({name: _plain(value) for name, value in ordered.items()})


def _plain(value: object) -> object:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return reason_text(value)
    return value


class TextFormatter(logging.Formatter):
    """Formats a record for people: time, level, logger, text, and the message of a handler's line."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        text = record.getMessage()
        if fields and "event" not in fields:  # the runtime's lines name their facts themselves
            text += f" [{as_pairs(fields)}]"
        parts = [text]
        if record.exc_info and record.exc_info[1] is not None:
            parts.append(record.exc_text or self.formatException(record.exc_info))
        if record.stack_info:
            parts.append(record.stack_info)
        body = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", "\n".join(parts))
        return f"{self.formatTime(record)} {self._level(record)} {record.name} {body}"

    def _level(self, record: logging.LogRecord) -> str:
        colour = _COLOURS.get(record.levelno) if self._colour else None
        return f"\x1b[{colour}m{record.levelname}\x1b[0m" if colour else record.levelname
