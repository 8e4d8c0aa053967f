"""Middleware that adds fields of one's own to every log line of a handler."""

from collections.abc import Callable, Mapping
from typing import Any

from loafer_kit.engine.callables import is_async
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.logs import bound_fields
from loafer_kit.middleware import CallNext, Middleware

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
        with bound_fields(fields(content, metadata)):
            return await call_next(content, metadata)

    return bind
