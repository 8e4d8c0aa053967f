"""Validates a message's content as the type that the handler's parameter names."""

import dataclasses
import json
import sys
import typing
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from loafer_kit.exceptions import ConfigurationError, InvalidPayloadError
from loafer_kit.payloads import annotations

Decode = Callable[[Any], Any]

#: Types that pydantic validates only while the handler iterates over the value.
_LAZY = (Iterable, Iterator, Generator)


def decoder_for(
    handler: Callable[..., Any], *, batch: bool = False, position: int = 0
) -> Decode | None:
    """Return a function that validates content as the handler's parameter at `position` says.

    The content is validated if the annotation is or mentions a dataclass, a TypedDict or a pydantic
    model; for a batch handler, if the items of its list do (`list[Order]`). For any other
    annotation, or none, the answer is None. The decoder raises `InvalidPayloadError`.

    Raises a one-line `ConfigurationError` for an annotation that cannot be validated.
    """
    annotation = annotations.payload_annotation(handler, position)
    if annotation is None:
        return None
    try:
        return _decoder(_item(annotation) if batch else annotation)
    except Exception as error:
        raise ConfigurationError(
            f"The handler {annotations.name_of(handler)} takes {annotations.shown(annotation)}, "
            f"which cannot be validated: {annotations.first_line(error).rstrip('.')}. Correct that, "
            "or annotate with Any to take messages as they are."
        ) from error


def mark_undecodable(exc: BaseException) -> None:
    """Mark `exc` as raised while a message was translated or validated."""
    exc.__dict__["_loafer_kit_undecodable"] = True


def is_undecodable(exc: BaseException) -> bool:
    """True if `exc` was raised while a message was translated or validated."""
    return "_loafer_kit_undecodable" in exc.__dict__


def _item(annotation: Any) -> Any:
    annotation = annotations.without_metadata(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(origin, type) and issubclass(list, origin) and len(arguments) == 1:
        return arguments[0]
    raise TypeError("a batch handler takes a list of messages, as in list[Order]")


def _decoder(annotation: Any) -> Decode:
    import pydantic

    _check(annotation)
    adapter = pydantic.TypeAdapter(annotation)
    if adapter.rebuild() is False:  # it would fail at each message instead
        raise TypeError("one of its types is not complete")
    validate = _validation(adapter)
    shown = annotations.shown(annotation)

    def decode(content: Any) -> Any:
        try:
            return validate(content)
        except pydantic.ValidationError as error:
            problems = "; ".join(_problem(problem) for problem in error.errors(include_url=False))
            raise InvalidPayloadError(f"does not fit {shown}: {problems}") from error

    return decode


def _check(annotation: Any) -> None:
    """Raise a `TypeError` for types that pydantic would not validate, or would refuse obscurely."""
    if any(typing.get_origin(part) in _LAZY for part in annotations.parts(annotation)):
        raise TypeError("iterables are not validated before they are used, as a list is")
    for part in annotations.parts(annotation, of_fields=True):
        is_typed_dict = hasattr(part, "__required_keys__")
        if is_typed_dict and type(part).__module__ == "typing" and sys.version_info < (3, 12):
            raise TypeError(
                f"{part.__name__} is a typing.TypedDict: "
                "use typing_extensions.TypedDict before Python 3.12"
            )
        if is_typed_dict or dataclasses.is_dataclass(part):
            _check_fields(part)


def _check_fields(kind: Any) -> None:
    """Refuse unbound type variables of a base: pydantic binds them in its own models only."""
    for name, hint in annotations.field_types(kind).items():
        for part in annotations.parts(hint):
            if isinstance(part, typing.TypeVar) and part not in getattr(kind, "__parameters__", ()):
                raise TypeError(
                    f"{kind.__name__}.{name} is of the type variable {part.__name__} of a base"
                )


def _validation(adapter: Any) -> Callable[[Any], Any]:
    """Return the adapter's validation; for strict types, validation as JSON where possible.

    JSON has no dates and no enums. A strict type accepts their strings from JSON, not from Python.
    """
    if not _is_strict(adapter.core_schema):
        return adapter.validate_python  # type: ignore[no-any-return]

    def validate(content: Any) -> Any:
        try:
            text = json.dumps(content)
        except (TypeError, ValueError):  # a translator has made other objects of it
            return adapter.validate_python(content)
        return adapter.validate_json(text)

    return validate


def _is_strict(schema: Any) -> bool:
    if isinstance(schema, dict):
        # Strict strings do not count: they are strings in JSON and in Python, and pydantic makes
        # them part of types that are not strict.
        strict = schema.get("strict") is True and schema.get("type") != "str"
        return strict or any(map(_is_strict, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_is_strict, schema))


def _problem(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])
