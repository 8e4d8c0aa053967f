"""Keys: which messages are the same, by their content, metadata or id."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic_core import to_jsonable_python

from loafer_kit.engine.callables import current_call, generator_kind, is_async
from loafer_kit.engine.jobs import Job
from loafer_kit.exceptions import ConfigurationError, RejectMessage
from loafer_kit.payloads.by_type import message_attribute

#: `function(content, metadata)` returns a value that JSON can express; None: there is none.
ValueOf = Callable[[Any, Any], Any]

_MISSING: tuple[object, ...] = (None, "", [], {})


def message_key(
    key: str | ValueOf | None = None, *, or_message_id: bool = False
) -> Callable[[Any, Any], str]:
    """Return a function `(content, metadata)` that returns the key of a message: 64 hex digits.

    `key` is a JMESPath expression over the content, `attribute("…")`, or a plain function of content
    and metadata; None is SQS's id of the message. A message without a key, or with a key of which a
    part is missing, is rejected; with `or_message_id`, its id is the key.

    Raises `ConfigurationError` for anything else.
    """
    if key is None:
        return lambda _content, metadata: fingerprint(["id", _message_id(metadata)])
    value_of = reader(key, "key")
    named = f"`{key}`" if isinstance(key, str) else getattr(key, "__name__", "its function")

    def key_of(content: Any, metadata: Any) -> str:
        value = value_of(content, metadata)
        if not _is_missing(value):
            return fingerprint(["key", value])
        if or_message_id:
            return fingerprint(["id", _message_id(metadata)])
        raise RejectMessage(f"the message has no key: {named} is missing in it")

    return key_of


def attribute(name: str) -> ValueOf:
    """Return a function for `message_key` that reads the message attribute `name`."""

    def value_of(_content: Any, metadata: Any) -> Any:
        return message_attribute(metadata, name)

    value_of.__name__ = f"the message attribute {name!r}"
    return value_of


def reader(value: Any, option: str) -> ValueOf:
    """Return the function that reads a value, given as one or as a JMESPath expression.

    `option` names it in the `ConfigurationError` for anything else.
    """
    if isinstance(value, str):
        return _searching(value, option)
    if not callable(value) or is_async(value) or generator_kind(value):
        raise ConfigurationError(
            f"{option} must be a JMESPath expression or a plain function of content and metadata, "
            f"not {value!r}."
        )
    return value  # type: ignore[no-any-return]


def _searching(path: str, option: str) -> ValueOf:
    try:
        expression = jmespath.compile(path)
    except JMESPathError as error:
        why = str(error).partition("\n")[0].removesuffix(", for expression:")
        raise ConfigurationError(
            f"{option}: {path!r} is not a JMESPath expression: {why}"
        ) from error

    def search(content: Any, _metadata: Any) -> Any:
        try:
            return expression.search(json.loads(_text(content)))
        except JMESPathError as error:
            raise RejectMessage(f"`{path}` cannot be read in the content: {error}") from error

    return search


def fingerprint(value: Any) -> str:
    """Return 64 hex digits that are the same for equal values; members of objects have no order."""
    return hashlib.sha256(_text(value).encode()).hexdigest()


def _text(value: Any) -> str:
    """Return a value as JSON; dataclasses, models and dates as pydantic writes them."""
    try:
        return json.dumps(value, default=to_jsonable_python, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        why = str(error).partition("\n")[0]
        raise RejectMessage(f"JSON cannot express the content or its key: {why}") from error


def _is_missing(value: Any) -> bool:
    """Return whether a value, or a part of a list or an object, is missing."""
    parts = value.values() if isinstance(value, dict) else value
    return value in _MISSING or (
        isinstance(value, dict | list | tuple) and any(part in _MISSING for part in parts)
    )


def _message_id(metadata: Any) -> str:
    found = None
    if isinstance(metadata, Mapping):  # an envelope has an id of its own; SQS's is beside it
        found = metadata.get("SQSMessageId", metadata.get("MessageId"))
    call = current_call.get()
    if found is None and isinstance(call, Job) and len(call.messages) == 1:
        found = call.route.provider.describe(call.messages[0]).get("message_id")
    if found is None:
        raise RejectMessage("the message has no key: its source gives it no id")
    return str(found)
